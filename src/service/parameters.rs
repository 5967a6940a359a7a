//! What lists can be narrowed by: each condition by name, what it means and what it may be. Said once:
//! lists are read by it, and the API is described by it.

use crate::domain::attempt::Outcome;
use crate::domain::audit::Action;
use crate::domain::delivery::{Reason, State};
use crate::domain::event::EventType;
use crate::domain::id::Noun;
use crate::domain::job::{JobAction, JobState};

/// Items in a list at most.
pub(super) const MAX_LIMIT: u32 = 1_000;
/// Minutes in a step of statistics at most: a month.
pub(super) const MAX_STEP_MINUTES: u32 = 31 * 24 * 60;
/// The longest text that anything is looked for by, in characters.
const MAX_TEXT: usize = 256;

/// A condition that a list takes.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it narrows to.
    pub about: &'static str,
    /// What it may be.
    pub values: Values,
}

/// What a condition may be.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// A text of so many characters at most.
    Text(usize),
    /// One of these words.
    Words(fn() -> Vec<&'static str>),
    /// An HTTP status, or a class of them.
    Status,
    /// A time, RFC 3339.
    Time,
    /// The id of one of these.
    Id(Noun),
    /// A whole number, both ends included.
    Whole(u32, u32),
    /// Yes or no.
    Flag,
}

const fn new(name: &'static str, about: &'static str, values: Values) -> Parameter {
    Parameter { name, about, values }
}

const fn text(name: &'static str, about: &'static str) -> Parameter {
    new(name, about, Values::Text(MAX_TEXT))
}

const SOURCE: Parameter = text("source", "Of this source, by name or id");
const DESTINATION: Parameter = text("destination", "Of this destination, by path, name or id");
const MAPPING: Parameter = text("mapping", "Of this mapping, by path, name or id");
const TYPE: Parameter = new(
    "type",
    "Of events of this type",
    Values::Words(|| EventType::ALL.map(EventType::as_str).to_vec()),
);
const NAME: Parameter = text("name", "Of events of this name");
const USER_ID: Parameter = text("user_id", "Of events of this user");
const MESSAGE_ID: Parameter = text("message_id", "Of events with this messageId");
const SINCE: Parameter = new("since", "Accepted at or after", Values::Time);
const UNTIL: Parameter = new("until", "Accepted before", Values::Time);
const LIMIT: Parameter = new("limit", "How many; 50 when left out", Values::Whole(1, MAX_LIMIT));

const fn before(noun: Noun) -> Parameter {
    new("before", "What the page before gave as `next`", Values::Id(noun))
}

const STATE: Parameter =
    new("state", "In this state", Values::Words(|| State::ALL.map(State::as_str).to_vec()));
const REASON: Parameter = new(
    "reason",
    "Dead for this reason",
    Values::Words(|| Reason::ALL.map(Reason::as_str).to_vec()),
);
const OUTCOMES: Values = Values::Words(|| Outcome::ALL.map(Outcome::as_str).to_vec());
const LAST_OUTCOME: Parameter = new("outcome", "Whose last attempt ended so", OUTCOMES);
const LAST_STATUS: Parameter =
    new("status", "Whose last attempt got this status: 503, or 5xx", Values::Status);
const EVENT: Parameter = new("event", "Of this event, by id", Values::Id(Noun::Event));

/// Of deliveries.
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

/// Of dead letters: deliveries in one state.
pub const DEAD_LETTERS: &[Parameter] = DELIVERIES.split_at(1).1;

/// Of attempts.
pub const ATTEMPTS: &[Parameter] = &[
    new("outcome", "That ended so", OUTCOMES),
    new("status", "That got this status: 503, or 5xx", Values::Status),
    DESTINATION,
    MAPPING,
    new("delivery", "Of this delivery, by id", Values::Id(Noun::Delivery)),
    new("since", "Recorded at or after", Values::Time),
    new("until", "Recorded before", Values::Time),
    before(Noun::Attempt),
    LIMIT,
];

/// Of events.
pub const EVENTS: &[Parameter] = &[
    SOURCE,
    TYPE,
    NAME,
    USER_ID,
    MESSAGE_ID,
    new("rejected", "Only the rejected", Values::Flag),
    SINCE,
    UNTIL,
    before(Noun::Event),
    LIMIT,
];

/// Of events that are watched live.
pub const LIVE_EVENTS: &[Parameter] =
    &[SOURCE, TYPE, text("text", "With this text in the message")];

/// Of jobs.
pub const JOBS: &[Parameter] = &[
    new("action", "That do this", Values::Words(|| JobAction::ALL.map(JobAction::as_str).to_vec())),
    new("state", "In this state", Values::Words(|| JobState::ALL.map(JobState::as_str).to_vec())),
    before(Noun::Job),
    LIMIT,
];

/// Of redrives, of discards: jobs that do one thing.
pub const JOBS_OF_AN_ACTION: &[Parameter] = JOBS.split_at(1).1;

/// Of audit entries.
pub const AUDIT: &[Parameter] = &[
    text("actor", "By this token; `postrider` for the service itself"),
    new("action", "Of this action", Values::Words(|| Action::ALL.map(Action::as_str).to_vec())),
    text("subject", "To this, or to what is below it: a path, a token's name, a job's id"),
    new("since", "Done at or after", Values::Time),
    new("until", "Done before", Values::Time),
    new("before", "What the page before gave as `next`", Values::Whole(1, u32::MAX)),
    LIMIT,
];

/// Of destinations.
pub const DESTINATIONS: &[Parameter] = &[SOURCE];

/// Of mappings.
pub const MAPPINGS: &[Parameter] = &[SOURCE, DESTINATION];

/// Of a mapping's revisions.
pub const REVISIONS: &[Parameter] =
    &[new("before", "Only numbers below this", Values::Whole(1, u32::MAX)), LIMIT];

/// Of statistics.
pub const STATISTICS: &[Parameter] = &[
    new("since", "From here on; a day ago when left out", Values::Time),
    new("until", "Up to here; now when left out", Values::Time),
    new(
        "step_minutes",
        "How long a step is; whole hours are kept for longer than minutes",
        Values::Whole(1, MAX_STEP_MINUTES),
    ),
    SOURCE,
    DESTINATION,
    MAPPING,
];

impl Values {
    /// Whether a text is within its bounds; what else a value may be is told where it is read.
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
