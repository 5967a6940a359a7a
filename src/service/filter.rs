//! Parses the filters of lists and jobs: every invalid condition is reported with its allowed
//! values. Sources, destinations and mappings are given by name, by path (`website/warehouse`) or
//! by id.

use std::fmt::Display;
use std::str::FromStr;

use super::ServiceError;
use super::parameters::{self, MAX_LIMIT, Parameter};
use crate::domain::attempt::Outcome;
use crate::domain::audit::Action;
use crate::domain::clock::Timestamp;
use crate::domain::delivery::{Reason, State};
use crate::domain::destination::Destination;
use crate::domain::event::EventType;
use crate::domain::id::{DeliveryId, DestinationId, EventId, MappingId, Noun, PublicId, SourceId};
use crate::live::EventFilter;
use crate::pipeline::FieldError;
use crate::settings::nearest;
use crate::store::{
    AttemptQuery, AuditQuery, Cursor, DeliveryQuery, EventConditions, EventQuery, Pipeline,
    StatusRange,
};
use crate::trigger::Trigger;

mod document;
mod jobs;
mod times;

pub(super) use document::DocumentConditions;
pub(super) use jobs::{job, jobs};
pub(super) use times::absolute;
pub use times::absolute_time;

/// The default page size.
const DEFAULT_LIMIT: u32 = 50;
/// The parameters of pagination, which a job does not take: it selects every match.
const OF_A_PAGE: [&str; 2] = ["before", "limit"];

/// A condition: name and value.
pub type Condition = (String, String);

/// Parses the filter of a list of deliveries.
pub(super) fn deliveries(
    conditions: &[Condition],
    pipeline: &Pipeline,
) -> Result<DeliveryQuery, ServiceError> {
    let mut query = DeliveryQuery { limit: DEFAULT_LIMIT, ..DeliveryQuery::default() };
    each(conditions, parameters::DELIVERIES, |name, value| set(&mut query, name, value, pipeline))?;
    Ok(query)
}

/// Parses the filter of a list of dead letters.
pub(super) fn dead_letters(
    conditions: &[Condition],
    pipeline: &Pipeline,
) -> Result<DeliveryQuery, ServiceError> {
    if conditions.iter().any(|(name, _)| name == "state") {
        return Err(ServiceError::at("state", "is always dead here"));
    }
    let dead = Some(State::Dead);
    let mut query = DeliveryQuery { limit: DEFAULT_LIMIT, state: dead, ..Default::default() };
    each(conditions, parameters::DEAD_LETTERS, |name, value| {
        set(&mut query, name, value, pipeline)
    })?;
    Ok(query)
}

/// Parses the filter of a list of attempts.
pub(super) fn attempts(
    conditions: &[Condition],
    pipeline: &Pipeline,
) -> Result<AttemptQuery, ServiceError> {
    let mut query = AttemptQuery { limit: DEFAULT_LIMIT, ..AttemptQuery::default() };
    each(conditions, parameters::ATTEMPTS, |name, value| {
        match name {
            "outcome" => query.outcome = Some(outcome(value)?),
            "status" => query.status = Some(status(value)?),
            "destination" => query.destination_id = Some(destination(value, pipeline)?),
            "mapping" => query.mapping_id = Some(mapping(value, pipeline)?),
            "delivery" => query.delivery_id = Some(DeliveryId(key(value, Noun::Delivery)?)),
            "since" => query.recorded_from = Some(time(value)?),
            "until" => query.recorded_until = Some(time(value)?),
            "before" => query.before = Some(cursor(value, Noun::Attempt)?),
            "limit" => query.limit = limit(value)?,
            _ => return Err(unknown(parameters::ATTEMPTS, name)),
        }
        Ok(())
    })?;
    Ok(query)
}

