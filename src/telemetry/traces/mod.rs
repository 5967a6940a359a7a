//! Traces told to a collector, where the settings name one: spans wait in a bounded queue and are sent
//! together. What does not fit or does not arrive is counted and forgotten: a collector that is down
//! delays nothing and loses no event.

mod otlp;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::domain::clock::Clock;
use crate::domain::span::Span;
use crate::domain::trace::Trace;
use crate::sender::{ApiClient, ApiClientError};
use crate::telemetry::metrics::Metrics;

/// Spans that may wait to be sent.
const WAITING: usize = 8_192;
/// Spans in one request.
const TOGETHER: usize = 512;
/// How long the first of them waits for others.
const LINGER: Duration = Duration::from_secs(1);
/// How long the last ones may take when the process stops.
const LAST: Duration = Duration::from_secs(5);

/// What spans are told with.
pub struct SpanParts {
    /// The collector's address: OTLP over HTTP, without `/v1/traces`.
    pub endpoint: String,
    /// This node's name.
    pub node_name: String,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where to count.
    pub metrics: Arc<Metrics>,
    /// Seeds the ids of traces and spans.
    pub seed: u64,
}

/// Takes spans; cheap to clone.
#[derive(Clone, Debug)]
pub struct Spans {
    queue: Sender<Span>,
    rng: Arc<Mutex<StdRng>>,
    metrics: Arc<Metrics>,
}

/// The work of telling; to be ended after everything that makes spans.
#[derive(Debug)]
pub struct Telling {
    task: JoinHandle<()>,
    stopping: CancellationToken,
}

impl Spans {
    /// Starts telling.
    ///
    /// # Errors
    /// When the endpoint is no URL, or there is no client for it.
    pub fn start(parts: SpanParts) -> Result<(Self, Telling), ApiClientError> {
        let client = ApiClient::new(&parts.endpoint, None)?;
        let (queue, waiting) = mpsc::channel(WAITING);
        let rng = Arc::new(Mutex::new(StdRng::seed_from_u64(parts.seed)));
        let metrics = Arc::clone(&parts.metrics);
        let stopping = CancellationToken::new();
        let task = tokio::spawn(tell(client, parts, waiting, stopping.clone()));
        Ok((Self { queue, rng, metrics }, Telling { task, stopping }))
    }

    /// A trace that begins here: its parent is the span that it begins with.
    #[must_use]
    pub fn begin(&self) -> Trace {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        let trace_id = rng.random_range(1..=u128::MAX).to_be_bytes();
        let parent_id = rng.random_range(1..=u64::MAX).to_be_bytes();
        Trace { trace_id, parent_id, sampled: true, state: None }
    }

    /// A span's id, never all zeros.
    #[must_use]
    pub fn span_id(&self) -> [u8; 8] {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        rng.random_range(1..=u64::MAX).to_be_bytes()
    }

    /// Takes a span that has ended, if its trace is recorded. Never waits.
    pub fn ended(&self, span: Span) {
        if span.trace.sampled && self.queue.try_send(span).is_err() {
            self.metrics.spans_lost.inc();
        }
    }
}

impl Telling {
    /// Ends once what waits is told, or has had its time.
    pub async fn end(self) {
        self.stopping.cancel();
        let abort = self.task.abort_handle();
        if tokio::time::timeout(LAST, self.task).await.is_err() {
            abort.abort();
        }
    }
}

async fn tell(
    client: ApiClient,
    parts: SpanParts,
    mut waiting: Receiver<Span>,
    stopping: CancellationToken,
) {
    let mut is_heard = true;
    while let Some(spans) = gather(&*parts.clock, &mut waiting, &stopping).await {
        let count = u64::try_from(spans.len()).unwrap_or(u64::MAX);
        let request = otlp::request(&parts.node_name, &spans);
        let fault = match client.post("/v1/traces", &request).await {
            Ok((status, _)) if status.is_success() => None,
            Ok((status, _)) => Some(format!("it answers {status}")),
            Err(error) => Some(error.to_string()),
        };
        let Some(fault) = fault else {
            is_heard = true;
            continue;
        };
        parts.metrics.spans_lost.inc_by(count);
        // Once, not with every request.
        if std::mem::replace(&mut is_heard, false) {
            let endpoint = &parts.endpoint;
            tracing::warn!(endpoint, fault, "spans are lost until the collector takes them");
        }
    }
}

/// The spans of the next request; none when the process stops and all are told.
async fn gather(
    clock: &dyn Clock,
    waiting: &mut Receiver<Span>,
    stopping: &CancellationToken,
) -> Option<Vec<Span>> {
    let first = tokio::select! {
        biased;
        next = waiting.recv() => next?,
        () = stopping.cancelled() => return None,
    };
    let mut spans = vec![first];
    let until = clock.now() + LINGER;
    while spans.len() < TOGETHER {
        tokio::select! {
            biased;
            Some(span) = waiting.recv() => spans.push(span),
            () = clock.sleep_until(until) => break,
            () = stopping.cancelled() => break,
        }
    }
    Some(spans)
}
