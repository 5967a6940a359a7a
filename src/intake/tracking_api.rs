//! The HTTP handlers of the tracking API: authenticate, read, validate, route, accept.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::Bytes;
use http::header::{EXPECT, RETRY_AFTER};
use http::{Method, Request, StatusCode, request};
use rand::rngs::StdRng;
use tokio_util::task::TaskTracker;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use url::Url;

use super::accept::{self, BatchCounts};
use super::admitted::Admitted;
use super::body::{self, RequestBody};
use super::client_address::TrustedProxies;
use super::client_settings::{self, Address};
use super::detached::Detached;
use super::dispatch::Dispatch;
use super::endpoint::Endpoint;
use super::head::{RequestHead, trace};
use super::limits::{MAX_REQUEST_BYTES, MEMORY_LIMIT_BYTES, UNAUTHENTICATED_MEMORY_LIMIT_BYTES};
use super::memory_limit::{MemoryLimit, Reservation};
use super::message::{Messages, RequestContext};
use super::message_id::MessageIds;
use super::outbox::OutboxWrite;
use super::pixel;
use super::response::{self, IntakeError};
use super::slots::ReservedSlots;
use super::span::AcceptSpan;
use super::tenant::Tenant;
use super::turns::{Turn, Turns};
use super::write_key;
use crate::domain::clock::{Clock, Moment};
use crate::domain::oversized::OversizedEvents;
use crate::domain::peer::Peer;
use crate::domain::source_limiter::SourceLimiter;
use crate::json;
use crate::live::{Feed, LiveEvent};
use crate::routing::{LiveRoutes, Routes, SourceRoute};
use crate::store::Outbox;
use crate::telemetry::log_rate::brief;
use crate::telemetry::metrics::{Answer, Metrics, SourceLimit};
use crate::telemetry::refusals::{FailedCredential, Refusals};
use crate::telemetry::traces::Tracer;

/// The dependencies of intake.
pub struct IntakeParts {
    /// The routing table.
    pub routes: LiveRoutes,
    /// Stores events and deliveries.
    pub store: Arc<dyn Outbox>,
    /// Takes leased deliveries for their first attempt.
    pub dispatch: Arc<dyn Dispatch>,
    /// Records trace spans; none if tracing is not configured.
    pub spans: Option<Tracer>,
    /// The live feed of accepted events.
    pub live: Feed<LiveEvent>,
    /// What sources may still send.
    pub limiter: Arc<SourceLimiter>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Counts and logs what is refused.
    pub refusals: Refusals,
    /// Timeout for reading a request's body.
    pub body_timeout: Duration,
    /// What becomes of a batch that has an oversized event.
    pub oversized: OversizedEvents,
    /// Where senders reach the service; none: what their requests name.
    pub public_url: Option<Url>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: TrustedProxies,
    /// Generates ids for messages without one.
    pub rng: StdRng,
}

/// The tracking API.
pub struct Intake {
    pub(super) routes: LiveRoutes,
    pub(super) store: Arc<dyn Outbox>,
    pub(super) dispatch: Arc<dyn Dispatch>,
    spans: Option<Tracer>,
    pub(super) live: Feed<LiveEvent>,
    pub(super) limiter: Arc<SourceLimiter>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
    refusals: Refusals,
    body_timeout: Duration,
    pub(super) oversized: OversizedEvents,
    public_url: Option<Url>,
    trusted_proxies: TrustedProxies,
    pub(super) message_ids: MessageIds,
    pub(super) memory: MemoryLimit,
    unauthenticated_memory: MemoryLimit,
    turns: Turns,
    pub(super) accepting: TaskTracker,
}

impl fmt::Debug for Intake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Intake").field("body_timeout", &self.body_timeout).finish_non_exhaustive()
    }
}

impl fmt::Debug for IntakeParts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("IntakeParts")
            .field("body_timeout", &self.body_timeout)
            .finish_non_exhaustive()
    }
}

/// The path prefix of the tracking API.
pub const PREFIX: &str = "/v1/";

/// The tracking API's router, with CORS for browsers: any origin, whatever headers its SDK sends. The API reads no
/// cookies, so that a request with credentials (`sendBeacon` makes no other) can do no more than one without.
pub fn router(state: Arc<Intake>) -> Router {
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::mirror_request())
        .allow_credentials(true)
        .allow_methods([Method::POST, Method::GET])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([RETRY_AFTER])
        .max_age(Duration::from_secs(24 * 60 * 60));
    Router::new()
        .route("/v1/{*call}", any(answer))
        .route("/projects/{key}/settings", any(answer))
        .layer(cors)
        .with_state(state)
}

async fn answer(State(intake): State<Arc<Intake>>, request: axum::extract::Request) -> Response {
    intake.answer(request).await
}

