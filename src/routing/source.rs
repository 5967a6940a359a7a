//! A source of a snapshot: its destinations, and the mappings that its events are routed to, indexed by their
//! triggers.

use std::sync::Arc;

use super::route::{DestinationRoute, MappingRoute};
use crate::domain::id::SourceId;
use crate::domain::source::SourceLimits;
use crate::json::Value;
use crate::trigger::TriggerIndex;

/// A source with its destinations.
#[derive(Debug)]
pub struct SourceRoute {
    /// The key.
    pub id: SourceId,
    /// The identity.
    pub name: String,
    /// A disabled source rejects events.
    pub enabled: bool,
    /// What it may send.
    pub limits: SourceLimits,
    /// Its destinations.
    pub destinations: Vec<Arc<DestinationRoute>>,
    /// The enabled mappings of enabled destinations.
    mappings: Vec<(Arc<DestinationRoute>, Arc<MappingRoute>)>,
    /// Their triggers.
    triggers: TriggerIndex,
}

impl SourceRoute {
    pub(super) fn new(
        id: SourceId,
        name: String,
        enabled: bool,
        limits: SourceLimits,
        destinations: Vec<Arc<DestinationRoute>>,
    ) -> Self {
        let mappings: Vec<_> = destinations
            .iter()
            .filter(|destination| destination.enabled)
            .flat_map(|destination| {
                let enabled = destination.mappings.iter().filter(|mapping| mapping.enabled);
                enabled.map(|mapping| (Arc::clone(destination), Arc::clone(mapping)))
            })
            .collect();
        let triggers = TriggerIndex::of(mappings.iter().map(|(_, it)| it.compiled.trigger()));
        Self { id, name, enabled, limits, destinations, mappings, triggers }
    }

    /// The source, with one of its destinations only and without limits.
    #[must_use]
    pub fn with_only(&self, destination: &Arc<DestinationRoute>) -> Self {
        let destinations = vec![Arc::clone(destination)];
        let limits = SourceLimits::default();
        Self::new(self.id, self.name.clone(), self.enabled, limits, destinations)
    }

    /// The mappings whose triggers match an event's document, with their destinations, both enabled. In the order
    /// of the destinations.
    pub fn matching(
        &self,
        document: &Value<'_>,
    ) -> impl Iterator<Item = (&Arc<DestinationRoute>, &Arc<MappingRoute>)> {
        let candidates = self.triggers.candidates(document).into_iter();
        candidates.filter_map(|number| {
            let (destination, mapping) = self.mappings.get(number)?;
            mapping.matches(document).then_some((destination, mapping))
        })
    }
}
