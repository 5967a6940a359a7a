//! Explains the routing of one event: for each mapping of its source the delivery, or the reason
//! why there is none. It is derived from the event's deliveries and skips and from the revision
//! that each mapping had when the event was accepted. What is not stored, such as the time when a
//! mapping was disabled, is inferred and marked as inferred.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::deliveries::DeliveryView;
use super::event_view::EventView;
use super::filter::mapping_path;
use super::scope::{visible_destinations, visible_sources};
use super::{Service, ServiceError};
use crate::domain::auth::Caller;
use crate::domain::clock::Clock;
use crate::domain::destination::Destination;
use crate::domain::event::StoredEvent;
use crate::domain::event_time::EventTime;
use crate::domain::id::{EventId, Noun, PublicId};
use crate::domain::integrations::Integrations;
use crate::domain::mapping::{Mapping, MappingRevision};
use crate::json;
use crate::mapping::CompiledMapping;
use crate::store::{DeliveryQuery, DeliveryRow, EventConditions, EventQuery, Pipeline, Routing};
use crate::trigger::Trigger;

mod summary;

use summary::DeliverySummary;

/// The maximum number of deliveries of an event.
const MAX_DELIVERIES: u32 = 10_000;
/// The maximum number of other events with the same messageId in an answer.
const MAX_OTHERS: u32 = 20;

/// The routing of an event, explained.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The event.
    pub event: EventView,
    /// Each mapping of its source, and removed mappings that got a delivery.
    pub mappings: Vec<MappingExplanation>,
    /// Older events with the same messageId.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
    /// Notes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The routing of an event to one mapping, explained.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MappingExplanation {
    /// `source/destination/mapping`; none when it was removed.
    pub mapping: Option<String>,
    /// The verdict.
    pub verdict: Verdict,
    /// The state of the delivery, or why there is none.
    pub because: String,
    /// The number of the revision that was evaluated.
    pub revision: Option<u32>,
    /// The condition that the event did not meet; only with the verdict `trigger`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unmet: Option<UnmetView>,
    /// Its delivery; only with the verdict `matched`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<DeliveryView>,
}

/// Whether an event was routed to a mapping, or why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It has a delivery.
    Matched,
    /// The event was rejected as a whole.
    Rejected,
    /// The mapping or its destination was created later.
    MadeLater,
    /// The trigger did not match.
    Trigger,
    /// The event's `integrations` object excludes the destination.
    Integrations,
    /// The mapping or its destination was disabled.
    Disabled,
    /// This version cannot run the mapping.
    Faulty,
    /// Unknown: the stored data does not tell.
    Unclear,
}

impl Verdict {
    /// Its value in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::Rejected => "rejected",
            Self::MadeLater => "made_later",
            Self::Trigger => "trigger",
            Self::Integrations => "integrations",
            Self::Disabled => "disabled",
            Self::Faulty => "faulty",
            Self::Unclear => "unclear",
        }
    }
}

/// The part of a trigger that did not match.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UnmetView {
    /// The condition.
    pub condition: String,
    /// The field that it tests; none for a combination of conditions.
    pub path: Option<String>,
    /// The field's value, as JSON; none when the field was missing.
    pub found: Option<String>,
}

/// The input of an explanation.
struct Known<'a> {
    stored: &'a StoredEvent,
    pipeline: &'a Pipeline,
    routing: &'a Routing,
    document: Option<json::Value<'a>>,
    clock: &'a dyn Clock,
}

impl Service {
    /// Explains the routing of an event, by its id or its messageId.
    ///
    /// # Errors
    /// [`ServiceError`] when there is none.
    pub async fn explain(&self, caller: &Caller, text: &str) -> Result<Explanation, ServiceError> {
        let pipeline = self.pipeline(caller).await?;
        let Found { stored, others, by_message_id } = find(self, &pipeline, caller, text).await?;
        let routing = self.store.routing(stored.id).await?;
        let query = DeliveryQuery {
            event_id: Some(stored.id),
            among: visible_destinations(caller, &pipeline),
            limit: MAX_DELIVERIES,
            ..DeliveryQuery::default()
        };
        let mut deliveries = self.store.deliveries(query).await?.rows;
        deliveries.reverse();
        let document = stored.event.document().ok().and_then(|bytes| json::parse(bytes).ok());
        let (pipeline, clock) = (&pipeline, &*self.clock);
        let known = Known { stored: &stored, pipeline, routing: &routing, document, clock };
        let mut mappings = Vec::new();
        for (destination, mapping) in known.mappings() {
            let is_its = |it: &DeliveryRow| it.delivery.mapping_id == mapping.id;
            let (rows, others) = deliveries.into_iter().partition::<Vec<_>, _>(is_its);
            deliveries = others;
            if rows.is_empty() {
                mappings.push(known.unmatched(destination, mapping));
            }
            // A backfill may have made another one.
            for row in &rows {
                mappings.push(known.matched(self, row, Some((destination, mapping))).await?);
            }
        }
        for row in &deliveries {
            mappings.push(known.matched(self, row, None).await?);
        }
        let notes = known.notes(mappings.is_empty(), by_message_id);
        Ok(Explanation { event: EventView::of(&stored, pipeline), mappings, others, notes })
    }
}

