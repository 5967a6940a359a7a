//! A job's filter as engines store it.

use serde::{Deserialize, Serialize};

use crate::domain::attempt::Outcome;
use crate::domain::clock::Timestamp;
use crate::domain::condition::{EventConditions, StatusRange};
use crate::domain::delivery::{Reason, State};
use crate::domain::event::EventType;
use crate::domain::id::{DeliveryId, DestinationId, EventId, MappingId, SourceId, TokenId};
use crate::domain::job::JobFilter;

/// A filter as it is stored: JSON without absent conditions.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct StoredFilter {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    delivery_ids: Vec<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    among: Option<Vec<i64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    asked_by: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mapping_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<State>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_type: Option<EventType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<StatusRange>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_from: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_until: Option<Timestamp>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    again: bool,
}

impl StoredFilter {
    /// To store.
    pub(super) fn of(filter: &JobFilter) -> Self {
        let event = &filter.event;
        Self {
            delivery_ids: filter.delivery_ids.iter().map(|id| id.0).collect(),
            destination_id: filter.destination_id.map(|id| id.0),
            among: filter.among.as_ref().map(|ids| ids.iter().map(|id| id.0).collect()),
            asked_by: filter.asked_by.map(|id| id.0),
            mapping_id: filter.mapping_id.map(|id| id.0),
            state: filter.state,
            reason: filter.reason,
            event_id: filter.event_id.map(|id| id.0),
            source_id: event.source_id.map(|id| id.0),
            event_type: event.kind,
            event_name: event.name.clone(),
            user_id: event.user_id.clone(),
            message_id: event.message_id.clone(),
            outcome: filter.outcome,
            status: filter.status,
            accepted_from: filter.accepted_from,
            accepted_until: filter.accepted_until,
            again: filter.again,
        }
    }

    /// As it was stored.
    pub(super) fn into_filter(self) -> JobFilter {
        JobFilter {
            delivery_ids: self.delivery_ids.into_iter().map(DeliveryId).collect(),
            destination_id: self.destination_id.map(DestinationId),
            among: self.among.map(|ids| ids.into_iter().map(DestinationId).collect()),
            asked_by: self.asked_by.map(TokenId),
            mapping_id: self.mapping_id.map(MappingId),
            state: self.state,
            reason: self.reason,
            event_id: self.event_id.map(EventId),
            event: EventConditions {
                source_id: self.source_id.map(SourceId),
                kind: self.event_type,
                name: self.event_name,
                user_id: self.user_id,
                message_id: self.message_id,
            },
            outcome: self.outcome,
            status: self.status,
            accepted_from: self.accepted_from,
            accepted_until: self.accepted_until,
            again: self.again,
        }
    }
}
