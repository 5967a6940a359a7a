//! Parses a 207 (Multi-Status, RFC 4918) answer to a batch into one result for each event, in the form
//! that Segment's batches have. Any other answer is one result for the whole batch. Pure.
//!
//! The list is the body itself, or its `multistatus`, `responses`, `results` or `items`. An entry is a
//! status, or an object with one as `status`, `statusCode` or `status_code`, in the order of the events. A
//! 207 without such a list is a 2xx like any other. A list whose length differs from the batch's cannot
//! be assigned to events: its first retryable status, else its first that is not 2xx, applies to all.

use crate::domain::attempt::Outcome;
use crate::json::{self, Value};
use crate::sender::Exchange;

/// The keys of the list.
const LISTS: [&str; 4] = ["multistatus", "responses", "results", "items"];
/// The keys of an entry's status.
const STATUSES: [&str; 3] = ["status", "statusCode", "status_code"];
/// The keys of an entry's reason; the first is Segment's.
const REASONS: [&str; 3] = ["errormessage", "error", "message"];
/// Characters kept of a reason.
const REASON_CHARS: usize = 200;
/// The status of an answer that may hold a list.
const MULTI_STATUS: u16 = 207;

/// The result of one attempt, as the answer has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AttemptResult {
    pub(super) outcome: Outcome,
    pub(super) status: Option<u16>,
    pub(super) error: Option<String>,
}

/// The results of a request's attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Results {
    /// The same for all.
    Uniform(AttemptResult),
    /// One for each event, in order.
    PerEvent(Vec<AttemptResult>),
}

impl Results {
    /// The whole answer's result.
    pub(super) fn of(exchange: &Exchange) -> Self {
        Self::Uniform(AttemptResult {
            outcome: exchange.outcome,
            status: exchange.status,
            error: exchange.error.clone(),
        })
    }
}

/// Classifies the answer to a batch of `count` events.
pub(super) fn classify(exchange: &Exchange, count: usize) -> Results {
    let uniform = || Results::of(exchange);
    if exchange.outcome != Outcome::Delivered || exchange.status != Some(MULTI_STATUS) {
        return uniform();
    }
    let Some(entries) = exchange.multistatus.as_deref().and_then(read) else { return uniform() };
    if entries.len() == count {
        return Results::PerEvent(entries.into_iter().map(Entry::result).collect());
    }
    let listed = entries.len();
    let Some(worst) = worst(entries) else { return uniform() };
    let status = worst.status;
    let error = format!(
        "answered 207 Multi-Status with {listed} statuses for {count} events: {status} applies to all"
    );
    Results::Uniform(AttemptResult {
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
    fn result(self) -> AttemptResult {
        let outcome = Outcome::of_status(self.status);
        let error = (outcome != Outcome::Delivered).then(|| {
            let answered = format!("batch item answered {}", self.status);
            self.reason.map_or_else(|| answered.clone(), |reason| format!("{answered}: {reason}"))
        });
        AttemptResult { outcome, status: Some(self.status), error }
    }

    fn is_retryable(&self) -> bool {
        matches!(Outcome::of_status(self.status), Outcome::ServerError | Outcome::TryLater)
    }
}

fn worst(entries: Vec<Entry>) -> Option<Entry> {
    let mut failed: Vec<Entry> = entries
        .into_iter()
        .filter(|entry| Outcome::of_status(entry.status) != Outcome::Delivered)
        .collect();
    let at = failed.iter().position(Entry::is_retryable).unwrap_or(0);
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
            local: None,
            retry_after: None,
            duration: Duration::ZERO,
            response_headers: String::new(),
            response_body: Bytes::new(),
            response_truncated: false,
            multistatus: Some(Bytes::copy_from_slice(body.as_bytes())),
        }
    }

    fn each(body: &str, count: usize) -> Option<Vec<u16>> {
        match classify(&exchange(207, body), count) {
            Results::PerEvent(results) => results.into_iter().map(|it| it.status).collect(),
            Results::Uniform(_) => None,
        }
    }

    fn same(body: &str, count: usize) -> Option<(Outcome, u16)> {
        match classify(&exchange(207, body), count) {
            Results::Uniform(result) => Some((result.outcome, result.status?)),
            Results::PerEvent(_) => None,
        }
    }

    #[test]
    fn multi_status_lists_are_parsed_in_every_documented_form() {
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
    fn each_entry_has_its_own_outcome_and_reason() {
        let body =
            r#"[{"status":503},{"status":400,"errormessage":"no such plan"},{"status":204}]"#;
        let Results::PerEvent(results) = classify(&exchange(207, body), 3) else {
            panic!("a list")
        };
        let parsed: Vec<_> =
            results.iter().map(|it| (it.outcome, it.error.as_deref().unwrap_or(""))).collect();
        assert_eq!(
            parsed,
            [
                (Outcome::ServerError, "batch item answered 503"),
                (Outcome::Rejected, "batch item answered 400: no such plan"),
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
            matches!(classify(&without, 2), Results::Uniform(it) if it.outcome == Outcome::Delivered)
        );
    }

    #[test]
    fn a_list_of_another_length_applies_its_worst_status_to_all() {
        assert_eq!(same("[200,200]", 3), Some((Outcome::Delivered, 207)));
        assert_eq!(same("[200,404]", 3), Some((Outcome::Rejected, 404)));
        assert_eq!(same("[404,503,200,200]", 3), Some((Outcome::ServerError, 503)));
        assert_eq!(same("[]", 1), Some((Outcome::Delivered, 207)));
    }

    #[test]
    fn any_other_answer_applies_to_the_whole_batch() {
        let results = classify(&exchange(200, "[400]"), 1);
        assert!(matches!(results, Results::Uniform(it) if it.outcome == Outcome::Delivered));
    }
}
