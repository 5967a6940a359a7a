//! What is set up, as the store keeps it, and the changes that can be made to it.

use crate::domain::auth::Scope;
use crate::domain::clock::Timestamp;
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

/// What a credential is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialSlot {
    /// The token that authorizes requests.
    BearerToken,
    /// What the service shows to an authorization server.
    ClientSecret,
    /// The value of this header of every request; its name in lower case.
    Header(String),
}

/// A destination's credential, as the operator gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Whose.
    pub destination_id: DestinationId,
    /// What it is.
    pub slot: CredentialSlot,
    /// The secret.
    pub secret: SealedSecret,
}

/// What is known of a destination that somebody has to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Whose.
    pub destination_id: DestinationId,
    /// Rises with every change.
    pub number: i64,
    /// When it last became connected: held deliveries have a window from here.
    pub connected_at: Option<Timestamp>,
    /// Where it stands.
    pub state: ConnectionState,
}

/// Where a connection stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// Tokens were granted.
    Connected {
        /// Access and refresh token, sealed as one.
        tokens: SealedSecret,
        /// When the access token ends, where that is known.
        expires_at: Option<Timestamp>,
    },
    /// Deliveries are held until somebody connects it again.
    Lost {
        /// Why.
        fault: String,
    },
}

/// A change of a connection while the service runs: the pipeline's version stays.
#[derive(Clone, Debug)]
pub struct ConnectionChange {
    /// Whose.
    pub destination_id: DestinationId,
    /// The number it must still have; 0 when there must be none.
    pub expected_number: i64,
    /// Where it stands from now on.
    pub state: ConnectionState,
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
    /// What authorizes requests.
    pub credentials: Vec<Credential>,
    /// What was connected.
    pub connections: Vec<Connection>,
}

impl Pipeline {
    /// Leaves only what lies within `scope`: its destinations with what is theirs, and the sources
    /// of these.
    pub fn narrow(&mut self, scope: &Scope) {
        if scope.limits().is_none() {
            return;
        }
        let name = |id| self.sources.iter().find(|it| it.id == id).map_or("", |it| &*it.name);
        self.destinations.retain(|it| scope.covers(name(it.source_id), &it.name));
        self.sources.retain(|it| scope.shows(&it.name));
        let (sources, destinations) = (&self.sources, &self.destinations);
        let shown = |id: SourceId| sources.iter().any(|it| it.id == id);
        let covered = |id: DestinationId| destinations.iter().any(|it| it.id == id);
        self.write_keys.retain(|it| shown(it.source_id));
        self.mappings.retain(|it| covered(it.destination_id));
        self.shared_secrets.retain(|it| covered(it.destination_id));
        self.credentials.retain(|it| covered(it.destination_id));
        self.connections.retain(|it| covered(it.destination_id));
    }

    /// What is known of a destination's connection.
    #[must_use]
    pub fn connection(&self, id: DestinationId) -> Option<&Connection> {
        self.connections.iter().find(|one| one.destination_id == id)
    }

    /// Why a destination's deliveries are held although it is enabled; none when they are not.
    #[must_use]
    pub fn held(&self, destination: &Destination) -> Option<Held<'_>> {
        if !destination.settings.auth.needs_connection() {
            return None;
        }
        match self.connection(destination.id).map(|one| &one.state) {
            None => Some(Held::NeverConnected),
            Some(ConnectionState::Lost { fault }) => Some(Held::Lost(fault)),
            Some(ConnectionState::Connected { .. }) => None,
        }
    }

    /// A destination's credential.
    #[must_use]
    pub fn credential(&self, id: DestinationId, slot: &CredentialSlot) -> Option<&SealedSecret> {
        let mut found = self.credentials.iter();
        found.find(|one| one.destination_id == id && one.slot == *slot).map(|one| &one.secret)
    }
}

/// Why deliveries are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held<'a> {
    /// Nobody has connected the destination yet.
    NeverConnected,
    /// Its connection ended.
    Lost(&'a str),
}

impl std::fmt::Display for Held<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NeverConnected => out.write_str("not connected yet"),
            Self::Lost(why) => write!(out, "not connected any more: {why}"),
        }
    }
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
    /// Gives a destination a credential, in place of any it had in this slot.
    PutCredential {
        /// The source's name.
        source: String,
        /// The destination's name.
        destination: String,
        /// What it is.
        slot: CredentialSlot,
        /// The secret; none takes it away.
        secret: Option<SealedSecret>,
    },
    /// Ends what connection a destination has or is about to get.
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
