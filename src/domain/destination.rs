//! Destinations: the settings that their mappings share, and their limits.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::allowed_host::allowed_host_fault;
use super::header_spelling::HeaderSpellings;
use super::id::{DestinationId, SourceId};
use super::outbound_auth::Auth;
use crate::domain::clock::Timestamp;
use crate::domain::service_time::ServiceTime;

/// Settings shared by the mappings of one receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The key.
    pub id: DestinationId,
    /// The source it belongs to.
    pub source_id: SourceId,
    /// The identity: unique within the source.
    pub name: String,
    /// A disabled destination gets no new deliveries and holds its pending ones.
    pub enabled: bool,
    /// When it was last enabled; held deliveries get a fresh window from here.
    pub resumed_at: ServiceTime,
    /// Its settings.
    pub settings: DestinationSettings,
    /// When it was created.
    pub created_at: Timestamp,
}

/// The settings of a destination; [`DestinationSettings::check`] validates them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DestinationSettings {
    /// Timeout of one attempt, connecting included, in milliseconds: 1,000 to 30,000.
    pub timeout_ms: u32,
    /// Window in which a delivery is retried, in milliseconds: a minute to 30 days.
    pub window_ms: u64,
    /// Requests in flight at once: 1 to 1,024. The default, 64, is of each node; another value is of all nodes
    /// together.
    pub max_in_flight: u32,
    /// Rate limit in requests per second, of all nodes together: 1 to 100,000; none: no limit.
    pub rate_per_second: Option<u32>,
    /// Whether one success settles the event's sibling deliveries.
    pub policy: DeliveryPolicy,
    /// How requests are authorized.
    pub auth: Auth,
    /// Hosts that may get the destination's credentials although the event decides on the host: `host`,
    /// `host:port` or `*.domain`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_hosts: Vec<String>,
    /// Whether credentials may be sent over http to other than private hosts.
    #[serde(skip_serializing_if = "is_false")]
    pub allow_http: bool,
    /// The key of `X-Signature`, which carries one signature, while a shared secret is being rotated.
    #[serde(skip_serializing_if = "XSignatureKey::is_current")]
    pub x_signature: XSignatureKey,
    /// What a 410 response does: it says that the receiver is gone for good.
    #[serde(skip_serializing_if = "OnGone::is_dead")]
    pub on_gone: OnGone,
    /// How the names of its secret headers are written, where they have capital letters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secret_header_names: Vec<String>,
}

/// What a 410 response does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnGone {
    /// Its delivery is a dead letter at once, as with any other 4xx.
    #[default]
    Dead,
    /// The mapping is paused, with an alert; its delivery waits with the others.
    Pause,
}

impl OnGone {
    /// Whether it is the default.
    #[must_use]
    pub const fn is_dead(&self) -> bool {
        matches!(self, Self::Dead)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// The key of `X-Signature` while a shared secret is being rotated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum XSignatureKey {
    /// The previous secret, until it retires.
    Previous,
    /// The current secret.
    #[default]
    Current,
}

impl XSignatureKey {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    const fn is_current(&self) -> bool {
        matches!(self, Self::Current)
    }
}

/// The default of `max_in_flight`.
const DEFAULT_IN_FLIGHT: u32 = 64;

impl Default for DestinationSettings {
    fn default() -> Self {
        Self {
            timeout_ms: 5_000,
            window_ms: 4 * 60 * 60 * 1_000,
            max_in_flight: DEFAULT_IN_FLIGHT,
            rate_per_second: None,
            policy: DeliveryPolicy::All,
            auth: Auth::None,
            allowed_hosts: Vec::new(),
            allow_http: false,
            x_signature: XSignatureKey::Current,
            on_gone: OnGone::Dead,
            secret_header_names: Vec::new(),
        }
    }
}

/// The most entries of `allowed_hosts`.
const MAX_ALLOWED_HOSTS: usize = 100;

/// Whether a success settles sibling deliveries: those of the same event and destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryPolicy {
    /// Each delivery is retried independently.
    #[default]
    All,
    /// One success settles its siblings, as in Segment's classic webhooks.
    Any,
}

/// How much longer than the timeout a lease lasts, so that a slow commit does not lose it.
pub const LEASE_MARGIN: Duration = Duration::from_secs(30);

impl DestinationSettings {
    /// The timeout of one attempt.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms as u64)
    }

    /// The window in which a delivery is retried.
    #[must_use]
    pub const fn window(&self) -> Duration {
        Duration::from_millis(self.window_ms)
    }

    /// Whether it has a limit that holds over all nodes.
    #[must_use]
    pub const fn is_limited(&self) -> bool {
        self.rate_per_second.is_some() || self.max_in_flight != DEFAULT_IN_FLIGHT
    }

    /// How the names of its secret headers are written.
    #[must_use]
    pub fn secret_header_spellings(&self) -> HeaderSpellings {
        HeaderSpellings::of(self.secret_header_names.iter().map(String::as_str))
    }

    /// The duration of a lease.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.timeout() + LEASE_MARGIN
    }

    /// The validation errors, as (field, message).
    #[must_use]
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if !(1_000..=30_000).contains(&self.timeout_ms) {
            faults
                .push(("timeout_ms", format!("should be 1000 to 30000, not {}", self.timeout_ms)));
        }
        if !(60_000..=30 * 24 * 3_600_000).contains(&self.window_ms) {
            faults.push((
                "window_ms",
                format!("should be 60000 to 2592000000, not {}", self.window_ms),
            ));
        }
        if !(1..=1_024).contains(&self.max_in_flight) {
            faults.push((
                "max_in_flight",
                format!("should be 1 to 1024, not {}", self.max_in_flight),
            ));
        }
        if let Some(rate) = self.rate_per_second
            && !(1..=100_000).contains(&rate)
        {
            faults.push(("rate_per_second", format!("should be 1 to 100000, not {rate}")));
        }
        if self.allowed_hosts.len() > MAX_ALLOWED_HOSTS {
            faults.push(("allowed_hosts", format!("should be at most {MAX_ALLOWED_HOSTS}")));
        }
        for entry in &self.allowed_hosts {
            if let Some(fault) = allowed_host_fault(entry) {
                faults.push(("allowed_hosts", format!("{entry:?} {fault}")));
            }
        }
        faults
    }
}
