//! What an operator can ask and do, one file per noun, whichever door the operator comes through:
//! `api` says it in JSON. Knows nothing of HTTP; what is refused is refused in full, with each fault.

use std::fmt;
use std::sync::Arc;

use crate::auth::Authenticator;
use crate::domain::auth::{Caller, Forbidden};
use crate::domain::clock::{Clock, Timestamp};
use crate::inspector::Inspectors;
use crate::live::{Feed, LiveEvent};
use crate::outbound_auth::Authorizer;
use crate::pipeline::{ApplyError, Editor, Fault};
use crate::settings::Settings;
use crate::settings::secrets::SecretError;
use crate::store::{Pipeline, Store, StoreError};

pub mod attempts;
pub mod audit;
pub mod connection;
pub mod dead_letters;
pub mod deliveries;
pub mod events;
pub mod explain;
mod filter;
pub mod inspectors;
pub mod jobs;
pub mod live;
mod node;
pub mod parameters;
pub mod preview;
pub mod resources;
pub mod revisions;
pub mod statistics;
pub mod status;
pub mod test_sends;
pub mod tokens;

pub use filter::{Condition, destination_path, mapping_path};
pub use node::{Node, OpenCircuit};

/// All that is asked and done with.
pub struct Service {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who is let in.
    pub authenticator: Arc<Authenticator>,
    /// What changes the pipeline.
    pub editor: Arc<Editor>,
    /// The settings in force.
    pub settings: Settings,
    /// The running node.
    pub node: Arc<dyn Node>,
    /// What connects destinations.
    pub auth: Authorizer,
    /// The address that browsers and senders reach this service by, without a `/` at its end.
    pub base_url: String,
    /// Where authorization servers send browsers back to.
    pub callback_url: String,
    /// Events as they are accepted.
    pub live: Feed<LiveEvent>,
    /// The inspectors, where the settings allow them.
    pub inspectors: Option<Arc<Inspectors>>,
    /// When the process started.
    pub started_at: Timestamp,
}

impl fmt::Debug for Service {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Service").field("started_at", &self.started_at).finish_non_exhaustive()
    }
}

/// Why something was not answered or not done.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// What was given is not right: each fault with its place.
    #[error("{}", in_one_line(.0))]
    Invalid(Vec<Fault>),
    /// An id is none.
    #[error("{0}")]
    Malformed(String),
    /// Whoever asks may not.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// There is no such thing; the words name it.
    #[error("there is no {0}")]
    Missing(String),
    /// It cannot be done as things stand.
    #[error("{0}")]
    Conflict(String),
    /// Too much of it is going on already.
    #[error("{0}")]
    Busy(String),
    /// It has changed since it was read.
    #[error("{0}")]
    Stale(String),
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A secret cannot be sealed or opened.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

impl Service {
    /// What is set up, as far as the caller may see it: what lies outside its limits is not there.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub async fn pipeline(&self, caller: &Caller) -> Result<Pipeline, StoreError> {
        let mut pipeline = self.store.pipeline().await?;
        pipeline.narrow(&caller.scope);
        Ok(pipeline)
    }
}

impl Refusal {
    /// What was given at one place is not right.
    fn at(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![Fault::new(path, message)])
    }
}

impl From<ApplyError> for Refusal {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Invalid(faults) => Self::Invalid(faults),
            ApplyError::Forbidden(error) => Self::Forbidden(error),
            ApplyError::Missing(what) => Self::Missing(what),
            ApplyError::Taken(_) => Self::Conflict(error.to_string()),
            ApplyError::Stale(_) => Self::Stale(error.to_string()),
            ApplyError::Store(error) => Self::Store(error),
            ApplyError::Secret(error) => Self::Secret(error),
        }
    }
}

fn in_one_line(faults: &[Fault]) -> String {
    match faults {
        [fault] => format!("{}: {}", fault.path, fault.message),
        [fault, rest @ ..] => {
            format!("{}: {} (and {} more)", fault.path, fault.message, rest.len())
        }
        [] => "the request is not right".to_owned(),
    }
}
