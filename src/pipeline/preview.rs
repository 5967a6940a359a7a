//! An unsaved mapping for a preview: validated as on saving, and placed in a pipeline of its own
//! with its destination. Nothing is saved.

use serde_json::Value;

use super::change::{Subject, read};
use super::host_checks::HostChecks;
use super::resource::{Found, Target};
use super::{ApplyError, Editor};
use crate::domain::id::{MappingId, RevisionId};
use crate::domain::mapping::{Mapping, MappingDefinition, MappingRevision};
use crate::store::Pipeline;

/// An unsaved mapping in a pipeline of its own.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The destination with its secrets, and the mapping.
    pub pipeline: Pipeline,
    /// The id of the mapping, which no saved mapping has.
    pub id: MappingId,
    /// Its definition.
    pub definition: MappingDefinition,
}

impl Editor {
    /// Validates an unsaved mapping.
    ///
    /// # Errors
    /// [`ApplyError`], with each error; paths are relative to the mapping.
    pub async fn draft(&self, target: &Target, value: Value) -> Result<Draft, ApplyError> {
        let current = self.store.pipeline().await?;
        let missing = || ApplyError::Missing(target.to_string());
        let above = target.parent().ok_or_else(missing)?;
        let Some(Found::Destination(destination)) = above.find(&current) else {
            return Err(ApplyError::Missing(above.to_string()));
        };
        let (source_id, id) = (destination.source_id, destination.id);
        let written = read(target, value)?;
        let mut hosts = HostChecks::default();
        hosts.know(&current);
        let subject = Subject { target, found: target.find(&current), current: &current };
        let document = self.judged(subject, written, &mut hosts).await?;
        let below = document.sources.iter().flat_map(|it| &it.destinations);
        let mapping = below.flat_map(|it| &it.mappings).next().ok_or_else(missing)?;
        let definition = mapping.definition();
        let mut pipeline = current;
        pipeline.write_keys.clear();
        pipeline.sources.retain(|it| it.id == source_id);
        pipeline.destinations.retain(|it| it.id == id);
        pipeline.shared_secrets.retain(|it| it.destination_id == id);
        pipeline.credentials.retain(|it| it.destination_id == id);
        pipeline.connections.retain(|it| it.destination_id == id);
        let now = self.clock.now();
        let draft = Mapping {
            id: MappingId(0),
            destination_id: id,
            name: mapping.name.clone(),
            enabled: true,
            resumed_at: self.clock.service_now(),
            revision: MappingRevision {
                id: RevisionId(0),
                number: 0,
                definition: definition.clone(),
                created_at: now,
                created_by: String::new(),
            },
            created_at: now,
        };
        let id = draft.id;
        pipeline.mappings = vec![draft];
        Ok(Draft { pipeline, id, definition })
    }
}