impl Intake {
    /// Creates intake from its dependencies.
    #[must_use]
    pub fn new(parts: IntakeParts) -> Self {
        Self {
            routes: parts.routes,
            store: parts.store,
            dispatch: parts.dispatch,
            spans: parts.spans,
            live: parts.live,
            limiter: parts.limiter,
            clock: parts.clock,
            metrics: parts.metrics,
            refusals: parts.refusals,
            body_timeout: parts.body_timeout,
            oversized: parts.oversized,
            public_url: parts.public_url,
            trusted_proxies: parts.trusted_proxies,
            message_ids: MessageIds::new(parts.rng),
            memory: MemoryLimit::new(MEMORY_LIMIT_BYTES),
            unauthenticated_memory: MemoryLimit::new(UNAUTHENTICATED_MEMORY_LIMIT_BYTES),
            turns: Turns::default(),
            accepting: TaskTracker::new(),
        }
    }

    /// Waits for commits in progress and their dispatch, including those of disconnected senders. Called
    /// during shutdown, after the listener has stopped and before the store is closed.
    pub async fn finish(&self) {
        self.accepting.close();
        self.accepting.wait().await;
    }

    /// Handles a request under [`PREFIX`].
    pub async fn answer<B: RequestBody>(self: &Arc<Self>, request: Request<B>) -> Response {
        let uri = request.uri().clone();
        let path = uri.path();
        let from = request.extensions().get::<Peer>().map(|Peer(address)| *address);
        let received = match client_settings::write_key(path) {
            Some(key) => self.client_settings(&key, request),
            None => self.receive(request).await,
        };
        let (status, response) = match received {
            Ok(Received::Settings(response)) => (StatusCode::OK, response),
            Ok(Received::Events(endpoint, tally)) => {
                let BatchCounts { stored, duplicates } = tally;
                tracing::debug!(path, stored, duplicates, "accepted");
                let response = match endpoint {
                    Endpoint::Single(_) | Endpoint::Batch => response::success(),
                    Endpoint::Pixel(_) => response::pixel(),
                };
                (StatusCode::OK, response)
            }
            Err(refusal) => {
                self.note(&refusal, path, from);
                (refusal.status_and_code().0, refusal.into_response())
            }
        };
        self.metrics.intake_answers.get_or_create(&Answer { status: status.as_u16() }).inc();
        response
    }

    /// The settings of the source with this write key, for SDKs that fetch them.
    fn client_settings<B>(&self, key: &str, request: Request<B>) -> Result<Received, IntakeError> {
        if request.method() != Method::GET {
            return Err(IntakeError::Method { accepted: Method::GET });
        }
        find_source(&self.routes.current(), key)?;
        let at = Address::of(self.public_url.as_ref(), request.uri(), request.headers());
        Ok(Received::Settings(client_settings::response(key, &at)))
    }

    /// Logs a refusal by the rate of its code.
    fn note(&self, refusal: &IntakeError, path: &str, from: Option<IpAddr>) {
        let (status, code) = refusal.status_and_code();
        if matches!(refusal, IntakeError::UnknownWriteKey) {
            self.refusals.credential(FailedCredential::WriteKey, from, code);
        }
        if self.refusals.is_first(code) {
            let cause = std::error::Error::source(refusal).map(|cause| brief(&cause.to_string()));
            let (status, path) = (status.as_u16(), brief(path));
            let from = from.map(tracing::field::display);
            tracing::warn!(path, status, code, cause, from, "refused: {refusal}");
        }
    }

    async fn receive<B: RequestBody>(
        self: &Arc<Self>,
        request: Request<B>,
    ) -> Result<Received, IntakeError> {
        let (parts, body) = request.into_parts();
        let mut head = match self.check_head(&parts) {
            Ok(head) => head,
            Err(refusal) => {
                self.drain_refused(&parts, body).await;
                return Err(refusal);
            }
        };
        let endpoint = head.endpoint;
        let memory = match head.tenant {
            Tenant::Source(_) => &self.memory,
            Tenant::Peer(_) => &self.unauthenticated_memory,
        };
        let mut reservation = memory.reservation(head.tenant);
        let body = match endpoint {
            Endpoint::Single(_) | Endpoint::Batch => {
                body::read(body, &mut reservation, self.body_timeout).await?
            }
            Endpoint::Pixel(_) => pixel::message(&parts.uri)?,
        };
        let mut turn = self.turns.wait(head.tenant, body.len(), head.encoding).await;
        let received_at = self.clock.moment();
        let span = self.spans.as_ref().map(|spans| AcceptSpan::begin(spans, &mut head));
        let write = self.write(head, body, received_at, &mut reservation)?;
        turn.parsed();
        let tally = self.accept(write, (reservation, Some(turn))).await;
        let took = self.clock.service_now().since(received_at.service);
        if let Some(span) = span {
            span.end(received_at.wall, took, &tally);
        }
        self.metrics.accept_seconds.observe(took.as_secs_f64());
        tally.map(|tally| Received::Events(endpoint, tally))
    }

