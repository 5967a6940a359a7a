//! One client for every destination: sends one request within its time and says how it ended.
//! A destination that fails is an outcome, never an error. Nothing is followed, proxied or retried.

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
use super::answer::{self, AnswerBody};
use super::connect::Connector;
use super::connection::{Answer, Connection, NoAnswer};
use super::fault::{self, Fault};
use super::headers::masked_headers;
use super::phase::Phase;
use super::pool::Pool;
use super::resolve::{GuardedResolver, HostFault, Resolve, ResolveError, SystemResolver};
use super::tls;
use crate::domain::attempt::Outcome;
use crate::domain::clock::Clock;

/// Headers that frame a request: always the client's own, so that none can contradict the bytes.
const FRAMING: [HeaderName; 4] = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION];
/// How long a name may take to resolve when a destination is saved.
const SAVE_RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a sender is made of.
pub struct SenderOptions {
    /// Which addresses may be delivered to.
    pub policy: AddressPolicy,
    /// `User-Agent` of requests that do not bring their own.
    pub user_agent: String,
    /// How much of an answer's body is kept, in bytes; at most 64 KiB are read.
    pub response_keep_bytes: usize,
    /// Certificates trusted beside the platform's.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// Resolves names; none: the system's resolver.
    pub resolver: Option<Arc<dyn Resolve>>,
    /// The time that a `Retry-After` date is compared with.
    pub clock: Arc<dyn Clock>,
}

/// A sender could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SenderError {
    /// TLS could not be set up.
    #[error("TLS could not be set up: check the certificates given as extra roots")]
    Tls(#[from] rustls::Error),
    /// The system's resolver could not be set up.
    #[error("the system's resolver could not be set up: check /etc/resolv.conf and /etc/hosts")]
    Resolver(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The user agent cannot stand in a header.
    #[error("the user agent holds characters that a header cannot carry")]
    UserAgent(#[from] http::header::InvalidHeaderValue),
}

/// One request, ready to go: its headers are complete and signed.
#[derive(Debug)]
pub struct Outgoing {
    /// POST, PUT or PATCH.
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// All headers but those that frame the request (`Host`, `Content-Length`,
    /// `Transfer-Encoding`, `Connection`), which are left out when they are here.
    pub headers: HeaderMap,
    /// The exact bytes.
    pub body: Bytes,
    /// The time for all of it, connecting included.
    pub timeout: Duration,
    /// How long the body of a 207 may be to be given whole, in bytes; 0: it is not wanted.
    pub multistatus_bytes: usize,
}

/// What one request gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// How it ended.
    pub outcome: Outcome,
    /// The answer's HTTP status, when its head came.
    pub status: Option<u16>,
    /// What went wrong, in words that name the cause; none when delivered.
    pub error: Option<String>,
    /// How long the receiver asks to wait, of an answer that is retried.
    pub retry_after: Option<Duration>,
    /// From the start to the whole answer or the error.
    pub duration: Duration,
    /// The answer's headers, `name: value` a line.
    pub response_headers: String,
    /// The answer's body as far as it is kept.
    pub response_body: Bytes,
    /// Whether the answer's body was longer than what is kept.
    pub response_truncated: bool,
    /// The whole body of a 207, where it was wanted and is not too long.
    pub multistatus: Option<Bytes>,
}

/// Sends requests to destinations. Share one: it holds the connections.
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
    /// Sets up TLS, the resolver and the connection pool; opens nothing.
    ///
    /// # Errors
    /// An extra root that is no certificate, a resolver that cannot be set up, a user agent that is
    /// no header value.
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
            response_keep_bytes: options.response_keep_bytes.min(answer::READ_BYTES),
        })
    }

    /// Judges where a destination points when it is saved. A name that does not resolve now is only
    /// worth a warning, which is returned.
    ///
    /// # Errors
    /// The URL, or any address it leads to, is refused.
    pub async fn check_destination(&self, url: &Url) -> Result<Option<ResolveError>, UrlRefused> {
        self.policy.check_url_host(url)?;
        let Some(Host::Domain(name)) = url.host() else { return Ok(None) };
        match tokio::time::timeout(SAVE_RESOLVE_TIMEOUT, self.resolver.addresses(name)).await {
            Ok(Ok(_)) => Ok(None),
            Ok(Err(HostFault::Refused { refused, .. })) => Err(refused.into()),
            Ok(Err(HostFault::Unresolved(unresolved))) => Ok(Some(unresolved)),
            Err(_) => Ok(Some(ResolveError::Timeout(name.to_owned()))),
        }
    }

    /// Sends one request. Whatever happens is in the exchange.
    pub async fn send(&self, request: Outgoing) -> Exchange {
        let started = Instant::now();
        let mut exchange = match self.policy.check_url_host(&request.url) {
            Ok(()) => self.exchange(request).await,
            Err(refused) => Exchange::failed(of_url(&refused)),
        };
        exchange.duration = started.elapsed();
        exchange
    }

    async fn exchange(&self, request: Outgoing) -> Exchange {
        let (timeout, multistatus_bytes) = (request.timeout, request.multistatus_bytes);
        let sleep = tokio::time::sleep(timeout);
        tokio::pin!(sleep);
        match self.head(request, sleep.as_mut()).await {
            Ok(answer) => self.read(answer, sleep, timeout, multistatus_bytes).await,
            Err(fault) => Exchange::failed(fault),
        }
    }

    /// Sends a request to an allowed URL and waits for the answer's head.
    pub(super) async fn head(
        &self,
        request: Outgoing,
        sleep: std::pin::Pin<&mut Sleep>,
    ) -> Result<Answer, Fault> {
        let timeout = request.timeout;
        let mut phase = Phase::Connect;
        tokio::select! {
            biased;
            head = self.ask_on_some_connection(request, &mut phase) => head,
            () = sleep => Err(timed_out(timeout, phase)),
        }
    }

    /// On an idle connection, or else on a new one.
    async fn ask_on_some_connection(
        &self,
        outgoing: Outgoing,
        phase: &mut Phase,
    ) -> Result<Answer, Fault> {
        let Outgoing { method, url, headers, body, .. } = outgoing;
        let mut request = self.to_http(method, &url, headers, body)?;
        while let Some(connection) = self.pool.take(&url[..Position::BeforePath]) {
            match ask(connection, request, phase).await {
                // It was closed just now: nothing has been sent.
                Err(NoAnswer::Unsent(unsent)) => request = *unsent,
                Err(NoAnswer::Broken(fault)) => return Err(fault),
                Ok(answer) => return Ok(answer),
            }
        }
        let connection = self.connector.connect(&url, phase).await?;
        ask(connection, request, phase).await.map_err(|unanswered| match unanswered {
            NoAnswer::Unsent(_) => fault::closed(),
            NoAnswer::Broken(fault) => fault,
        })
    }

    /// A request as it goes over the connection.
    fn to_http(
        &self,
        method: Method,
        url: &Url,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<http::Request<Full<Bytes>>, Fault> {
        let target = &url[Position::BeforePath..Position::AfterQuery];
        let host = &url[Position::BeforeHost..Position::AfterPort];
        for name in &FRAMING {
            headers.remove(name);
        }
        let host = HeaderValue::from_str(host).map_err(|cause| fault::of_target(&cause))?;
        headers.insert(HOST, host);
        headers.entry(USER_AGENT).or_insert_with(|| self.user_agent.clone());
        let mut request = http::Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = target.parse().map_err(|cause| fault::of_target(&cause))?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// Keeps an answer's connection for the next request, if its whole body has been read.
    pub(super) fn reuse(&self, answer: Answer) {
        if let Some(connection) = answer.into_connection() {
            self.pool.put(connection);
        }
    }

    async fn read(
        &self,
        mut answer: Answer,
        sleep: std::pin::Pin<&mut Sleep>,
        timeout: Duration,
        multistatus_bytes: usize,
    ) -> Exchange {
        let status = answer.head.status;
        let whole_bytes = if status == StatusCode::MULTI_STATUS { multistatus_bytes } else { 0 };
        let mut body = AnswerBody::new(self.response_keep_bytes, whole_bytes);
        let fault = tokio::select! {
            biased;
            read = body.read(&mut answer) => read.err(),
            () = sleep => Some(timed_out(timeout, Phase::Body)),
        };
        let mut exchange = match fault {
            Some(fault) => Exchange::failed(fault),
            None => self.answered(status, &answer.head.headers),
        };
        exchange.status = Some(status.as_u16());
        exchange.response_headers = masked_headers(&answer.head.headers, &[]);
        self.reuse(answer);
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
            error: answer_words(outcome, status),
            retry_after: if retried {
                answer::retry_after(headers, || self.clock.now())
            } else {
                None
            },
            ..Exchange::empty(outcome)
        }
    }
}

