//! The query parameters of lists: name, description and allowed values. Lists are parsed by this
//! table, and OpenAPI describes them by it.

use super::export_format::Format;
use crate::domain::attempt::Outcome;
use crate::domain::audit::Action;
use crate::domain::delivery::{Reason, State};
use crate::domain::event::EventType;
use crate::domain::id::Noun;
use crate::domain::job::{JobAction, JobState};

/// The maximum page size.
pub(super) const MAX_LIMIT: u32 = 1_000;
/// The maximum step of statistics, in minutes: a month.
pub(super) const MAX_STEP_MINUTES: u32 = 31 * 24 * 60;
/// The maximum length of a text value, in characters.
const MAX_TEXT: usize = 256;
/// The maximum length of an expression, in characters.
const MAX_EXPRESSION: usize = 2_000;

/// A query parameter of a list.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Its description.
    pub about: &'static str,
    /// Its allowed values.
    pub values: Values,
}

/// The values that a parameter allows.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// Text of at most this many characters.
    Text(usize),
    /// One of these words.
    Words(fn() -> Vec<&'static str>),
    /// An HTTP status, or a class of statuses.
    Status,
    /// A time, RFC 3339, or how long ago: `90m`, `2h`, `7d`.
    Time,
    /// A public id of this kind.
    Id(Noun),
    /// An integer in a range, both ends included.
    Whole(u32, u32),
    /// A boolean.
    Flag,
}

const fn new(name: &'static str, about: &'static str, values: Values) -> Parameter {
    Parameter { name, about, values }
}

const fn text(name: &'static str, about: &'static str) -> Parameter {
    new(name, about, Values::Text(MAX_TEXT))
}

const SOURCE: Parameter = text("source", "Only this source, by name or id");
const DESTINATION: Parameter = text("destination", "Only this destination, by path, name or id");
const MAPPING: Parameter = text("mapping", "Only this mapping, by path, name or id");
const TYPE: Parameter = new(
    "type",
    "Only events of this type",
    Values::Words(|| EventType::ALL.map(EventType::as_str).to_vec()),
);
const NAME: Parameter = text("name", "Only events with this name");
const USER_ID: Parameter = text("user_id", "Only events with this userId");
const MESSAGE_ID: Parameter = text("message_id", "Only events with this messageId");
const SINCE: Parameter = new("since", "Accepted at or after", Values::Time);
const UNTIL: Parameter = new("until", "Accepted before", Values::Time);
const LIMIT: Parameter = new("limit", "The page size; default 50", Values::Whole(1, MAX_LIMIT));

const fn before(noun: Noun) -> Parameter {
    new("before", "The cursor: `next` of the page before", Values::Id(noun))
}

const STATE: Parameter =
    new("state", "Only this state", Values::Words(|| State::ALL.map(State::as_str).to_vec()));
const REASON: Parameter = new(
    "reason",
    "Only dead letters with this reason",
    Values::Words(|| Reason::ALL.map(Reason::as_str).to_vec()),
);
const OUTCOMES: Values = Values::Words(|| Outcome::ALL.map(Outcome::as_str).to_vec());
const LAST_OUTCOME: Parameter =
    new("outcome", "Only where the last attempt had this outcome", OUTCOMES);
const LAST_STATUS: Parameter =
    new("status", "Only where the last attempt got this status: 503, or 5xx", Values::Status);
const EVENT: Parameter =
    new("event", "Only deliveries of this event, by id", Values::Id(Noun::Event));

/// The parameters of the list of deliveries.
pub const DELIVERIES: &[Parameter] = &[
    STATE,
    REASON,
    LAST_OUTCOME,
    LAST_STATUS,
    SOURCE,
    DESTINATION,
    MAPPING,
    EVENT,
    TYPE,
    NAME,
    USER_ID,
    MESSAGE_ID,
    SINCE,
    UNTIL,
    before(Noun::Delivery),
    LIMIT,
];

/// The parameters of the list of dead letters: deliveries without `state`.
pub const DEAD_LETTERS: &[Parameter] = DELIVERIES.split_at(1).1;

/// The parameters of the list of attempts.
pub const ATTEMPTS: &[Parameter] = &[
    new("outcome", "Only this outcome", OUTCOMES),
    new("status", "Only this status: 503, or 5xx", Values::Status),
    DESTINATION,
    MAPPING,
    new("delivery", "Only attempts of this delivery, by id", Values::Id(Noun::Delivery)),
    new("since", "Recorded at or after", Values::Time),
    new("until", "Recorded before", Values::Time),
    before(Noun::Attempt),
    LIMIT,
];

