//! What an answer says of each event of a batch. A 207 (Multi-Status, RFC 4918) with a JSON list of
//! statuses, as Segment's own batches have them, judges each event on its own; any other answer judges
//! all of them. Pure.
//!
//! The list is the body itself, or its `multistatus`, `responses`, `results` or `items`. An entry is a
//! status, or an object with one as `status`, `statusCode` or `status_code`, in the order of the events. A
//! 207 without such a list is a 2xx like any other. A list that is not as long as the batch cannot be
//! told apart: its first status that asks for another try, else its first that is not 2xx, is taken for
//! all.

use crate::domain::attempt::Outcome;
use crate::json::{self, Value};
use crate::sender::Exchange;

/// The keys that a list may stand under.
const LISTS: [&str; 4] = ["multistatus", "responses", "results", "items"];
/// The keys that an entry's status may stand under.
const STATUSES: [&str; 3] = ["status", "statusCode", "status_code"];
/// The keys that an entry's reason may stand under; the first is Segment's.
const REASONS: [&str; 3] = ["errormessage", "error", "message"];
/// A reason is kept up to so many characters.
const REASON_CHARS: usize = 200;
/// The status of an answer that may hold statuses.
const MULTI_STATUS: u16 = 207;

/// How an attempt ended, by what was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) outcome: Outcome,
    pub(super) status: Option<u16>,
    pub(super) error: Option<String>,
}

/// How the attempts of a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgements {
    /// All alike.
    Same(Judgement),
    /// Each on its own.
    Each(Vec<Judgement>),
}

impl Judgements {
    /// What the answer says by itself.
    pub(super) fn of(exchange: &Exchange) -> Self {
        Self::Same(Judgement {
            outcome: exchange.outcome,
            status: exchange.status,
            error: exchange.error.clone(),
        })
    }
}

/// Judges what came back from a batch of `count` events.
pub(super) fn judge(exchange: &Exchange, count: usize) -> Judgements {
    let same = || Judgements::of(exchange);
    if exchange.outcome != Outcome::Delivered || exchange.status != Some(MULTI_STATUS) {
        return same();
    }
    let Some(entries) = exchange.multistatus.as_deref().and_then(read) else { return same() };
    if entries.len() == count {
        return Judgements::Each(entries.into_iter().map(Entry::judgement).collect());
    }
    let given = entries.len();
    let Some(worst) = worst(entries) else { return same() };
    let status = worst.status;
    let error = format!(
        "answered 207 Multi-Status with {given} statuses for {count} events: {status} is taken for all"
    );
    Judgements::Same(Judgement {
        outcome: Outcome::of_status(status),
        status: Some(status),
        error: Some(error),
    })
}

#[derive(Debug)]
struct Entry {
    status: u16,
    reason: Option<String>,
}

impl Entry {
    fn judgement(self) -> Judgement {
        let outcome = Outcome::of_status(self.status);
        let error = (outcome != Outcome::Delivered).then(|| {
            let answered = format!("its part of the batch was answered {}", self.status);
            self.reason.map_or_else(|| answered.clone(), |reason| format!("{answered}: {reason}"))
        });
        Judgement { outcome, status: Some(self.status), error }
    }

    fn is_retried(&self) -> bool {
        matches!(Outcome::of_status(self.status), Outcome::ServerError | Outcome::TryLater)
    }
}

fn worst(entries: Vec<Entry>) -> Option<Entry> {
    let mut failed: Vec<Entry> = entries
        .into_iter()
        .filter(|entry| Outcome::of_status(entry.status) != Outcome::Delivered)
        .collect();
    let at = failed.iter().position(Entry::is_retried).unwrap_or(0);
    if failed.is_empty() { None } else { Some(failed.swap_remove(at)) }
}

fn read(body: &[u8]) -> Option<Vec<Entry>> {
    let answer = json::parse(body).ok()?;
    let list = match &answer {
        Value::Array(list) => list,
        Value::Object(object) => LISTS.iter().find_map(|key| match object.get(key) {
            Some(Value::Array(list)) => Some(list),
            Some(_) | None => None,
        })?,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
    };
    list.iter().map(entry).collect()
}

