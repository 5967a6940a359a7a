//! Changes of the pipeline, as one commit applies them.

use serde::{Deserialize, Serialize};

use super::pipeline::CredentialSlot;
use crate::domain::destination::DestinationSettings;
use crate::domain::mapping::MappingDefinition;
use crate::domain::secret::SealedSecret;
use crate::domain::service_time::ServiceTime;

/// One change of the pipeline. Names identify; a later change may refer to what an earlier one of the
/// same commit created. Removed rows are kept for history and free their name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum PipelineChange {
    /// Creates or changes a source.
    PutSource {
        /// Its name.
        source: String,
        /// Whether it accepts events.
        enabled: bool,
    },
    /// Renames a source. Renames come first in a change, with the names as they were before it.
    RenameSource {
        /// Its name.
        source: String,
        /// Its new name.
        to: String,
    },
    /// Renames a destination.
    RenameDestination {
        /// Its source's name.
        source: String,
        /// Its name.
        destination: String,
        /// Its new name.
        to: String,
    },
    /// Renames a mapping.
    RenameMapping {
        /// The source's name.
        source: String,
        /// The destination's name.
        destination: String,
        /// Its name.
        mapping: String,
        /// Its new name.
        to: String,
    },
    /// Sets a source's write key, in place of any before. A source that has this key loses it: keys
    /// move between sources, in any order of the changes.
    PutWriteKey {
        /// The source's name.
        source: String,
        /// SHA-256 of the key.
        digest: [u8; 32],
        /// The key, sealed.
        sealed: SealedSecret,
    },
    /// Removes a source with its destinations and mappings.
    RemoveSource {
        /// Its name.
        source: String,
    },
    /// Creates or changes a destination. Enabling sets `resumed_at`.
    PutDestination {
        /// Its source's name.
        source: String,
        /// Its name.
        destination: String,
        /// Whether deliveries are routed to it.
        enabled: bool,
        /// Its settings.
        settings: DestinationSettings,
    },
    /// Sets a destination's shared secret; the one before stays valid until `retire_at` (older ones
    /// end at once).
    PutSharedSecret {
        /// The source's name.
        source: String,
        /// The destination's name.
        destination: String,
        /// The secret; none removes it at once.
        secret: Option<SealedSecret>,
        /// When the one before ends.
        retire_at: ServiceTime,
    },
    /// Sets a destination's credential, in place of any in this slot.
    PutCredential {
        /// The source's name.
        source: String,
        /// The destination's name.
        destination: String,
        /// Its use.
        slot: CredentialSlot,
        /// The secret; none removes it.
        secret: Option<SealedSecret>,
    },
    /// Ends a destination's connection, and a pending authorization.
    Disconnect {
        /// The source's name.
        source: String,
        /// The destination's name.
        destination: String,
        /// Why.
        fault: String,
    },
    /// Removes a destination with its mappings.
    RemoveDestination {
        /// The source's name.
        source: String,
        /// Its name.
        destination: String,
    },
    /// Creates or changes a mapping. A definition that differs from the current one becomes a new
    /// revision. Enabling sets `resumed_at`.
    PutMapping {
        /// The source's name.
        source: String,
        /// The destination's name.
        destination: String,
        /// Its name.
        mapping: String,
        /// Whether deliveries are routed to it.
        enabled: bool,
        /// Its definition.
        definition: MappingDefinition,
    },
    /// Removes a mapping; its pending deliveries become dead letters by
    /// [`super::Maintenance::end_removed`].
    RemoveMapping {
        /// The source's name.
        source: String,
        /// The destination's name.
        destination: String,
        /// Its name.
        mapping: String,
    },
}
