//! A mapping as it is being written: judged as it would be when it is saved, and set up beside nothing
//! but its destination, to be tried. Nothing is saved.

use serde_json::Value;

use super::change::read;
use super::resource::{Found, Target};
use super::{ApplyError, Editor};
use crate::domain::id::{MappingId, RevisionId};
use crate::domain::mapping::{Mapping, MappingDefinition, MappingRevision};
use crate::store::Pipeline;

/// A mapping that is not saved, in a pipeline of its own.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its destination with its secrets, and the mapping.
    pub pipeline: Pipeline,
    /// The mapping's id there: no mapping's that is saved.
    pub id: MappingId,
    /// What it says.
    pub definition: MappingDefinition,
}

impl Editor {
    /// Judges a mapping as it is written.
    ///
    /// # Errors
    /// [`ApplyError`], with each fault; paths start at the mapping.
    pub async fn draft(&self, target: &Target, value: Value) -> Result<Draft, ApplyError> {
        let current = self.store.pipeline().await?;
        let missing = || ApplyError::Missing(target.to_string());
        let above = target.parent().ok_or_else(missing)?;
        let Some(Found::Destination(destination)) = above.find(&current) else {
            return Err(ApplyError::Missing(above.to_string()));
        };
        let (source_id, id) = (destination.source_id, destination.id);
        let written = read(target, value)?;
        let document = self.judged(target, written, target.find(&current), &current).await?;
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
            resumed_at: now,
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
