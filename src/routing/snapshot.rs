//! The snapshot of routes, with lookups by write key, name and id.

use std::collections::HashMap;
use std::sync::Arc;

use super::route::MappingRoute;
use super::source::SourceRoute;
use crate::domain::digest::sha256;
use crate::domain::id::{MappingId, SourceId};
use crate::domain::service_time::ServiceTime;

/// The snapshot.
#[derive(Debug, Default)]
pub struct Routes {
    /// The pipeline's version that it was built from.
    pub version: i64,
    /// When the next shared secret in rotation retires; the snapshot is rebuilt then.
    pub secret_retires_at: Option<ServiceTime>,
    pub(super) sources_by_key: HashMap<[u8; 32], Arc<SourceRoute>>,
    pub(super) sources: HashMap<SourceId, Arc<SourceRoute>>,
    pub(super) mappings: HashMap<MappingId, Arc<MappingRoute>>,
}

impl Routes {
    /// The source of this name.
    #[must_use]
    pub fn source_named(&self, name: &str) -> Option<&Arc<SourceRoute>> {
        self.sources.values().find(|source| source.name == name)
    }

    /// A source.
    #[must_use]
    pub fn source(&self, id: SourceId) -> Option<&Arc<SourceRoute>> {
        self.sources.get(&id)
    }

    /// The source that a write key authenticates.
    #[must_use]
    pub fn source_by_write_key(&self, key: &str) -> Option<&Arc<SourceRoute>> {
        self.sources_by_key.get(&sha256(&[key.as_bytes()]))
    }

    /// A mapping.
    #[must_use]
    pub fn mapping(&self, id: MappingId) -> Option<&Arc<MappingRoute>> {
        self.mappings.get(&id)
    }

    /// Every mapping.
    pub fn mappings(&self) -> impl Iterator<Item = &Arc<MappingRoute>> {
        self.mappings.values()
    }
}
