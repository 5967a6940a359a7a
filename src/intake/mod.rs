//! The tracking API: authenticate, validate, route, accept. A sender gets its 200 only after the
//! commit. It delivers nothing itself: what is leased to this node goes through [`Dispatch`].

mod accept;
mod answer;
mod body;
mod call;
mod detached;
mod dispatch;
mod internal_event;
pub mod limits;
mod message;
mod message_id;
mod plan;
mod slices;
mod slots;
mod span;
mod validate;
mod write_key;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, EXPECT, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, request};
use rand::rngs::StdRng;
use tokio_util::task::TaskTracker;
use tower_http::cors::{Any, CorsLayer};

use self::accept::Tally;
use self::answer::Refusal;
pub use self::body::Arriving;
use self::body::{Account, Encoding, Held};
use self::call::Call;
use self::detached::ToEnd;
pub use self::dispatch::Dispatch;
use self::limits::{MAX_HELD_BYTES, MAX_HELD_UNKNOWN_BYTES, MAX_REQUEST_BYTES};
use self::message::{Messages, Reception};
use self::message_id::MessageIds;
use self::plan::Plan;
use self::slots::Reserved;
use self::span::AcceptSpan;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::trace::Trace;
use crate::json;
use crate::live::{Feed, LiveEvent};
use crate::routing::{LiveRoutes, Routes, SourceRoute};
use crate::store::Store;
use crate::telemetry::metrics::{Answer, Metrics};
use crate::telemetry::traces::Tracer;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What intake is made of.
pub struct IntakeParts {
    /// What is set up.
    pub routes: LiveRoutes,
    /// Where events are kept.
    pub store: Arc<dyn Store>,
    /// Who makes the first attempts.
    pub dispatch: Arc<dyn Dispatch>,
    /// What requests are told to as spans, where somebody gathers them.
    pub spans: Option<Tracer>,
    /// Where those who watch are told of what was accepted.
    pub live: Feed<LiveEvent>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// How long a client may take to send its request's body.
    pub body_timeout: Duration,
    /// What the ids of messages without one are drawn from.
    pub rng: StdRng,
}

/// The tracking API at work.
pub struct Intake {
    routes: LiveRoutes,
    store: Arc<dyn Store>,
    dispatch: Arc<dyn Dispatch>,
    spans: Option<Tracer>,
    live: Feed<LiveEvent>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    body_timeout: Duration,
    message_ids: MessageIds,
    held: Held,
    held_unknown: Held,
    accepting: TaskTracker,
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

/// What the paths of the tracking API begin with.
pub const PREFIX: &str = "/v1/";

/// The routes of the tracking API for browsers too: what they ask before a call, they are told.
pub fn router(state: Arc<Intake>) -> Router {
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::POST])
        .allow_headers([
            AUTHORIZATION,
            CONTENT_TYPE,
            HeaderName::from_static("x-retry-count"),
            TRACEPARENT,
            TRACESTATE,
        ])
        .max_age(Duration::from_secs(24 * 60 * 60));
    Router::new().route("/v1/{*call}", any(answer)).layer(cors).with_state(state)
}

async fn answer(State(intake): State<Arc<Intake>>, request: axum::extract::Request) -> Response {
    intake.answer(request).await
}

/// What a request's head says.
struct Head {
    call: Call,
    encoding: Encoding,
    /// Its write key, where it has one; some source had it when the head was read.
    key: Option<String>,
    /// The trace that the request is part of.
    trace: Option<Arc<Trace>>,
}