/// The event to explain.
struct Found {
    stored: StoredEvent,
    others: Vec<String>,
    by_message_id: bool,
}

/// Finds an event by its id, or the newest with this messageId.
async fn find(
    service: &Service,
    pipeline: &Pipeline,
    caller: &Caller,
    text: &str,
) -> Result<Found, ServiceError> {
    let seen = visible_sources(caller, pipeline);
    if let Ok(id) = PublicId::parse_as(text, Noun::Event)
        && let Some(stored) = service.store.event(EventId(id.key)).await?
        && stored.event.received_at == id.created_at
        && seen.as_ref().is_none_or(|ids| ids.contains(&stored.event.source_id))
    {
        return Ok(Found { stored, others: Vec::new(), by_message_id: false });
    }
    let event = EventConditions { message_id: Some(text.to_owned()), ..EventConditions::default() };
    let query = EventQuery { event, among: seen, limit: MAX_OTHERS + 1, ..EventQuery::default() };
    let listed = service.store.events(query).await?;
    let mut found = listed.rows.into_iter();
    let stored = found.next().ok_or_else(|| {
        let since = listed.looked_to.map(|cursor| format!(" accepted since {}", cursor.at));
        let since = since.unwrap_or_default();
        ServiceError::Missing(format!("event with the id or messageId {text}{since}"))
    })?;
    let id = |it: StoredEvent| PublicId::new(Noun::Event, it.event.received_at, it.id.0);
    let others = found.map(|it| id(it).to_string()).collect();
    Ok(Found { stored, others, by_message_id: true })
}

impl<'a> Known<'a> {
    /// The mappings of the event's source.
    fn mappings(&self) -> impl Iterator<Item = (&'a Destination, &'a Mapping)> {
        let pipeline = self.pipeline;
        let source_id = self.stored.event.source_id;
        let destinations = pipeline
            .destinations
            .iter()
            .filter(move |destination| destination.source_id == source_id);
        destinations.flat_map(|destination| {
            let below = pipeline.mappings.iter().filter(|it| it.destination_id == destination.id);
            below.map(move |mapping| (destination, mapping))
        })
    }

