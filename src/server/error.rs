//! Why the service does not start, or ends before it is stopped.

use super::listener::ListenError;
use crate::sender::{ApiClientError, SenderError};
use crate::settings::secrets::SecretError;
use crate::store::{OpenError, StoreError};

/// Why the service does not start, or ends before it is stopped.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The listen address cannot be bound.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A query failed during startup.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key, a token or a secret cannot be read or created.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The HTTP client cannot be set up.
    #[error(transparent)]
    Sender(#[from] SenderError),
    /// `user_agent` is not a header value.
    #[error("user_agent {value:?} is not a header value: it should be printable ASCII")]
    UserAgent {
        /// The setting.
        value: String,
        /// The cause.
        #[source]
        source: http::header::InvalidHeaderValue,
    },
    /// The span exporter cannot be set up.
    #[error("spans cannot be exported to otlp_endpoint")]
    Spans(#[from] ApiClientError),
    /// The delivery threads do not start.
    #[error("the delivery threads do not start")]
    Threads(#[source] std::io::Error),
    /// The maintenance scheduler does not start.
    #[error("the maintenance scheduler does not start")]
    Schedule(#[from] tokio_cron_scheduler::JobSchedulerError),
    /// The system's random number generator fails.
    #[error("the system's random number generator fails: {0}")]
    Randomness(getrandom::Error),
    /// A task that the service cannot do without has failed.
    #[error("{cause}; the process ends, a restart recovers")]
    Task {
        /// Its name and how it failed.
        cause: String,
    },
    /// The database failed; only a restart recovers it.
    #[error("the database failed and the process ends; a restart recovers: {cause}")]
    Fatal {
        /// The failure.
        cause: String,
    },
}
