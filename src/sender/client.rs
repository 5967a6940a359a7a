//! The client for all destinations: sends one request within its timeout and classifies how it ended.
//! A failing destination is an outcome, not an `Err`. No redirects, no proxies, no retries of an answer.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};
use rustls::pki_types::CertificateDer;
use tokio::time::Instant;
use url::{Host, Position, Url};

use super::address::{AddressPolicy, UrlRefused};
use super::connection::{NoResponse, Response};
use super::connector::Connector;
use super::encoded_request::EncodedRequest;
use super::exchange::{Exchange, SignedRequest};
use super::failure::{self, Failure};
use super::headers::masked_headers;
use super::phase::Phase;
use super::pool::Pool;
use super::resolver::{GuardedResolver, HostError, Resolve, ResolveError, SystemResolver};
use super::response::{self, ResponseBody};
use super::tls;
use crate::domain::attempt::Outcome;
use crate::domain::clock::Clock;

/// Timeout for resolving a name when a destination is saved.
const SAVE_RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The options of a sender.
pub struct SenderOptions {
    /// The addresses that may be connected to.
    pub policy: AddressPolicy,
    /// Default `User-Agent`.
    pub user_agent: String,
    /// How much of a response's body is recorded, in bytes; at most 64 KiB are read.
    pub response_keep_bytes: usize,
    /// Connections at once, idle ones included.
    pub max_connections: usize,
    /// Trusted root certificates in addition to the platform's.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// The DNS resolver; the system's by default.
    pub resolver: Option<Arc<dyn Resolve>>,
    /// Converts a `Retry-After` date to a delay.
    pub clock: Arc<dyn Clock>,
}