fn entry(value: &Value<'_>) -> Option<Entry> {
    let Value::Object(object) = value else {
        return Some(Entry { status: status(value)?, reason: None });
    };
    let status = STATUSES.iter().find_map(|key| status(object.get(key)?))?;
    let reason = REASONS.iter().find_map(|key| object.get(key)?.as_str());
    Some(Entry { status, reason: reason.map(|text| text.chars().take(REASON_CHARS).collect()) })
}

/// A final HTTP status, as a number or its digits.
fn status(value: &Value<'_>) -> Option<u16> {
    let text = match value {
        Value::Number(_) => json::to_string(value),
        Value::String(_) => value.as_str()?.into_owned(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    text.parse().ok().filter(|status| (200..600).contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use bytes::Bytes;

    fn exchange(status: u16, body: &str) -> Exchange {
        Exchange {
            outcome: Outcome::of_status(status),
            status: Some(status),
            error: None,
            retry_after: None,
            duration: Duration::ZERO,
            response_headers: String::new(),
            response_body: Bytes::new(),
            response_truncated: false,
            multistatus: Some(Bytes::copy_from_slice(body.as_bytes())),
        }
    }

    fn each(body: &str, count: usize) -> Option<Vec<u16>> {
        match judge(&exchange(207, body), count) {
            Judgements::Each(judgements) => judgements.into_iter().map(|it| it.status).collect(),
            Judgements::Same(_) => None,
        }
    }

    fn same(body: &str, count: usize) -> Option<(Outcome, u16)> {
        match judge(&exchange(207, body), count) {
            Judgements::Same(judgement) => Some((judgement.outcome, judgement.status?)),
            Judgements::Each(_) => None,
        }
    }

    #[test]
    fn lists_are_read_in_every_form() {
        for body in [
            "[200,400]",
            r#"[{"status":200},{"status":400}]"#,
            r#"{"multistatus":[{"status":200,"sent":{},"body":{}},{"status":400,"errormessage":"no"}]}"#,
            r#"{"success":false,"results":[{"statusCode":"200"},{"status_code":400}]}"#,
            r#"{"responses":["200","400"]}"#,
        ] {
            assert_eq!(each(body, 2), Some(vec![200, 400]), "{body}");
        }
    }

    #[test]
    fn an_entry_has_its_outcome_and_its_reason() {
        let body =
            r#"[{"status":503},{"status":400,"errormessage":"no such plan"},{"status":204}]"#;
        let Judgements::Each(judgements) = judge(&exchange(207, body), 3) else { panic!("a list") };
        let told: Vec<_> =
            judgements.iter().map(|it| (it.outcome, it.error.as_deref().unwrap_or(""))).collect();
        assert_eq!(
            told,
            [
                (Outcome::ServerError, "its part of the batch was answered 503"),
                (Outcome::Rejected, "its part of the batch was answered 400: no such plan"),
                (Outcome::Delivered, ""),
            ]
        );
    }

    #[test]
    fn a_207_without_a_list_of_statuses_is_a_2xx() {
        for body in ["", "ok", "<multistatus/>", "{}", r#"{"results":{}}"#, r#"["a"]"#, "[200,99]"]
        {
            assert_eq!(same(body, 2), Some((Outcome::Delivered, 207)), "{body}");
        }
        let without = Exchange { multistatus: None, ..exchange(207, "") };
        assert!(
            matches!(judge(&without, 2), Judgements::Same(it) if it.outcome == Outcome::Delivered)
        );
    }

    #[test]
    fn a_list_of_another_length_is_taken_for_all_by_its_worst() {
        assert_eq!(same("[200,200]", 3), Some((Outcome::Delivered, 207)));
        assert_eq!(same("[200,404]", 3), Some((Outcome::Rejected, 404)));
        assert_eq!(same("[404,503,200,200]", 3), Some((Outcome::ServerError, 503)));
        assert_eq!(same("[]", 1), Some((Outcome::Delivered, 207)));
    }

    #[test]
    fn another_answer_is_for_all() {
        let judged = judge(&exchange(200, "[400]"), 1);
        assert!(matches!(judged, Judgements::Same(it) if it.outcome == Outcome::Delivered));
    }
}
