//! The state that handlers share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::assets::Assets;
use super::sessions::Sessions;
use crate::domain::clock::Timestamp;
use crate::domain::service_time::ServiceTime;
use crate::service::Service;
use crate::settings::Origin;

/// What the UI is built from.
pub struct WebParts {
    /// The operations that pages call.
    pub service: Arc<Service>,
    /// The origin of each setting, by its name.
    pub origins: BTreeMap<&'static str, Origin>,
}

/// The state of the UI.
pub struct Web {
    pub(super) service: Arc<Service>,
    pub(super) origins: BTreeMap<&'static str, Origin>,
    pub(super) assets: Arc<Assets>,
    pub(super) sessions: Sessions,
    /// Requests that ended in an internal error.
    internal_errors: AtomicU64,
}

impl std::fmt::Debug for Web {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Web").finish_non_exhaustive()
    }
}

impl Web {
    /// The UI of a service.
    #[must_use]
    pub fn new(parts: WebParts) -> Self {
        Self {
            service: parts.service,
            origins: parts.origins,
            assets: Arc::new(Assets::new()),
            sessions: Sessions::default(),
            internal_errors: AtomicU64::new(0),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.service.clock.now()
    }

    /// The service time.
    pub(super) fn service_now(&self) -> ServiceTime {
        self.service.clock.service_now()
    }

    /// Whether `public_url` is https: cookies are then marked `Secure`.
    pub(super) fn is_secure(&self) -> bool {
        let url = self.service.settings.public_url.as_deref();
        url.is_some_and(|url| url.starts_with("https://"))
    }

    /// An id that the error page and the log line of one internal error share.
    pub(super) fn next_request_id(&self) -> String {
        let number = self.internal_errors.fetch_add(1, Ordering::Relaxed);
        format!("{:x}-{number}", self.service.started_at.as_seconds())
    }
}
