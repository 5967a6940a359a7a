//! The operations of the product, one file per noun, behind every interface: the admin API, the UI
//! and the command line call the same methods. Knows nothing of HTTP. Validation errors are
//! reported together.

use std::fmt;
use std::sync::Arc;

use crate::auth::Authenticator;
use crate::domain::auth::{Caller, Forbidden};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::inbox::InboxBoard;
use crate::domain::source_limiter::SourceLimiter;
use crate::inspector::Inspectors;
use crate::live::{Feed, LiveEvent, StreamLimit, TooManyStreams};
use crate::maintenance::Retention;
use crate::outbound_auth::Authorizer;
use crate::pipeline::{ApplyError, Editor, FieldError, NotActive};
use crate::settings::Settings;
use crate::settings::secrets::SecretError;
use crate::store::{OperatorStore, Pipeline, StoreError};

pub mod attempt_view;
pub mod attempts;
pub mod audit;
pub mod backfills;
pub mod connection;
pub mod dead_letters;
pub mod deliveries;
pub mod event_view;
pub mod events;
pub mod explain;
pub mod export;
pub mod export_format;
mod filter;
pub mod inboxes;
pub mod inspectors;
pub mod jobs;
pub mod live;
mod named;
mod node;
pub mod page;
pub mod parameters;
pub mod pauses;
pub mod preview;
pub mod pruning;
pub mod resources;
pub mod revisions;
mod scope;
mod search;
mod shared_fields;
pub mod statistics;
pub mod status;
pub mod test_sends;
pub mod tokens;

pub use filter::{Condition, absolute_time, destination_path, mapping_path};
pub use node::{Node, OpenCircuit};

/// The operator's operations, and what they use.
pub struct Service {
    /// The store.
    pub store: Arc<dyn OperatorStore>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Authentication.
    pub authenticator: Arc<Authenticator>,
    /// Changes the pipeline.
    pub editor: Arc<Editor>,
    /// The effective settings.
    pub settings: Settings,
    /// The running node.
    pub node: Arc<dyn Node>,
    /// OAuth connections of destinations.
    pub auth: Authorizer,
    /// The public base URL, without a trailing `/`.
    pub base_url: String,
    /// The OAuth redirect URL.
    pub callback_url: String,
    /// The live feed of accepted events.
    pub live: Feed<LiveEvent>,
    /// What sources may still send.
    pub limiter: Arc<SourceLimiter>,
    /// What waits in inboxes.
    pub inboxes: InboxBoard,
    /// The live streams that are open.
    pub streams: StreamLimit,
    /// Removes what is past its retention.
    pub retention: Retention,
    /// The inspectors; none where the settings disable them.
    pub inspectors: Option<Arc<Inspectors>>,
    /// When the process started.
    pub started_at: Timestamp,
}

impl fmt::Debug for Service {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Service").field("started_at", &self.started_at).finish_non_exhaustive()
    }
}

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The input is invalid: each error with its field.
    #[error("{}", in_one_line(.0))]
    Invalid(Vec<FieldError>),
    /// An id is malformed.
    #[error("{0}")]
    Malformed(String),
    /// The caller's role or scope does not allow it.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The resource does not exist; the text names it.
    #[error("there is no {0}")]
    Missing(String),
    /// The current state does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// As many live streams are open as may be.
    #[error(transparent)]
    TooManyStreams(#[from] TooManyStreams),
    /// The precondition failed: the resource has changed since it was read.
    #[error("{0}")]
    Stale(String),
    /// The change is saved but not in effect yet.
    #[error(transparent)]
    NotActive(#[from] NotActive),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A secret cannot be sealed or opened.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

impl Service {
    /// The pipeline within the caller's scope.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails.
    pub async fn pipeline(&self, caller: &Caller) -> Result<Pipeline, StoreError> {
        let mut pipeline = self.store.pipeline().await?;
        pipeline.narrow(&caller.scope);
        Ok(pipeline)
    }
}

impl ServiceError {
    /// One invalid field.
    fn at(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(path, message)])
    }
}

impl From<ApplyError> for ServiceError {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Invalid(faults) => Self::Invalid(faults),
            ApplyError::Forbidden(error) => Self::Forbidden(error),
            ApplyError::Missing(what) => Self::Missing(what),
            ApplyError::Taken(_) => Self::Conflict(error.to_string()),
            ApplyError::Stale(_) => Self::Stale(error.to_string()),
            ApplyError::NotActive(error) => Self::NotActive(error),
            ApplyError::Store(error) => Self::Store(error),
            ApplyError::Secret(error) => Self::Secret(error),
        }
    }
}

fn in_one_line(faults: &[FieldError]) -> String {
    match faults {
        [fault] => format!("{}: {}", fault.path, fault.message),
        [fault, rest @ ..] => {
            format!("{}: {} (and {} more)", fault.path, fault.message, rest.len())
        }
        [] => "the request is invalid".to_owned(),
    }
}