/// Parses the filter of a list of events: what the store finds, and conditions on the documents of these.
pub(super) fn events(
    conditions: &[Condition],
    pipeline: &Pipeline,
) -> Result<(EventQuery, DocumentConditions), ServiceError> {
    let mut query = EventQuery { limit: DEFAULT_LIMIT, ..EventQuery::default() };
    let mut of_document = DocumentConditions::default();
    each(conditions, parameters::EVENTS, |name, value| {
        match name {
            "rejected" => {
                query.rejected = word(value, &["true", "false"], |text| text.parse().ok())?;
            }
            "anonymous_id" => of_document.anonymous_id = Some(value.to_owned()),
            "where" => {
                of_document.trigger = Some(Trigger::parse(value).map_err(|it| it.to_string())?);
            }
            "since" => query.accepted_from = Some(time(value)?),
            "until" => query.accepted_until = Some(time(value)?),
            "before" => query.before = Some(cursor(value, Noun::Event)?),
            "limit" => query.limit = limit(value)?,
            _ => return of_event(&mut query.event, name, value, pipeline, parameters::EVENTS),
        }
        Ok(())
    })?;
    Ok((query, of_document))
}

/// Parses the filter of the live feed of events.
pub(super) fn live_events(
    conditions: &[Condition],
    pipeline: &Pipeline,
) -> Result<EventFilter, ServiceError> {
    let (mut of, mut kind, mut text) = (None, None, None);
    each(conditions, parameters::LIVE_EVENTS, |name, value| {
        match name {
            // A form of the UI sends empty fields.
            _ if value.is_empty() => {}
            "source" => {
                let id = source(value, pipeline)?;
                of = pipeline.sources.iter().find(|it| it.id == id).map(|it| it.name.clone());
            }
            "type" => {
                let words = EventType::ALL.map(EventType::as_str);
                kind = Some(word(value, &words, EventType::parse)?);
            }
            "text" => text = Some(value.to_owned()),
            _ => return Err(unknown(parameters::LIVE_EVENTS, name)),
        }
        Ok(())
    })?;
    Ok(EventFilter::new(of, kind, text.as_deref()))
}

/// Parses the filter of the audit log.
pub(super) fn audit(conditions: &[Condition]) -> Result<AuditQuery, ServiceError> {
    let mut query = AuditQuery { limit: DEFAULT_LIMIT, ..AuditQuery::default() };
    each(conditions, parameters::AUDIT, |name, value| {
        match name {
            "actor" => query.actor = Some(value.to_owned()),
            "action" => {
                let words = Action::ALL.map(Action::as_str);
                query.action = Some(word(value, &words, Action::parse)?);
            }
            "subject" => query.subject = Some(value.to_owned()),
            "since" => query.from = Some(time(value)?),
            "until" => query.until = Some(time(value)?),
            "before" => query.before = Some(number(value, 1, i64::from(u32::MAX))?),
            "limit" => query.limit = limit(value)?,
            _ => return Err(unknown(parameters::AUDIT, name)),
        }
        Ok(())
    })?;
    Ok(query)
}

/// Sets a condition on events; any other name is unknown.
fn of_event(
    event: &mut EventConditions,
    name: &str,
    value: &str,
    pipeline: &Pipeline,
    known: &[Parameter],
) -> Result<(), String> {
    match name {
        "source" => event.source_id = Some(source(value, pipeline)?),
        "type" => {
            let words = EventType::ALL.map(EventType::as_str);
            event.kind = Some(word(value, &words, EventType::parse)?);
        }
        "name" => event.name = Some(value.to_owned()),
        "user_id" => event.user_id = Some(value.to_owned()),
        "message_id" => event.message_id = Some(value.to_owned()),
        _ => return Err(unknown(known, name)),
    }
    Ok(())
}

/// Parses each condition of the known ones and reports all that are invalid together.
pub(super) fn each(
    conditions: &[Condition],
    known: &[Parameter],
    mut set: impl FnMut(&str, &str) -> Result<(), String>,
) -> Result<(), ServiceError> {
    let mut read = |name: &str, value: &str| {
        let parameter = known.iter().find(|it| it.name == name);
        parameter.ok_or_else(|| unknown(known, name))?.values.check(value)?;
        set(name, value)
    };
    let faults: Vec<FieldError> = conditions
        .iter()
        .filter_map(|(name, value)| {
            read(name, value).err().map(|message| FieldError::new(name, message))
        })
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(ServiceError::Invalid(faults)) }
}

