//! Filters on deliveries, shared by lists and jobs.

use super::failure::Failure;
use crate::domain::clock::{Clock as _, SystemClock, Timestamp};
use crate::domain::delivery::Reason;
use crate::domain::duration_text::parse_duration;
use crate::domain::event::EventType;

/// The choices, as help lists them.
pub(super) fn one_of(words: &[&str]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        few => few.concat(),
    }
}

/// Filters on deliveries; all of them apply.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Which deliveries")]
pub(super) struct Selection {
    /// Of this source
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
    /// Of this destination: its name, source/destination or id
    #[arg(long, value_name = "DESTINATION")]
    destination: Option<String>,
    /// Of this mapping: its name, a path that ends in it or its id
    #[arg(long, value_name = "MAPPING")]
    mapping: Option<String>,
    #[arg(
        long,
        value_name = "REASON",
        help = format!("Dead for this reason: {}", one_of(&Reason::ALL.map(Reason::as_str)))
    )]
    reason: Option<String>,
    #[arg(
        long = "type",
        value_name = "TYPE",
        help = format!("Whose event has this type: {}", one_of(&EventType::ALL.map(EventType::as_str)))
    )]
    event_type: Option<String>,
    /// Of this event
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// Whose event has this name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Whose event is of this user
    #[arg(long, value_name = "ID")]
    user_id: Option<String>,
    /// Whose event has this messageId
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,
    /// With this outcome of the last attempt: server_error, timeout, dns, …
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<String>,
    /// With this HTTP status of the last attempt, such as 503, or class, such as 5xx
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Accepted since: a time such as 2026-03-01T12:00:00Z, or how long ago, such as 90m, 2h, 7d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Accepted before: a time, or how long ago
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl Selection {
    /// The filters as query parameters.
    pub(super) fn conditions(&self) -> Result<Vec<(&'static str, String)>, Failure> {
        let given = [
            ("source", self.source.clone()),
            ("destination", self.destination.clone()),
            ("mapping", self.mapping.clone()),
            ("reason", self.reason.clone()),
            ("type", self.event_type.clone()),
            ("event", self.event.clone()),
            ("name", self.name.clone()),
            ("user_id", self.user_id.clone()),
            ("message_id", self.message_id.clone()),
            ("outcome", self.outcome.clone()),
            ("status", self.status.clone()),
            ("since", time("--since", self.since.as_deref())?),
            ("until", time("--until", self.until.as_deref())?),
        ];
        Ok(given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }
}

/// A time as the API takes it.
pub(super) fn time(flag: &str, given: Option<&str>) -> Result<Option<String>, Failure> {
    let Some(text) = given else { return Ok(None) };
    if Timestamp::parse_iso(text).is_some() {
        return Ok(Some(text.to_owned()));
    }
    let ago = parse_duration(text).ok_or_else(|| {
        Failure::usage(format!("{flag} should be a time or how long ago, not {text:?}"))
            .hint("write 2026-03-01T12:00:00Z, or 30s, 90m, 2h, 7d")
    })?;
    Ok(Some((SystemClock::new().now() - ago).to_iso()))
}

/// A time in the future, as the API takes it.
pub(super) fn ahead(flag: &str, text: &str) -> Result<String, Failure> {
    if Timestamp::parse_iso(text).is_some() {
        return Ok(text.to_owned());
    }
    let ahead = parse_duration(text).ok_or_else(|| {
        Failure::usage(format!("{flag} should be a time or how far from now, not {text:?}"))
            .hint("write 2030-01-31T00:00:00Z, or 90m, 2h, 30d")
    })?;
    Ok((SystemClock::new().now() + ahead).to_iso())
}
