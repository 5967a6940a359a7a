//! The routes of a snapshot: destinations, and their mappings with all that an attempt needs.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use secrecy::SecretString;

use crate::domain::destination::{DestinationSettings, LEASE_MARGIN};
use crate::domain::id::{DestinationId, MappingId, RevisionId};
use crate::domain::integrations::Integrations;
use crate::domain::mapping::Batching;
use crate::domain::outbound_auth::Auth;
use crate::domain::pause::{Drain, PauseCause};
use crate::domain::profile::Profile;
use crate::domain::service_time::ServiceTime;
use crate::functions::Function;
use crate::json::Value;
use crate::mapping::CompiledMapping;
use crate::sender::Signer;

/// A destination with its mappings.
#[derive(Debug)]
pub struct DestinationRoute {
    /// The key.
    pub id: DestinationId,
    /// The identity within its source; the key in an event's `integrations`.
    pub name: String,
    /// A disabled destination gets no deliveries.
    pub enabled: bool,
    /// Its settings.
    pub settings: DestinationSettings,
    /// Its mappings.
    pub mappings: Vec<Arc<MappingRoute>>,
}

/// A mapping with all that an attempt needs.
#[derive(Debug)]
pub struct MappingRoute {
    /// The key.
    pub id: MappingId,
    /// `source/destination/mapping`, for logs.
    pub name: String,
    /// Whether it and its destination are enabled; otherwise its deliveries are held.
    pub enabled: bool,
    /// Whether its destination is not connected yet or this version cannot compile it: its deliveries are held,
    /// new ones too.
    pub held: bool,
    /// Why it or its destination is paused; none when neither is. Its deliveries are held, new ones too.
    pub paused: Option<PauseCause>,
    /// Why this version cannot compile it.
    pub fault: Option<String>,
    /// How what its pause held drains.
    pub drain: Option<Drain>,
    /// How what its destination's pause held drains.
    pub destination_drain: Option<Drain>,
    /// Until when its receiver asked for no request, as stored.
    pub wait_until: Option<ServiceTime>,
    /// When it or its destination was last enabled, connected or resumed; held deliveries get a fresh window from
    /// here.
    pub resumed_at: ServiceTime,
    /// The current revision.
    pub revision_id: RevisionId,
    /// Its destination.
    pub destination_id: DestinationId,
    /// Its destination's settings.
    pub settings: DestinationSettings,
    /// Batching of events into requests; none: one request per event.
    pub batching: Option<Batching>,
    /// Signs with its destination's shared secrets.
    pub signer: Arc<Signer>,
    /// Its destination's active shared secrets, to verify signatures with.
    pub shared_secrets: Arc<[SecretString]>,
    /// The insert function that events pass before they are rendered.
    pub function: Option<Function>,
    /// Its destination's secret headers, marked as sensitive.
    pub secret_headers: Arc<[(HeaderName, HeaderValue)]>,
    /// Its destination's secret query parameters.
    pub secret_parameters: Arc<[(String, SecretString)]>,
    /// Whose rules its requests follow.
    pub profile: Profile,
    pub(super) compiled: CompiledMapping,
}

impl MappingRoute {
    /// Whether the trigger matches an event's document.
    #[must_use]
    pub fn matches(&self, document: &Value<'_>) -> bool {
        self.compiled.matches(document)
    }

    /// Whether an event is routed to it by the rules of acceptance: its trigger, and the event's
    /// `integrations`.
    #[must_use]
    pub fn routes(&self, document: &Value<'_>) -> bool {
        self.matches(document) && !self.is_excluded(&Integrations::of(document))
    }

    /// Whether an event's `integrations` exclude it.
    #[must_use]
    pub fn is_excluded(&self, integrations: &Integrations<'_, '_>) -> bool {
        let destination = self.name.split('/').nth(1).unwrap_or_default();
        integrations.excluding(destination, self.profile).is_some()
    }

    /// Whether its deliveries are sent; otherwise they are held.
    #[must_use]
    pub const fn delivers(&self) -> bool {
        self.enabled && !self.held && self.paused.is_none()
    }

    /// The compiled definition, which renders requests.
    #[must_use]
    pub const fn compiled(&self) -> &CompiledMapping {
        &self.compiled
    }

    /// Whether its requests carry credentials of the destination.
    #[must_use]
    pub fn has_credentials(&self) -> bool {
        self.settings.auth != Auth::None
            || !self.secret_headers.is_empty()
            || !self.secret_parameters.is_empty()
    }

    /// The duration of a lease of its deliveries: the attempt's, and the linger time of a batch.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.timeout() + LEASE_MARGIN + self.batching.map_or(Duration::ZERO, |it| it.linger())
    }

    /// The timeout of one attempt: the destination's, and at least that of the mapping's profile.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.settings.timeout().max(self.compiled.rules().timeout())
    }

    /// Earlier deadlines are from before it was last resumed; this one replaces them.
    #[must_use]
    pub fn resumed_deadline_at(&self) -> ServiceTime {
        self.resumed_at + self.settings.window()
    }
}