fn set(
    query: &mut DeliveryQuery,
    name: &str,
    value: &str,
    pipeline: &Pipeline,
) -> Result<(), String> {
    match name {
        "state" => query.state = Some(word(value, &State::ALL.map(State::as_str), State::parse)?),
        "reason" => {
            query.reason = Some(word(value, &Reason::ALL.map(Reason::as_str), Reason::parse)?);
        }
        "outcome" => query.outcome = Some(outcome(value)?),
        "destination" => query.destination_id = Some(destination(value, pipeline)?),
        "mapping" => query.mapping_id = Some(mapping(value, pipeline)?),
        "event" => query.event_id = Some(EventId(key(value, Noun::Event)?)),
        "status" => query.status = Some(status(value)?),
        "since" => query.accepted_from = Some(time(value)?),
        "until" => query.accepted_until = Some(time(value)?),
        "before" => query.before = Some(cursor(value, Noun::Delivery)?),
        "limit" => query.limit = limit(value)?,
        _ => return of_event(&mut query.event, name, value, pipeline, parameters::DELIVERIES),
    }
    Ok(())
}

fn word<T>(value: &str, words: &[&str], read: impl Fn(&str) -> Option<T>) -> Result<T, String> {
    read(value).ok_or_else(|| {
        let guess = nearest(value, words.iter().copied())
            .map(|word| format!("; did you mean {word}?"))
            .unwrap_or_default();
        format!("should be one of {}, not {value:?}{guess}", words.join(", "))
    })
}

fn outcome(value: &str) -> Result<Outcome, String> {
    word(value, &Outcome::ALL.map(Outcome::as_str), Outcome::parse)
}

pub(super) fn unknown(known: &[Parameter], name: &str) -> String {
    let known: Vec<_> = known.iter().map(|it| it.name).collect();
    if known.is_empty() {
        return "is not a filter: this list takes none".to_owned();
    }
    let guess = nearest(name, known.iter().copied())
        .map(|known| format!("; did you mean {known}?"))
        .unwrap_or_default();
    format!("is not a filter of this list{guess} (filters: {})", known.join(", "))
}

pub(super) fn number<T: FromStr + PartialOrd + Display + Copy>(
    value: &str,
    min: T,
    max: T,
) -> Result<T, String> {
    value
        .parse()
        .ok()
        .filter(|number| (min..=max).contains(number))
        .ok_or_else(|| format!("should be an integer from {min} to {max}, not {value:?}"))
}

/// An HTTP status, or a class of statuses.
fn status(value: &str) -> Result<StatusRange, String> {
    let class = value.strip_suffix("xx").and_then(|class| class.parse::<u16>().ok());
    let found = match class {
        Some(class) => Some((class * 100, class * 100 + 99)).filter(|_| (1..=9).contains(&class)),
        None => number(value, 100_u16, 999).ok().map(|status| (status, status)),
    };
    let (from, to) =
        found.ok_or_else(|| format!("should be a status such as 503, or 5xx, not {value:?}"))?;
    Ok(StatusRange { from, to })
}

fn limit(value: &str) -> Result<u32, String> {
    number(value, 1, MAX_LIMIT)
}

pub(super) fn time(value: &str) -> Result<Timestamp, String> {
    Timestamp::parse_iso(value)
        .ok_or_else(|| format!("should be a time such as 2026-03-01T12:00:00Z, or how long ago, such as 2h, not {value:?}"))
}

fn key(value: &str, noun: Noun) -> Result<i64, String> {
    cursor(value, noun).map(|cursor| cursor.key)
}

/// The position of the row that this public id names: the id carries its time and key.
fn cursor(value: &str, noun: Noun) -> Result<Cursor, String> {
    let id = PublicId::parse_as(value, noun).map_err(|error| error.to_string())?;
    Ok(Cursor { at: id.created_at, key: id.key })
}

/// A named resource: its path from the source down, its key, its public id.
struct Candidate<K> {
    path: Vec<String>,
    key: K,
    id: PublicId,
}

pub(super) fn source(value: &str, pipeline: &Pipeline) -> Result<SourceId, String> {
    let candidates = pipeline.sources.iter().map(|source| Candidate {
        path: vec![source.name.clone()],
        key: source.id,
        id: PublicId::new(Noun::Source, source.created_at, source.id.0),
    });
    pick("source", value, candidates.collect())
}