/// The parameters of the list of events.
pub const EVENTS: &[Parameter] = &[
    SOURCE,
    TYPE,
    NAME,
    USER_ID,
    MESSAGE_ID,
    text("anonymous_id", "Only events with this anonymousId"),
    new(
        "where",
        "Only events that match this trigger expression, such as `properties.plan = \"pro\"`",
        Values::Text(MAX_EXPRESSION),
    ),
    new("rejected", "Only rejected events", Values::Flag),
    SINCE,
    UNTIL,
    before(Noun::Event),
    LIMIT,
];

/// The parameter of the form of an export.
const FORMAT: Parameter = new(
    "format",
    "The form; default csv",
    Values::Words(|| Format::ALL.map(Format::as_str).to_vec()),
);

/// The parameters of a list with the form of an export in place of pagination, which are its last two.
const fn exported<const N: usize>(list: &[Parameter]) -> [Parameter; N] {
    let mut all = [FORMAT; N];
    let mut at = 0;
    while at + 1 < N {
        all[at] = list[at];
        at += 1;
    }
    all
}

/// The parameters of the export of events.
pub const EXPORTED_EVENTS: &[Parameter] = &exported::<{ EVENTS.len() - 1 }>(EVENTS);

/// The parameters of the export of deliveries.
pub const EXPORTED_DELIVERIES: &[Parameter] = &exported::<{ DELIVERIES.len() - 1 }>(DELIVERIES);

/// The parameters of the export of attempts.
pub const EXPORTED_ATTEMPTS: &[Parameter] = &exported::<{ ATTEMPTS.len() - 1 }>(ATTEMPTS);

/// The parameters of the live feed of events.
pub const LIVE_EVENTS: &[Parameter] =
    &[SOURCE, TYPE, text("text", "Only events whose message contains this text")];

/// The parameters of the list of jobs.
pub const JOBS: &[Parameter] = &[
    new(
        "action",
        "Only this action",
        Values::Words(|| JobAction::ALL.map(JobAction::as_str).to_vec()),
    ),
    new("state", "Only this state", Values::Words(|| JobState::ALL.map(JobState::as_str).to_vec())),
    before(Noun::Job),
    LIMIT,
];

/// The parameters of the lists of redrives and discards: jobs without `action`.
pub const JOBS_OF_AN_ACTION: &[Parameter] = JOBS.split_at(1).1;

/// The parameters of the audit log.
pub const AUDIT: &[Parameter] = &[
    text("actor", "Only entries of this token; `postrider` for the service itself"),
    new("action", "Only this action", Values::Words(|| Action::ALL.map(Action::as_str).to_vec())),
    text("subject", "Only this subject and what is below it: a path, a token's name, a job's id"),
    new("since", "Recorded at or after", Values::Time),
    new("until", "Recorded before", Values::Time),
    new("before", "The cursor: `next` of the page before", Values::Whole(1, u32::MAX)),
    LIMIT,
];

/// The parameters of the list of destinations.
pub const DESTINATIONS: &[Parameter] = &[SOURCE];

/// The parameters of the list of mappings.
pub const MAPPINGS: &[Parameter] = &[SOURCE, DESTINATION];

/// The parameters of the list of a mapping's revisions.
pub const REVISIONS: &[Parameter] =
    &[new("before", "Only revisions with a lower number", Values::Whole(1, u32::MAX)), LIMIT];

/// The parameters of statistics.
pub const STATISTICS: &[Parameter] = &[
    new("since", "The start; default a day ago", Values::Time),
    new("until", "The end; default now", Values::Time),
    new(
        "step_minutes",
        "The length of a step; hourly data is retained longer than minutes",
        Values::Whole(1, MAX_STEP_MINUTES),
    ),
    SOURCE,
    DESTINATION,
    MAPPING,
];

impl Values {
    /// Checks the length of a text; other values are checked where they are parsed.
    pub(super) fn check(&self, value: &str) -> Result<(), String> {
        match self {
            Self::Text(most) if value.chars().count() > *most => {
                Err(format!("should have at most {most} characters"))
            }
            Self::Text(_)
            | Self::Words(_)
            | Self::Status
            | Self::Time
            | Self::Id(_)
            | Self::Whole(..)
            | Self::Flag => Ok(()),
        }
    }
}