impl Intake {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: IntakeParts) -> Self {
        Self {
            routes: parts.routes,
            store: parts.store,
            dispatch: parts.dispatch,
            spans: parts.spans,
            live: parts.live,
            clock: parts.clock,
            metrics: parts.metrics,
            body_timeout: parts.body_timeout,
            message_ids: MessageIds::new(parts.rng),
            held: Held::up_to(MAX_HELD_BYTES),
            held_unknown: Held::up_to(MAX_HELD_UNKNOWN_BYTES),
            accepting: TaskTracker::new(),
        }
    }

    /// Waits for the commits under way and their hand-over, also those whose sender has gone. To be
    /// called when no more requests come, before the store is closed.
    pub async fn finish(&self) {
        self.accepting.close();
        self.accepting.wait().await;
    }

    /// Answers a request under [`PREFIX`].
    pub async fn answer<B: Arriving>(self: &Arc<Self>, request: Request<B>) -> Response {
        let uri = request.uri().clone();
        let path = uri.path();
        let (status, response) = match self.receive(request).await {
            Ok(tally) => {
                let Tally { stored, duplicates } = tally;
                tracing::debug!(path, stored, duplicates, "accepted");
                (StatusCode::OK, answer::success())
            }
            Err(refusal) => {
                let answer::Verdict { status, code } = refusal.verdict();
                let cause = std::error::Error::source(&refusal).map(tracing::field::display);
                tracing::warn!(path, status = status.as_u16(), code, cause, "refused: {refusal}");
                (status, refusal.into_response())
            }
        };
        self.metrics.intake_answers.get_or_create(&Answer { status: status.as_u16() }).inc();
        response
    }

    async fn receive<B: Arriving>(self: &Arc<Self>, request: Request<B>) -> Result<Tally, Refusal> {
        let (head, body) = request.into_parts();
        let mut head = match self.admit(&head) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                self.turn_away(&head, body).await;
                return Err(refusal);
            }
        };
        let held = if head.key.is_some() { &self.held } else { &self.held_unknown };
        let mut account = held.account();
        let body = body::read(body, &mut account, self.body_timeout).await?;
        let received_at = self.clock.now();
        let span = self.spans.as_ref().map(|spans| AcceptSpan::begin(spans, &mut head));
        let plan = self.plan(head, body, received_at, &mut account)?;
        let tally = self.accept(plan, account).await;
        let took = self.clock.now().since(received_at);
        if let Some(span) = span {
            span.end(received_at, took, &tally);
        }
        self.metrics.accept_seconds.observe(took.as_secs_f64());
        tally
    }

    /// What can be refused before the body is read.
    fn admit(&self, head: &request::Parts) -> Result<Head, Refusal> {
        let call = Call::at(head.uri.path()).ok_or(Refusal::NotFound)?;
        if head.method != Method::POST {
            return Err(Refusal::Method);
        }
        let key = write_key::in_headers(&head.headers);
        if let Some(key) = &key {
            find_source(&self.routes.current(), key)?;
        }
        let encoding = body::encoding(&head.headers)?;
        if body::announced_bytes(&head.headers) > Some(MAX_REQUEST_BYTES) {
            return Err(Refusal::RequestTooLarge);
        }
        if !self.store.has_room() {
            return Err(Refusal::DiskFull);
        }
        Ok(Head { call, encoding, key, trace: trace(&head.headers) })
    }

    /// Reads a refused request to its end, so that its sender comes to read the answer; one that
    /// waits for a go-ahead is not given it.
    async fn turn_away(&self, head: &request::Parts, body: impl Arriving) {
        if !head.headers.contains_key(EXPECT) {
            body::drain(body, self.body_timeout).await;
        }
    }

    fn plan(
        &self,
        head: Head,
        body: Bytes,
        received_at: Timestamp,
        account: &mut Account,
    ) -> Result<(Plan, Reserved), Refusal> {
        let body = body::decode(body, head.encoding, account)?;
        let value = json::parse(&body).map_err(Refusal::Json)?;
        let key = head.key.or_else(|| write_key::in_body(&value)).ok_or(Refusal::NoWriteKey)?;
        // A body may take its time: what is set up is looked at when it is there.
        let source = find_source(&self.routes.current(), &key)?;
        let reception = Reception {
            source_id: source.id,
            received_at,
            message_ids: &self.message_ids,
            trace: head.trace,
        };
        let messages = Messages::of(head.call, &body, value)?;
        let mut plan = Plan::new(source, received_at, messages.len());
        let reserved = plan.fill(messages.read(&reception), Arc::clone(&self.dispatch));
        account.take(plan.added_bytes)?;
        Ok((plan, reserved))
    }

    /// Accepts to its end: dropping the request does not stop it.
    async fn accept(
        self: &Arc<Self>,
        (plan, reserved): (Plan, Reserved),
        account: Account,
    ) -> Result<Tally, Refusal> {
        let intake = Arc::clone(self);
        let accepting = async move {
            let _held = account;
            accept::accept(plan, reserved, &*intake.store, &intake.live).await
        };
        ToEnd::new(accepting, &self.accepting).await
    }
}

/// The trace that a request says it is part of.
fn trace(headers: &HeaderMap) -> Option<Arc<Trace>> {
    let parent = headers.get(TRACEPARENT)?.to_str().ok()?;
    let states = headers.get_all(TRACESTATE).iter().map(HeaderValue::to_str);
    // Several headers are one list.
    let state = states.collect::<Result<Vec<_>, _>>().unwrap_or_default().join(",");
    Trace::parse(parent, Some(&state)).map(Arc::new)
}

fn find_source(routes: &Routes, key: &str) -> Result<Arc<SourceRoute>, Refusal> {
    let source = routes.source_by_write_key(key).ok_or(Refusal::UnknownWriteKey)?;
    if source.enabled { Ok(Arc::clone(source)) } else { Err(Refusal::SourceDisabled) }
}
