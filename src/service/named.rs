//! The rows that filters name by public id. An id has its row's time: with another time it names nothing.

use super::filter::Condition;
use super::scope::{visible_destinations, visible_sources};
use super::{Service, ServiceError};
use crate::domain::auth::Caller;
use crate::domain::id::{DeliveryId, EventId, Noun, PublicId};
use crate::store::Pipeline;

impl Service {
    /// Whether the event and the delivery that a filter names exist, for this caller.
    pub(super) async fn names_exist(
        &self,
        caller: &Caller,
        conditions: &[Condition],
        pipeline: &Pipeline,
    ) -> Result<bool, ServiceError> {
        for (name, value) in conditions {
            let exists = match name.as_str() {
                "event" => self.event_exists(caller, value, pipeline).await?,
                "delivery" => self.delivery_exists(caller, value, pipeline).await?,
                _ => true,
            };
            if !exists {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn event_exists(
        &self,
        caller: &Caller,
        text: &str,
        pipeline: &Pipeline,
    ) -> Result<bool, ServiceError> {
        let Ok(id) = PublicId::parse_as(text, Noun::Event) else { return Ok(true) };
        let seen = visible_sources(caller, pipeline);
        let stored = self.store.event(EventId(id.key)).await?;
        Ok(stored.is_some_and(|stored| {
            stored.event.received_at == id.created_at
                && seen.is_none_or(|ids| ids.contains(&stored.event.source_id))
        }))
    }

    async fn delivery_exists(
        &self,
        caller: &Caller,
        text: &str,
        pipeline: &Pipeline,
    ) -> Result<bool, ServiceError> {
        let Ok(id) = PublicId::parse_as(text, Noun::Delivery) else { return Ok(true) };
        let seen = visible_destinations(caller, pipeline);
        let row = self.store.delivery(DeliveryId(id.key)).await?;
        Ok(row.is_some_and(|row| {
            row.delivery.accepted_at == id.created_at
                && seen.is_none_or(|ids| ids.contains(&row.delivery.destination_id))
        }))
    }
}