impl Exchange {
    /// What there is when no request was sent.
    #[must_use]
    pub fn unsent(outcome: Outcome, error: String) -> Self {
        Self { error: Some(error), ..Self::empty(outcome) }
    }

    const fn empty(outcome: Outcome) -> Self {
        Self {
            outcome,
            status: None,
            error: None,
            retry_after: None,
            duration: Duration::ZERO,
            response_headers: String::new(),
            response_body: Bytes::new(),
            response_truncated: false,
            multistatus: None,
        }
    }

    fn failed(fault: Fault) -> Self {
        Self { error: Some(fault.words), ..Self::empty(fault.outcome) }
    }
}

/// Sends a request on this connection.
async fn ask(
    connection: Box<Connection>,
    request: http::Request<Full<Bytes>>,
    phase: &mut Phase,
) -> Result<Answer, NoAnswer> {
    *phase = Phase::Head;
    connection.send(request).await
}

pub(super) fn of_url(refused: &UrlRefused) -> Fault {
    let outcome = match refused {
        UrlRefused::Address(_) => Outcome::Address,
        UrlRefused::Scheme(_) | UrlRefused::NoHost | UrlRefused::Userinfo => Outcome::Render,
    };
    Fault { outcome, words: refused.to_string() }
}

pub(super) fn timed_out(timeout: Duration, phase: Phase) -> Fault {
    let words = format!("no whole answer within {timeout:?}: still {}", phase.words());
    Fault { outcome: Outcome::Timeout, words }
}

fn answer_words(outcome: Outcome, status: StatusCode) -> Option<String> {
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