    fn revision(&self, mapping: &Mapping) -> Option<&'a MappingRevision> {
        let found = self.routing.revisions.iter().find(|(id, _)| *id == mapping.id);
        found.map(|(_, revision)| revision)
    }

    async fn matched(
        &self,
        service: &Service,
        row: &DeliveryRow,
        set_up: Option<(&Destination, &Mapping)>,
    ) -> Result<MappingExplanation, ServiceError> {
        let attempts = service.store.attempts_of(row.delivery.id).await?;
        let settled_by = match row.delivery.settled_by {
            Some(id) => service.store.delivery(id).await?,
            None => None,
        };
        let circuits = service.node.open_circuits();
        let view = DeliveryView::of(row, self.pipeline, &*service.clock);
        let summary = DeliverySummary {
            delivery: &row.delivery,
            id: &view.id,
            attempts: &attempts,
            settled_by: settled_by.map(|by| DeliveryView::of(&by, self.pipeline, &*service.clock)),
            enabled: set_up.map(|(destination, mapping)| destination.enabled && mapping.enabled),
            held: view.held.clone(),
            wait_until: service.wait_of(row.delivery.mapping_id),
            circuit_open: circuits.iter().any(|it| it.mapping_id == row.delivery.mapping_id),
            clock: &*service.clock,
        };
        Ok(MappingExplanation {
            mapping: view.mapping.clone(),
            verdict: Verdict::Matched,
            because: summary.to_string(),
            revision: set_up.and_then(|(_, mapping)| self.revision(mapping)).map(|it| it.number),
            unmet: None,
            delivery: Some(view),
        })
    }

    fn unmatched(&self, destination: &Destination, mapping: &Mapping) -> MappingExplanation {
        let (verdict, because, unmet) = self.judge(destination, mapping);
        let revision = self.revision(mapping);
        let mut because = because;
        if let (Verdict::Trigger, Some(then)) = (verdict, revision)
            && then.number < mapping.revision.number
        {
            let (now, at) = (mapping.revision.number, mapping.revision.created_at);
            because.push_str(&format!(
                "; that was revision {}; revision {now} is current since {at}",
                then.number
            ));
        }
        MappingExplanation {
            mapping: Some(mapping_path(self.pipeline, mapping.id).join("/")),
            verdict,
            because,
            revision: revision.map(|revision| revision.number),
            unmet,
            delivery: None,
        }
    }

    /// Why there is no delivery. Stored facts are checked before inferences.
    fn judge(
        &self,
        destination: &Destination,
        mapping: &Mapping,
    ) -> (Verdict, String, Option<UnmetView>) {
        let event = &self.stored.event;
        let plain = |verdict, because: String| (verdict, because, None);
        if let Some(reason) = &event.rejection {
            return plain(Verdict::Rejected, format!("the event was rejected: {reason}"));
        }
        let created_at = destination.created_at.max(mapping.created_at);
        let (Some(revision), Some(document)) = (self.revision(mapping), &self.document) else {
            return plain(
                Verdict::MadeLater,
                format!("it was created after the event, at {created_at}"),
            );
        };
        let trigger = match compile(revision) {
            Ok(trigger) => trigger,
            Err(fault) => return plain(Verdict::Faulty, fault),
        };
        if let Some(unmet) = trigger.unmet(document) {
            let field = unmet.field;
            let view = UnmetView {
                condition: unmet.condition,
                path: field.as_ref().map(|field| field.path.clone()),
                found: field.and_then(|field| field.value),
            };
            return (Verdict::Trigger, did_not_match(&view), Some(view));
        }
        if self.routing.skips.contains(&destination.id) {
            let mut because =
                "the event's integrations object excludes this destination".to_owned();
            // None when the destination had another name.
            let profile = revision.definition.profile;
            let by = Integrations::of(document).excluding(&destination.name, profile);
            if let Some(name) = by {
                because.push_str(&format!(": its entry {name:?} is false"));
            }
            return plain(Verdict::Integrations, because);
        }
        let resumed_at = self.clock.to_wall(destination.resumed_at.max(mapping.resumed_at));
        if !destination.enabled || !mapping.enabled {
            let what = if destination.enabled { "the mapping" } else { "the destination" };
            let because = format!(
                "{what} is disabled; inferred: it was disabled when the event was accepted, as its trigger matches"
            );
            plain(Verdict::Disabled, because)
        } else if resumed_at > event.received_at {
            let because = format!(
                "inferred: it was disabled when the event was accepted, as its trigger matches; \
                 enabled again at {resumed_at}"
            );
            plain(Verdict::Disabled, because)
        } else {
            let because = "its trigger matches and it is enabled; inferred: it was changed \
                           concurrently with the event";
            plain(Verdict::Unclear, because.to_owned())
        }
    }

    fn notes(&self, no_mappings: bool, by_message_id: bool) -> Vec<String> {
        let mut notes = Vec::new();
        let document = self.document.as_ref().and_then(json::Value::as_object);
        let received_at = self.stored.event.received_at;
        let time = document.map(|it| EventTime::of_document(it, received_at));
        notes.extend(time.and_then(|time| time.fault).map(|fault| fault.to_string()));
        let event = &self.stored.event;
        if !self.pipeline.sources.iter().any(|source| source.id == event.source_id) {
            notes.push("its source was removed, with its destinations and mappings".to_owned());
        } else if no_mappings {
            notes.push("its source has no mappings".to_owned());
        }
        if by_message_id && event.rejection.is_none() {
            notes.push(
                "duplicates of this messageId within 24 hours are acknowledged and not delivered \
                 again; only their number is stored, over all sources: events_duplicate in \
                 postrider status"
                    .to_owned(),
            );
        }
        notes
    }
}

/// A revision's trigger, or the error where this version cannot run the revision.
fn compile(revision: &MappingRevision) -> Result<Trigger, String> {
    let faulty = |path: &str, message: &str| {
        format!("this version cannot run revision {}: {path}: {message}", revision.number)
    };
    if let Err(faults) = CompiledMapping::compile(&revision.definition)
        && let Some(fault) = faults.first()
    {
        return Err(faulty(&fault.path, &fault.message));
    }
    Trigger::parse(&revision.definition.trigger)
        .map_err(|error| faulty("trigger", &error.to_string()))
}

fn did_not_match(unmet: &UnmetView) -> String {
    let found = match (&unmet.path, &unmet.found) {
        (Some(path), Some(found)) => format!(": {path} was {found}"),
        (Some(path), None) => format!(": {path} was missing"),
        (None, _) => String::new(),
    };
    format!("its trigger did not match: {} is false{found}", unmet.condition)
}
