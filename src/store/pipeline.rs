//! The pipeline at rest: sources, destinations, mappings and their secrets, under one version.

use serde::{Deserialize, Serialize};

use crate::domain::auth::Scope;
use crate::domain::clock::Timestamp;
use crate::domain::destination::Destination;
use crate::domain::id::{DestinationId, MappingId, SourceId};
use crate::domain::mapping::Mapping;
use crate::domain::pause::{Pause, PauseTarget};
use crate::domain::secret::SealedSecret;
use crate::domain::service_time::ServiceTime;
use crate::domain::source::Source;

/// A stored write key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteKey {
    /// The source that it authenticates for.
    pub source_id: SourceId,
    /// SHA-256 of the key, which lookups use.
    pub digest: [u8; 32],
    /// The key, sealed.
    pub sealed: SealedSecret,
}

/// A destination's shared secret; during a rotation there are two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedSecret {
    /// The destination.
    pub destination_id: DestinationId,
    /// The secret.
    pub secret: SealedSecret,
}

/// The use of a credential.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CredentialSlot {
    /// The bearer token of requests.
    BearerToken,
    /// The OAuth client secret.
    ClientSecret,
    /// The value of this request header; the name in lower case.
    Header(String),
    /// The value of this query parameter.
    Parameter(String),
}

/// A destination's credential, as entered by an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The destination.
    pub destination_id: DestinationId,
    /// Its use.
    pub slot: CredentialSlot,
    /// The secret.
    pub secret: SealedSecret,
}

/// The OAuth connection of a destination (authorization code grant).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The destination.
    pub destination_id: DestinationId,
    /// Incremented by every change.
    pub number: i64,
    /// When it last became connected.
    pub connected_at: Option<Timestamp>,
    /// Its state.
    pub state: ConnectionState,
}

/// The state of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// Tokens were granted.
    Connected {
        /// Access and refresh token, sealed as one.
        tokens: SealedSecret,
        /// When the access token ends, where that is known.
        expires_at: Option<Timestamp>,
    },
    /// The grant ended: deliveries are held until an operator connects it again.
    Lost {
        /// Why.
        fault: String,
    },
}

/// Whose turn it is to refresh the tokens of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshTurn {
    /// This node's: no other refreshes the same tokens.
    Mine,
    /// Another node is refreshing them.
    Others,
    /// The connection has other tokens by now.
    Replaced,
}

/// A change of a connection's state; the pipeline's version stays.
#[derive(Clone, Debug)]
pub struct ConnectionChange {
    /// The destination.
    pub destination_id: DestinationId,
    /// The number it must still have; 0: there is none yet.
    pub expected_number: i64,
    /// The new state.
    pub state: ConnectionState,
}

/// Until when a mapping's receiver asked for no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiverWait {
    /// The mapping.
    pub mapping_id: MappingId,
    /// Until when.
    pub until: ServiceTime,
}

/// Sources, destinations, mappings and their secrets; removed ones are omitted.
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
    /// Incremented by every change.
    pub version: i64,
    /// Sources, sorted by name.
    pub sources: Vec<Source>,
    /// Their write keys.
    pub write_keys: Vec<WriteKey>,
    /// Destinations, sorted by source and name.
    pub destinations: Vec<Destination>,
    /// Shared secrets, the current one first.
    pub shared_secrets: Vec<SharedSecret>,
    /// Mappings, sorted by destination and name, each with its current revision.
    pub mappings: Vec<Mapping>,
    /// Credentials.
    pub credentials: Vec<Credential>,
    /// Connections.
    pub connections: Vec<Connection>,
    /// Pauses, those that have ended included.
    pub pauses: Vec<Pause>,
    /// What receivers asked to wait for, past waits included.
    pub receiver_waits: Vec<ReceiverWait>,
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
        let mappings = &self.mappings;
        let has = |id: MappingId| mappings.iter().any(|it| it.id == id);
        self.pauses.retain(|it| match it.target {
            PauseTarget::Destination(id) => covered(id),
            PauseTarget::Mapping(id) => has(id),
        });
        self.receiver_waits.retain(|it| has(it.mapping_id));
    }

    /// The pause of a destination or a mapping that has not ended.
    #[must_use]
    pub fn pause(&self, target: PauseTarget) -> Option<&Pause> {
        self.pauses.iter().find(|it| it.target == target && it.is_paused())
    }

    /// The pause that holds a mapping's deliveries: its own, or its destination's.
    #[must_use]
    pub fn pause_of(&self, mapping: &Mapping) -> Option<&Pause> {
        self.pause(PauseTarget::Mapping(mapping.id))
            .or_else(|| self.pause(PauseTarget::Destination(mapping.destination_id)))
    }

    /// A destination's connection.
    #[must_use]
    pub fn connection(&self, id: DestinationId) -> Option<&Connection> {
        self.connections.iter().find(|one| one.destination_id == id)
    }

    /// Why an enabled destination's deliveries are held; none when they are not.
    #[must_use]
    pub fn held(&self, destination: &Destination) -> Option<HoldReason<'_>> {
        if !destination.settings.auth.needs_connection() {
            return None;
        }
        match self.connection(destination.id).map(|one| &one.state) {
            None => Some(HoldReason::NeverConnected),
            Some(ConnectionState::Lost { fault }) => Some(HoldReason::Lost(fault)),
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

/// Why an enabled destination's deliveries are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldReason<'a> {
    /// It was never connected.
    NeverConnected,
    /// Its connection ended.
    Lost(&'a str),
}

impl std::fmt::Display for HoldReason<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NeverConnected => out.write_str("not connected yet"),
            Self::Lost(why) => write!(out, "not connected any more: {why}"),
        }
    }
}
