//! What was refused: each refusal is counted, and logged by rate.

use std::net::IpAddr;
use std::sync::Arc;

use super::log_rate::{LogRate, brief};
use super::metrics::{Credential, Metrics, RefusalReason};

/// Why a connection or request was refused before a handler saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionRefusal {
    /// It is not HTTP/1.1, TLS for example.
    NotHttp,
    /// The head is larger than its limit.
    HeadTooLarge,
    /// The head came too slowly.
    HeadTimeout,
    /// The client reads nothing.
    Stalled,
    /// There are too many connections, or too many of this peer.
    TooManyConnections,
    /// The `Host` is none of this service's names.
    Host,
}

impl ConnectionRefusal {
    /// The name in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotHttp => "not_http",
            Self::HeadTooLarge => "head_too_large",
            Self::HeadTimeout => "head_timeout",
            Self::Stalled => "stalled",
            Self::TooManyConnections => "too_many_connections",
            Self::Host => "host",
        }
    }

    const fn describe(self) -> &'static str {
        match self {
            Self::NotHttp => "not HTTP/1.1; TLS needs a proxy that ends it",
            Self::HeadTooLarge => "the request's head is too large",
            Self::HeadTimeout => "the request's head came too slowly",
            Self::Stalled => "the client reads nothing",
            Self::TooManyConnections => {
                "max_connections are open, or three quarters of them from one address"
            }
            Self::Host => "the Host is not public_url's and not in trusted_hosts",
        }
    }
}

/// A credential that was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedCredential {
    /// A token, in the admin API.
    Token,
    /// A token, at the sign-in of the UI.
    SignIn,
    /// A write key.
    WriteKey,
}

impl FailedCredential {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::SignIn => "sign_in",
            Self::WriteKey => "write_key",
        }
    }
}

/// Counts and logs refusals; cheap to clone.
#[derive(Clone, Debug)]
pub struct Refusals {
    metrics: Arc<Metrics>,
    log: Arc<LogRate>,
}

impl Refusals {
    /// Refusals that are counted in these metrics and logged at this rate.
    #[must_use]
    pub const fn new(metrics: Arc<Metrics>, log: Arc<LogRate>) -> Self {
        Self { metrics, log }
    }

    /// Whether a refusal of this kind is to be logged; otherwise it is counted for the summary.
    #[must_use]
    pub fn is_first(&self, kind: &'static str) -> bool {
        self.log.is_first(kind)
    }

    /// Notes a connection or request that was refused.
    pub fn connection(&self, refusal: ConnectionRefusal, from: Option<IpAddr>, detail: &str) {
        let reason = refusal.as_str();
        self.metrics.connections_refused.get_or_create(&RefusalReason { reason }).inc();
        if self.is_first(reason) {
            let (from, detail) = (from.map(tracing::field::display), brief(detail));
            tracing::warn!(reason, from, detail, "connection refused: {}", refusal.describe());
        }
    }

    /// Notes a credential that was not accepted; its value is in no log.
    pub fn credential(&self, failed: FailedCredential, from: Option<IpAddr>, why: &str) {
        let credential = failed.as_str();
        self.metrics.authentication_failures.get_or_create(&Credential { credential }).inc();
        if self.is_first(credential) {
            let from = from.map(tracing::field::display);
            tracing::warn!(credential, from, why, "authentication failed");
        }
    }
}
