//! The state of a destination's OAuth connection as the API returns it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::clock::Timestamp;
use crate::domain::destination::Destination;
use crate::store::{ConnectionState, Pipeline};

/// The state of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConnectionView {
    /// Whether it is connected.
    pub connected: bool,
    /// Its version, incremented by every change, refreshes included.
    pub number: i64,
    /// When it was last connected.
    pub connected_at: Option<String>,
    /// When the access token expires; it is refreshed before.
    pub expires_at: Option<String>,
    /// Why deliveries are held; only while it is not connected.
    pub held: Option<String>,
}

impl ConnectionView {
    /// The connection of a destination; none where its auth needs none.
    #[must_use]
    pub fn of(pipeline: &Pipeline, destination: &Destination) -> Option<Self> {
        if !destination.settings.auth.needs_connection() {
            return None;
        }
        let connection = pipeline.connection(destination.id);
        let expires_at = connection.and_then(|one| match &one.state {
            ConnectionState::Connected { expires_at, .. } => *expires_at,
            ConnectionState::Lost { .. } => None,
        });
        let held = pipeline.held(destination).map(|held| held.to_string());
        Some(Self {
            connected: held.is_none(),
            number: connection.map_or(0, |one| one.number),
            connected_at: connection.and_then(|one| one.connected_at).map(Timestamp::to_iso),
            expires_at: expires_at.map(Timestamp::to_iso),
            held,
        })
    }
}
