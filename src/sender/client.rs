//! The client for all destinations: sends one request within its timeout and classifies how it ended.
//! A failing destination is an outcome, not an `Err`. No redirects, no proxies, no retries.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::Full;
use rustls::pki_types::CertificateDer;
use tokio::time::Sleep;
use url::{Host, Position, Url};

use super::address::{AddressPolicy, UrlRefused};
use super::connection::{Connection, NoResponse, Response};
use super::connector::Connector;
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

/// Framing headers: set by the client only, so that none contradicts the bytes (request smuggling).
const FRAMING: [HeaderName; 4] = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION];
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
            pool: Arc::default(),
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
        let (timeout, multistatus_bytes) = (request.timeout, request.multistatus_bytes);
        let sleep = tokio::time::sleep(timeout);
        tokio::pin!(sleep);
        match self.head(request, sleep.as_mut()).await {
            Ok(response) => self.read(response, sleep, timeout, multistatus_bytes).await,
            Err(failure) => Exchange::failed(failure),
        }
    }

    /// Sends a request whose URL was checked, and waits for the response's head.
    pub(super) async fn head(
        &self,
        request: SignedRequest,
        sleep: std::pin::Pin<&mut Sleep>,
    ) -> Result<Response, Failure> {
        let timeout = request.timeout;
        let mut phase = Phase::Connect;
        tokio::select! {
            biased;
            head = self.send_on_any_connection(request, &mut phase) => head,
            () = sleep => Err(failure::timed_out(timeout, phase)),
        }
    }

    /// Sends on a pooled connection, or on a new one.
    async fn send_on_any_connection(
        &self,
        outgoing: SignedRequest,
        phase: &mut Phase,
    ) -> Result<Response, Failure> {
        let SignedRequest { method, url, headers, body, .. } = outgoing;
        let mut request = self.to_http(method, &url, headers, body)?;
        while let Some(connection) = self.pool.take(&url[..Position::BeforePath]) {
            match send_on(connection, request, phase).await {
                // The pooled connection was closed before a byte was written: try the next one.
                Err(NoResponse::Unsent(unsent)) => request = *unsent,
                Err(NoResponse::Broken(failure)) => return Err(failure),
                Ok(response) => return Ok(response),
            }
        }
        let connection = self.connector.connect(&url, phase).await?;
        send_on(connection, request, phase).await.map_err(|no_response| match no_response {
            NoResponse::Unsent(_) => failure::closed(),
            NoResponse::Broken(failure) => failure,
        })
    }

    /// Builds the HTTP request with its framing headers.
    fn to_http(
        &self,
        method: Method,
        url: &Url,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<http::Request<Full<Bytes>>, Failure> {
        let target = &url[Position::BeforePath..Position::AfterQuery];
        let host = &url[Position::BeforeHost..Position::AfterPort];
        for name in &FRAMING {
            headers.remove(name);
        }
        let host = HeaderValue::from_str(host).map_err(|cause| failure::of_target(&cause))?;
        headers.insert(HOST, host);
        headers.entry(USER_AGENT).or_insert_with(|| self.user_agent.clone());
        let mut request = http::Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = target.parse().map_err(|cause| failure::of_target(&cause))?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// Returns the connection to the pool if the whole body has been read.
    pub(super) fn reuse(&self, response: Response) {
        if let Some(connection) = response.into_connection() {
            self.pool.put(connection);
        }
    }

    async fn read(
        &self,
        mut response: Response,
        sleep: std::pin::Pin<&mut Sleep>,
        timeout: Duration,
        multistatus_bytes: usize,
    ) -> Exchange {
        let status = response.head.status;
        let whole_bytes = if status == StatusCode::MULTI_STATUS { multistatus_bytes } else { 0 };
        let mut body = ResponseBody::new(self.response_keep_bytes, whole_bytes);
        let failure = tokio::select! {
            biased;
            read = body.read(&mut response) => read.err(),
            () = sleep => Some(failure::timed_out(timeout, Phase::Body)),
        };
        let mut exchange = match failure {
            Some(failure) => Exchange::failed(failure),
            None => self.answered(status, &response.head.headers),
        };
        exchange.status = Some(status.as_u16());
        exchange.response_headers = masked_headers(&response.head.headers, &[]);
        self.reuse(response);
        let read = body.finish();
        (exchange.response_body, exchange.response_truncated) = (read.kept, read.truncated);
        exchange.multistatus = read.whole;
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

/// Sends a request on this connection.
async fn send_on(
    connection: Box<Connection>,
    request: http::Request<Full<Bytes>>,
    phase: &mut Phase,
) -> Result<Response, NoResponse> {
    *phase = Phase::Head;
    connection.send(request).await
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