/// A sender could not be created.
#[derive(Debug, thiserror::Error)]
pub enum SenderError {
    /// TLS could not be initialized.
    #[error("TLS could not be initialized: check the extra root certificates")]
    Tls(#[from] rustls::Error),
    /// The system's resolver could not be initialized.
    #[error(
        "the system's resolver could not be initialized: check /etc/resolv.conf and /etc/hosts"
    )]
    Resolver(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The user agent is not a valid header value.
    #[error("the user agent contains characters that a header value cannot contain")]
    UserAgent(#[from] http::header::InvalidHeaderValue),
}

/// Sends requests to destinations. Share one: it owns the connection pool.
pub struct Sender {
    pool: Arc<Pool>,
    connector: Connector,
    user_agent: HeaderValue,
    pub(super) policy: Arc<AddressPolicy>,
    resolver: GuardedResolver,
    clock: Arc<dyn Clock>,
    response_keep_bytes: usize,
}

/// The limits of one exchange.
#[derive(Clone, Copy)]
struct Limits {
    timeout: Duration,
    deadline: Instant,
    multistatus_bytes: usize,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Sender").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl Sender {
    /// Initializes TLS, the resolver and the connection pool; opens no connection.
    ///
    /// # Errors
    /// An invalid extra root certificate, a resolver that cannot be initialized, or an invalid user
    /// agent.
    pub fn new(options: SenderOptions) -> Result<Self, SenderError> {
        let policy = Arc::new(options.policy);
        let resolver = match options.resolver {
            Some(resolver) => resolver,
            None => {
                let system =
                    SystemResolver::new().map_err(|cause| SenderError::Resolver(cause.into()))?;
                Arc::new(system)
            }
        };
        let resolver = GuardedResolver::new(resolver, Arc::clone(&policy));
        let tls = tls::client_config(options.extra_roots)?;
        Ok(Self {
            pool: Arc::new(Pool::new(options.max_connections)),
            connector: Connector::new(resolver.clone(), tls),
            user_agent: HeaderValue::try_from(options.user_agent)?,
            policy,
            resolver,
            clock: options.clock,
            response_keep_bytes: options.response_keep_bytes.min(response::MAX_READ_BYTES),
        })
    }

    /// Checks a destination's URL when it is saved. A name that does not resolve is only a warning,
    /// which is returned.
    ///
    /// # Errors
    /// The URL, or any address that its host resolves to, is refused.
    pub async fn check_destination(&self, url: &Url) -> Result<Option<ResolveError>, UrlRefused> {
        self.policy.check_url_host(url)?;
        let Some(Host::Domain(name)) = url.host() else { return Ok(None) };
        match tokio::time::timeout(SAVE_RESOLVE_TIMEOUT, self.resolver.addresses(name)).await {
            Ok(Ok(_)) => Ok(None),
            Ok(Err(HostError::Refused { refused, .. })) => Err(refused.into()),
            Ok(Err(HostError::Unresolved(unresolved))) => Ok(Some(unresolved)),
            Err(_) => Ok(Some(ResolveError::Timeout(name.to_owned()))),
        }
    }

    /// Sends one request; errors are part of the result.
    pub async fn send(&self, request: SignedRequest) -> Exchange {
        let started = Instant::now();
        let mut exchange = match self.policy.check_url_host(&request.url) {
            Ok(()) => self.exchange(request).await,
            Err(refused) => Exchange::failed(failure::of_url(&refused)),
        };
        exchange.duration = started.elapsed();
        exchange
    }

    async fn exchange(&self, request: SignedRequest) -> Exchange {
        let limits = Limits {
            timeout: request.timeout,
            deadline: Instant::now() + request.timeout,
            multistatus_bytes: request.multistatus_bytes,
        };
        match self.head(request, limits.deadline).await {
            Ok(response) => self.read(response, limits).await,
            Err(failure) => Exchange::failed(failure),
        }
    }

    /// Sends a request whose URL was checked, and waits for the response's head.
    pub(super) async fn head(
        &self,
        request: SignedRequest,
        deadline: Instant,
    ) -> Result<Response, Failure> {
        let mut phase = Phase::Connect;
        // `timeout_at` holds whatever the receiver does: it looks at the time even when the future
        // beside it has used up the task's budget.
        let head = self.send_on_any_connection(&request, &mut phase);
        match tokio::time::timeout_at(deadline, head).await {
            Ok(head) => head,
            Err(_elapsed) => Err(failure::timed_out(request.timeout, phase)),
        }
    }

    /// Sends on a pooled connection, or on a new one. A receiver may close an idle connection at any
    /// moment: when nothing of a response has come on a pooled one, a new connection takes its place.
    async fn send_on_any_connection(
        &self,
        request: &SignedRequest,
        phase: &mut Phase,
    ) -> Result<Response, Failure> {
        let encoded = EncodedRequest::new(request, &self.user_agent)?;
        if let Some(connection) = self.pool.take(&request.url[..Position::BeforePath]) {
            *phase = Phase::Head;
            match connection.send(encoded.clone()).await {
                Ok(response) if response.ends_an_idle_connection() => {}
                Ok(response) => return Ok(response),
                Err(NoResponse { is_unanswered_close: true, .. }) => {}
                Err(NoResponse { failure, is_unanswered_close: false }) => return Err(failure),
            }
        }
        let open = self.pool.count_open();
        let mut connection = self.connector.connect(&request.url, phase).await?;
        connection.open = Some(open);
        *phase = Phase::Head;
        connection.send(encoded).await.map_err(|no_response| no_response.failure)
    }

    /// Returns the connection to the pool if the whole body has been read.
    pub(super) fn reuse(&self, response: Response) {
        if let Some(connection) = response.into_connection() {
            self.pool.put(connection);
        }
    }

    /// Reads the body and judges the response by its status. A fault of the body is noted; it decides
    /// only where the body has each event's status.
    async fn read(&self, mut response: Response, limits: Limits) -> Exchange {
        let status = response.head.status;
        let whole_bytes =
            if status == StatusCode::MULTI_STATUS { limits.multistatus_bytes } else { 0 };
        let mut body = ResponseBody::new(self.response_keep_bytes, whole_bytes);
        let read = tokio::time::timeout_at(limits.deadline, body.read(&mut response)).await;
        let fault = match read {
            Ok(read) => read.err(),
            Err(_elapsed) => Some(failure::timed_out(limits.timeout, Phase::Body)),
        };
        let is_whole = fault.is_none();
        let mut exchange = match fault {
            Some(failure) if whole_bytes > 0 => Exchange::failed(failure),
            Some(failure) => Exchange {
                error: Some(format!("answered {status}; {}", failure.message)),
                ..self.answered(status, &response.head.headers)
            },
            None => self.answered(status, &response.head.headers),
        };
        exchange.status = Some(status.as_u16());
        exchange.response_headers = masked_headers(&response.head.headers, &[]);
        self.reuse(response);
        let read = body.finish();
        (exchange.response_body, exchange.response_truncated) = (read.kept, read.truncated);
        exchange.multistatus = read.whole.filter(|_| is_whole);
        exchange
    }

    fn answered(&self, status: StatusCode, headers: &HeaderMap) -> Exchange {
        let outcome = Outcome::of_status(status.as_u16());
        let retried = matches!(outcome, Outcome::ServerError | Outcome::TryLater);
        Exchange {
            outcome,
            error: describe_status(outcome, status),
            retry_after: if retried {
                response::retry_after(headers, || self.clock.now())
            } else {
                None
            },
            ..Exchange::empty(outcome)
        }
    }
}

fn describe_status(outcome: Outcome, status: StatusCode) -> Option<String> {
    match outcome {
        Outcome::Delivered => None,
        Outcome::Redirect => Some(format!("answered {status}: redirects are not followed")),
        Outcome::BadAnswer => {
            Some(format!("answered {}: not a final HTTP status", status.as_str()))
        }
        Outcome::ServerError
        | Outcome::TryLater
        | Outcome::Rejected
        | Outcome::Timeout
        | Outcome::Dns
        | Outcome::Connect
        | Outcome::Tls
        | Outcome::Reset
        | Outcome::Render
        | Outcome::Address
        | Outcome::Auth
        | Outcome::Unknown
        | Outcome::Function
        | Outcome::FunctionRetry
        | Outcome::FunctionTimeout
        | Outcome::Dropped => Some(format!("answered {status}")),
    }
}