    /// The checks that precede reading the body.
    fn check_head(&self, head: &request::Parts) -> Result<RequestHead, IntakeError> {
        let endpoint = Endpoint::at(head.uri.path()).ok_or(IntakeError::NotFound)?;
        if head.method != endpoint.method() {
            return Err(IntakeError::Method { accepted: endpoint.method() });
        }
        let key = write_key::in_headers(&head.headers);
        let source = key.as_deref().map(|key| find_source(&self.routes.current(), key));
        // The body may have the right one.
        let source = source.filter(|found| !matches!(found, Err(IntakeError::UnknownWriteKey)));
        let from = || head.extensions.get::<Peer>().map(|Peer(address)| *address);
        let tenant = match source.transpose()? {
            Some(source) => {
                let limits = &source.limits;
                self.limiter
                    .check(source.id, limits, self.clock.moment())
                    .map_err(|reached| self.limited(&source, IntakeError::Limited(reached)))?;
                Tenant::Source(source.id)
            }
            None => Tenant::Peer(from()),
        };
        let encoding = body::encoding(&head.headers)?;
        if body::content_length(&head.headers) > Some(MAX_REQUEST_BYTES) {
            // The body, which may have the right key, is not read.
            let is_unknown = key.is_some() && matches!(tenant, Tenant::Peer(_));
            return Err(if is_unknown {
                IntakeError::UnknownWriteKey
            } else {
                IntakeError::RequestTooLarge
            });
        }
        if !self.store.has_room() {
            return Err(IntakeError::DiskFull);
        }
        let client = from().map(|peer| self.trusted_proxies.client(peer, &head.headers));
        Ok(RequestHead { endpoint, encoding, key, tenant, client, trace: trace(&head.headers) })
    }

    /// Counts a request that is over its source's limits.
    fn limited(&self, source: &SourceRoute, refusal: IntakeError) -> IntakeError {
        if let IntakeError::Limited(reached) = &refusal {
            let label = SourceLimit { source: source.name.clone(), limit: reached.as_str() };
            self.metrics.source_limited.get_or_create(&label).inc();
        }
        refusal
    }

    /// Drains a refused request so that its sender reads the response. With `Expect: 100-continue` the
    /// body is never requested.
    async fn drain_refused(&self, head: &request::Parts, body: impl RequestBody) {
        if !head.headers.contains_key(EXPECT) {
            body::drain(body, self.body_timeout).await;
        }
    }

    fn write(
        &self,
        head: RequestHead,
        body: Bytes,
        received_at: Moment,
        reservation: &mut Reservation,
    ) -> Result<(OutboxWrite, ReservedSlots), IntakeError> {
        let body = body::decode(body, head.encoding, reservation)?;
        let value = json::parse(&body).map_err(IntakeError::Json)?;
        let source = self.source(head.key.as_deref(), &value)?;
        let context = RequestContext {
            source_id: source.id,
            received_at: received_at.wall,
            message_ids: &self.message_ids,
            trace: head.trace,
        };
        let mut messages = Messages::of(head.endpoint, &body, value, self.oversized)?;
        if let Some(client) = head.client.filter(|_| source.limits.client_ip) {
            messages.set_client_ip(client);
        }
        let admitted = Admitted::take(&self.limiter, &source, messages.len(), received_at)
            .map_err(|refusal| self.limited(&source, refusal))?;
        let mut write = OutboxWrite::new(source, received_at, messages.len());
        let slots = write.fill(messages.read(&context), Arc::clone(&self.dispatch));
        write.admitted = Some(admitted);
        reservation.grow(write.added_bytes)?;
        Ok((write, slots))
    }

    /// The source of a request: by the key in its head, or by the one in its body where the head has no right one.
    fn source(
        &self,
        in_head: Option<&str>,
        body: &json::Value<'_>,
    ) -> Result<Arc<SourceRoute>, IntakeError> {
        // Reading the body took time: this is the routing table of now.
        let routes = self.routes.current();
        let by_head = in_head.map(|key| find_source(&routes, key));
        if let Some(found) = by_head
            && !matches!(found, Err(IntakeError::UnknownWriteKey))
        {
            return found;
        }
        match (write_key::in_body(body), in_head) {
            (Some(key), _) => find_source(&routes, &key),
            (None, Some(_)) => Err(IntakeError::UnknownWriteKey),
            (None, None) => Err(IntakeError::NoWriteKey),
        }
    }

    /// Accepts to completion: a disconnect of the sender does not cancel it.
    pub(super) async fn accept(
        self: &Arc<Self>,
        (write, slots): (OutboxWrite, ReservedSlots),
        until_committed: (Reservation, Option<Turn>),
    ) -> Result<BatchCounts, IntakeError> {
        let intake = Arc::clone(self);
        let accepting = async move {
            let _held = until_committed;
            accept::accept(write, slots, &*intake.store, &intake.live).await
        };
        Detached::new(accepting, &self.accepting).await
    }
}

/// What a request was answered.
enum Received {
    /// Its events are committed.
    Events(Endpoint, BatchCounts),
    /// It asked for settings.
    Settings(Response),
}

fn find_source(routes: &Routes, key: &str) -> Result<Arc<SourceRoute>, IntakeError> {
    let source = routes.source_by_write_key(key).ok_or(IntakeError::UnknownWriteKey)?;
    if source.enabled { Ok(Arc::clone(source)) } else { Err(IntakeError::SourceDisabled) }
}
