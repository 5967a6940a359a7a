//! What is set up, as the store keeps it, and the changes that can be made to it.

use crate::clock::Timestamp;
use crate::domain::destination::{Destination, DestinationSettings};
use crate::domain::id::{DestinationId, SourceId};
use crate::domain::mapping::{Mapping, MappingDefinition};
use crate::domain::source::Source;

/// A write key as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteKey {
    /// The source it lets in to.
    pub source_id: SourceId,
    /// SHA-256 of the key: what a sender's key is looked up by.
    pub digest: [u8; 32],
    /// The key, sealed.
    pub sealed: SealedSecret,
}

/// A secret as the store keeps it: never in clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSecret {
    /// The row's own random id; part of the associated data.
    pub id: [u8; 16],
    /// Which key sealed it.
    pub key_id: String,
    /// Nonce, ciphertext and tag.
    pub sealed: Vec<u8>,
    /// When it was saved.
    pub created_at: Timestamp,
    /// When it stops being used beside its successor; none for the one in force.
    pub retires_at: Option<Timestamp>,
}

/// A destination's shared secret; there are two while one is being rotated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedSecret {
    /// Whose.
    pub destination_id: DestinationId,
    /// The secret.
    pub secret: SealedSecret,
}

/// All that is set up: sources, destinations, mappings and their secrets; removed ones left out.
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
    /// Rises with every change.
    pub version: i64,
    /// Sources by name.
    pub sources: Vec<Source>,
    /// Their write keys.
    pub write_keys: Vec<WriteKey>,
    /// Destinations by source and name.
    pub destinations: Vec<Destination>,
    /// Shared secrets, the one in force first.
    pub shared_secrets: Vec<SharedSecret>,
    /// Mappings by destination and name, each with its current revision.
    pub mappings: Vec<Mapping>,
}

/// One change of the pipeline. Names are the identity; a later change may name what an earlier one
/// made. Removed things are kept for history and free their name.
#[derive(Clone, Debug)]
pub enum PipelineChange {
    /// Makes or changes a source.
    PutSource {
        /// Its name.
        source: String,
        /// Whether it takes events.
        enabled: bool,
    },
    /// Gives a source its write key, in place of any it had.
    PutWriteKey {
        /// The source's name.
        source: String,
        /// SHA-256 of the key.
        digest: [u8; 32],
        /// The key, sealed.
        sealed: SealedSecret,
    },
    /// Removes a source with all below it.
    RemoveSource {
        /// Its name.
        source: String,
    },
    /// Makes or changes a destination. Disabled to enabled sets `resumed_at`.
    PutDestination {
        /// Its source's name.
        source: String,
        /// Its name.
        destination: String,
        /// Whether it takes deliveries.
        enabled: bool,
        /// The rest.
        settings: DestinationSettings,
    },
    /// Gives a destination its shared secret; the one before it stays valid until `retire_at`
    /// (any older one ends at once).
    PutSharedSecret {
        /// The source's name.
        source: String,
        /// The destination's name.
        destination: String,
        /// The secret; none takes it away at once.
        secret: Option<SealedSecret>,
        /// When the one before it ends.
        retire_at: Timestamp,
    },
    /// Removes a destination with its mappings.
    RemoveDestination {
        /// The source's name.
        source: String,
        /// Its name.
        destination: String,
    },
    /// Makes or changes a mapping. A definition that differs from the current one becomes a new
    /// revision. Disabled to enabled sets `resumed_at`.
    PutMapping {
        /// The source's name.
        source: String,
        /// The destination's name.
        destination: String,
        /// Its name.
        mapping: String,
        /// Whether it takes deliveries.
        enabled: bool,
        /// What it says.
        definition: MappingDefinition,
    },
    /// Removes a mapping; its pending deliveries are discarded by [`super::Store::discard_removed`].
    RemoveMapping {
        /// The source's name.
        source: String,
        /// The destination's name.
        destination: String,
        /// Its name.
        mapping: String,
    },
}
