//! Traces, exported over OTLP when `otlp_endpoint` is set: spans are queued in a bounded queue and exported
//! in batches. Spans that do not fit or are not accepted are counted and dropped; an unavailable collector
//! delays no delivery.

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

/// Capacity of the span queue; spans beyond it are dropped.
const QUEUED_SPANS: usize = 8_192;
/// Spans in one export request.
const BATCH_SPANS: usize = 512;
/// How long a batch waits to fill after its first span.
const LINGER: Duration = Duration::from_secs(1);
/// How long the last export may take during shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// What the exporter is built from.
pub struct ExporterOptions {
    /// The collector's OTLP/HTTP endpoint, without `/v1/traces`.
    pub endpoint: String,
    /// This node's name.
    pub node_name: String,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Counts lost spans.
    pub metrics: Arc<Metrics>,
    /// Seeds trace and span ids.
    pub seed: u64,
}

/// Creates ids and queues finished spans; cheap to clone.
#[derive(Clone, Debug)]
pub struct Tracer {
    queue: Sender<Span>,
    rng: Arc<Mutex<StdRng>>,
    metrics: Arc<Metrics>,
}

/// The export task; to be stopped after everything that records spans.
#[derive(Debug)]
pub struct SpanExporter {
    task: JoinHandle<()>,
    stopping: CancellationToken,
}

impl Tracer {
    /// Starts the exporter.
    ///
    /// # Errors
    /// When the endpoint is not a URL, or its HTTP client cannot be set up.
    pub fn start(parts: ExporterOptions) -> Result<(Self, SpanExporter), ApiClientError> {
        let client = ApiClient::new(&parts.endpoint, None)?;
        let (queue, queued) = mpsc::channel(QUEUED_SPANS);
        let rng = Arc::new(Mutex::new(StdRng::seed_from_u64(parts.seed)));
        let metrics = Arc::clone(&parts.metrics);
        let stopping = CancellationToken::new();
        let task = tokio::spawn(export(client, parts, queued, stopping.clone()));
        Ok((Self { queue, rng, metrics }, SpanExporter { task, stopping }))
    }

    /// A new trace; its parent id is the id of its root span.
    #[must_use]
    pub fn begin(&self) -> Trace {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        let trace_id = rng.random_range(1..=u128::MAX).to_be_bytes();
        let parent_id = rng.random_range(1..=u64::MAX).to_be_bytes();
        Trace { trace_id, parent_id, sampled: true, state: None }
    }

    /// A span id, never all zeros.
    #[must_use]
    pub fn span_id(&self) -> [u8; 8] {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        rng.random_range(1..=u64::MAX).to_be_bytes()
    }

    /// Queues a finished span if its trace is sampled. Never waits.
    pub fn ended(&self, span: Span) {
        if span.trace.sampled && self.queue.try_send(span).is_err() {
            self.metrics.spans_lost.inc();
        }
    }
}

impl SpanExporter {
    /// Exports the queued spans, within a timeout, and stops.
    pub async fn stop(self) {
        self.stopping.cancel();
        let abort = self.task.abort_handle();
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, self.task).await.is_err() {
            abort.abort();
        }
    }
}

async fn export(
    client: ApiClient,
    parts: ExporterOptions,
    mut queued: Receiver<Span>,
    stopping: CancellationToken,
) {
    let mut is_healthy = true;
    while let Some(spans) = next_batch(&*parts.clock, &mut queued, &stopping).await {
        let count = u64::try_from(spans.len()).unwrap_or(u64::MAX);
        let request = otlp::request(&parts.node_name, &spans);
        let error = match client.post("/v1/traces", &request).await {
            Ok((status, _)) if status.is_success() => None,
            Ok((status, _)) => Some(format!("the collector answers {status}")),
            Err(error) => Some(error.to_string()),
        };
        let Some(error) = error else {
            is_healthy = true;
            continue;
        };
        parts.metrics.spans_lost.inc_by(count);
        // Logged once until an export succeeds again.
        if std::mem::replace(&mut is_healthy, false) {
            let endpoint = &parts.endpoint;
            tracing::warn!(
                endpoint,
                fault = error,
                "span export failed; spans are dropped until it succeeds"
            );
        }
    }
}

/// The spans of the next export request; `None` at shutdown, when the queue is empty.
async fn next_batch(
    clock: &dyn Clock,
    queued: &mut Receiver<Span>,
    stopping: &CancellationToken,
) -> Option<Vec<Span>> {
    let first = tokio::select! {
        biased;
        next = queued.recv() => next?,
        () = stopping.cancelled() => return None,
    };
    let mut spans = vec![first];
    let until = clock.service_now() + LINGER;
    while spans.len() < BATCH_SPANS {
        tokio::select! {
            biased;
            Some(span) = queued.recv() => spans.push(span),
            () = clock.sleep_until(until) => break,
            () = stopping.cancelled() => break,
        }
    }
    Some(spans)
}
