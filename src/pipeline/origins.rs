//! Checks that a destination's credentials go only where an operator wrote that they go.

use super::document::{Document, MappingDocument};
use super::field_error::FieldError;
use super::plan::{DestinationPair, Planner, Unlisted};
use crate::domain::destination::DestinationSettings;
use crate::mapping::CompiledMapping;

impl Planner<'_> {
    /// Adds an error for each mapping whose requests would be refused, stored ones included.
    pub(super) fn check_origins(
        &mut self,
        pair: DestinationPair<'_>,
        settings: &DestinationSettings,
    ) {
        if !self.has_credentials(pair) {
            return;
        }
        for (index, mapping) in pair.desired.mappings.iter().enumerate() {
            if let Some(message) = origin_fault(mapping, settings) {
                let field = format!("mappings[{index}].url");
                let path = self.field_path(pair.source, pair.desired, &field);
                self.plan.missing.push(FieldError::new(path, message));
            }
        }
        if self.context.unlisted == Unlisted::Remove || !pair.desired.mappings.is_empty() {
            return;
        }
        let stored = self.context.current.mappings.iter();
        let stored = stored.filter(|it| pair.current.is_some_and(|of| of.id == it.destination_id));
        for mapping in stored {
            if let Some(message) = origin_fault(&MappingDocument::of(mapping), settings) {
                let field = format!("mappings.{}.url", mapping.name);
                let path = self.field_path(pair.source, pair.desired, &field);
                self.plan.missing.push(FieldError::new(path, message));
            }
        }
    }
}

/// An error for each mapping of a document whose requests would be refused.
pub(super) fn origin_faults(document: &Document) -> Vec<FieldError> {
    let mut faults = Vec::new();
    for (at, source) in document.sources.iter().enumerate() {
        for (below, destination) in source.destinations.iter().enumerate() {
            if !destination.gives_credentials() {
                continue;
            }
            let settings = destination.settings();
            for (index, mapping) in destination.mappings.iter().enumerate() {
                let path = format!("sources[{at}].destinations[{below}].mappings[{index}].url");
                let fault = origin_fault(mapping, &settings);
                faults.extend(fault.map(|message| FieldError::new(path, message)));
            }
        }
    }
    faults
}

/// Why no request of a mapping may carry credentials.
fn origin_fault(mapping: &MappingDocument, settings: &DestinationSettings) -> Option<String> {
    // Other faults of a mapping are found by its own check.
    let compiled = CompiledMapping::compile(&mapping.definition()).ok()?;
    let Some(origins) = compiled.literal_origins() else {
        let message = "a value of the event decides on the host that gets the destination's \
                       credentials: write the host in the URL, or list it in the destination's \
                       allowed_hosts";
        return settings.allowed_hosts.is_empty().then(|| message.to_owned());
    };
    let mut refused = origins.iter().filter_map(|url| settings.admits_credentials(url, true).err());
    refused.next().map(|refused| refused.to_string())
}