pub(super) fn destination(value: &str, pipeline: &Pipeline) -> Result<DestinationId, String> {
    let candidates = pipeline.destinations.iter().map(|destination| Candidate {
        path: destination_path(pipeline, destination.id),
        key: destination.id,
        id: PublicId::new(Noun::Destination, destination.created_at, destination.id.0),
    });
    pick("destination", value, candidates.collect())
}

pub(super) fn mapping(value: &str, pipeline: &Pipeline) -> Result<MappingId, String> {
    let candidates = pipeline.mappings.iter().map(|mapping| Candidate {
        path: mapping_path(pipeline, mapping.id),
        key: mapping.id,
        id: PublicId::new(Noun::Mapping, mapping.created_at, mapping.id.0),
    });
    pick("mapping", value, candidates.collect())
}

/// `[source, destination]`; empty when there is no such destination.
#[must_use]
pub fn destination_path(pipeline: &Pipeline, id: DestinationId) -> Vec<String> {
    let Some(destination) = pipeline.destinations.iter().find(|one| one.id == id) else {
        return Vec::new();
    };
    let source = pipeline.sources.iter().find(|source| source.id == destination.source_id);
    source.map(|source| source.name.clone()).into_iter().chain([destination.name.clone()]).collect()
}

/// `[source, destination, mapping]`; empty when there is no such mapping.
#[must_use]
pub fn mapping_path(pipeline: &Pipeline, id: MappingId) -> Vec<String> {
    let Some(mapping) = pipeline.mappings.iter().find(|one| one.id == id) else {
        return Vec::new();
    };
    let mut path = destination_path(pipeline, mapping.destination_id);
    path.push(mapping.name.clone());
    path
}

fn pick<K: Copy>(what: &str, value: &str, all: Vec<Candidate<K>>) -> Result<K, String> {
    let wanted: Vec<&str> = value.split('/').collect();
    let fits = |candidate: &&Candidate<K>| {
        candidate.id.to_string() == value
            || candidate.path.iter().rev().zip(wanted.iter().rev()).all(|(a, b)| a == b)
                && wanted.len() <= candidate.path.len()
    };
    let found: Vec<_> = all.iter().filter(fits).collect();
    match found.as_slice() {
        [one] => Ok(one.key),
        [] => {
            let paths: Vec<String> = all.iter().map(|one| one.path.join("/")).collect();
            let names = all.iter().filter_map(|one| one.path.last().map(String::as_str));
            let guess = nearest(value, names.chain(paths.iter().map(String::as_str)))
                .map(|name| format!("; did you mean {name}?"))
                .unwrap_or_default();
            Err(format!("there is no {what} {value:?}{guess}"))
        }
        several => {
            let paths: Vec<String> = several.iter().map(|one| one.path.join("/")).collect();
            Err(format!("{value:?} is ambiguous: use {}", paths.join(" or ")))
        }
    }
}

/// The source and destination that a list of resources is filtered by.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Within {
    source_id: Option<SourceId>,
    destination_id: Option<DestinationId>,
}

impl Within {
    /// Whether a destination matches.
    pub(super) fn takes(&self, destination: &Destination) -> bool {
        self.source_id.is_none_or(|id| id == destination.source_id)
            && self.destination_id.is_none_or(|id| id == destination.id)
    }
}

/// Parses the filter of a list of resources; only conditions in `known` are allowed.
pub(super) fn within(
    conditions: &[Condition],
    known: &[Parameter],
    pipeline: &Pipeline,
) -> Result<Within, ServiceError> {
    let mut within = Within::default();
    each(conditions, known, |name, value| {
        match name {
            "source" => within.source_id = Some(source(value, pipeline)?),
            _ => within.destination_id = Some(destination(value, pipeline)?),
        }
        Ok(())
    })?;
    Ok(within)
}

/// Parses the parameters of a list of revisions: the cursor and the page size.
pub(super) fn revisions(conditions: &[Condition]) -> Result<(Option<u32>, u32), ServiceError> {
    let (mut before, mut count) = (None, DEFAULT_LIMIT);
    each(conditions, parameters::REVISIONS, |name, value| {
        match name {
            "before" => before = Some(number(value, 1, u32::MAX)?),
            "limit" => count = limit(value)?,
            _ => return Err(unknown(parameters::REVISIONS, name)),
        }
        Ok(())
    })?;
    Ok((before, count))
}
