//! The outcome of a request: one attempt for each of its deliveries, and each delivery's next state. A
//! batch that the receiver rejected as a whole is split in half under the same leases.

use std::sync::Arc;
use std::time::Duration;

use super::authorized_request::recorded_url;
use super::batch::{Batch, OneOrMany};
use super::circuit_breaker::Verdict;
use super::context::Context;
use super::lease::lease_of;
use super::multistatus::{AttemptResult, Results, classify};
use super::pacing::MAX_WAIT;
use super::recorder;
use super::renderer::PrepareError;
use crate::domain::attempt::{self, NewAttempt, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::destination::OnGone;
use crate::domain::retry::{AttemptEnd, Next, decide};
use crate::domain::service_time::ServiceTime;
use crate::routing::MappingRoute;
use crate::sender::Exchange;
use crate::store::{LeaseRef, LeasedDelivery, Record, Recorded};
use crate::telemetry::metrics::Lacking;

/// What an execution of the executor leaves to do.
#[derive(Debug, Default)]
pub(super) struct Execution {
    /// Attempts to record.
    pub(super) records: OneOrMany<Record>,
    /// Leases to release: their deliveries were not attempted.
    pub(super) released: Vec<LeaseRef>,
    /// Leases to release for a moment: this machine lacked what their attempt needed.
    pub(super) postponed: Vec<LeaseRef>,
    /// Rendered batches for requests of their own.
    pub(super) batches: Vec<Batch>,
    /// The call of the mapping's function: its deliveries and how long it took.
    pub(super) call: Option<(usize, Duration)>,
    /// Whether it left rendered batches, which are queued by now.
    pub(super) has_batches: bool,
    pub(super) verdict: Verdict,
    /// How long the receiver asked for no request.
    pub(super) wait: Option<Duration>,
    /// Whether the receiver is gone, and the mapping is to be paused for it.
    pub(super) is_gone: bool,
}

/// Too many requests, service unavailable: with `Retry-After`, the destination waits.
const WAITED_FOR: [u16; 2] = [429, 503];
const GONE: u16 = 410;

/// A request that has ended.
pub(super) struct CompletedRequest {
    pub(super) batch: Batch,
    pub(super) sent: SentRequest,
    pub(super) exchange: Exchange,
}

/// What an attempt records of its request.
pub(super) struct SentRequest {
    pub(super) started_at: Timestamp,
    pub(super) webhook_id: String,
    pub(super) url: String,
    pub(super) headers: String,
    pub(super) body_sha256: [u8; 32],
}

/// Why a delivery has no request.
pub(super) struct UnsentDelivery {
    pub(super) cause: PrepareError,
    /// The insert function's console output.
    pub(super) console: Option<String>,
    /// How long the insert function ran.
    pub(super) function_time: Duration,
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

impl Context {
    /// Applies a request's answer to each of its deliveries.
    pub(super) async fn apply_answer(
        &self,
        route: &MappingRoute,
        request: CompletedRequest,
        execution: &mut Execution,
    ) {
        if let Some(lacking) = request.exchange.local {
            if self.parts.log_rate.is_first(lacking.as_str()) {
                tracing::error!(
                    mapping = route.name,
                    lacking = lacking.as_str(),
                    error = request.exchange.error.as_deref(),
                    "this machine lacks what a request needs: its deliveries are postponed"
                );
            }
            self.note_postponed(lacking.as_str(), request.batch.len());
            execution.postponed.extend(request.batch.deliveries().map(lease_of));
            return;
        }
        let results = if request.batch.is_array {
            classify(&request.exchange, request.batch.len())
        } else {
            Results::of(&request.exchange)
        };
        execution.verdict = verdict(&results);
        if request.exchange.status.is_some_and(|status| WAITED_FOR.contains(&status)) {
            let most = route.settings.window().min(MAX_WAIT);
            execution.wait = request.exchange.retry_after.map(|wait| wait.min(most));
        }
        execution.is_gone =
            request.exchange.status == Some(GONE) && route.settings.on_gone == OnGone::Pause;
        let is_rejected = !execution.is_gone
            && matches!(&results, Results::Uniform(it) if it.outcome.splits_batch());
        let CompletedRequest { mut batch, sent, exchange } = request;
        let started_at = sent.started_at;
        let (retry_after, duration) = (exchange.retry_after, exchange.duration);
        let mut attempts = self.attempts(route, batch.len(), sent, exchange, results);
        for (item, attempt) in batch.items.iter_mut().zip(&mut attempts) {
            attempt.console = item.console.take();
        }
        if is_rejected && batch.len() > 1 {
            execution.batches.append(&mut self.split_rejected(route, batch, attempts).await);
            return;
        }
        let (jitter, now) = (self.jitter(), self.parts.clock.service_now());
        for (item, attempt) in batch.items.iter().zip(attempts) {
            let end = AttemptEnd {
                retry_after,
                ..attempt_end(route, &item.delivery, attempt.outcome, now)
            };
            if end.outcome == Outcome::Delivered {
                self.successes.insert(route, &item.delivery);
                let arrival = (started_at + duration).since(item.delivery.accepted_at);
                self.parts.metrics.arrival_seconds.observe(arrival.as_secs_f64());
            }
            // Held by the pause, it is sent again once that ends.
            let next = if execution.is_gone {
                Next::Retry { due_at: end.at }
            } else {
                decide(&end, jitter)
            };
            execution.records.push(record_of(route, &item.delivery, attempt, next));
        }
    }

    /// Counts deliveries that this machine lacked something for.
    pub(super) fn note_postponed(&self, lacking: &'static str, count: usize) {
        let postponed = &self.parts.metrics.deliveries_postponed;
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        postponed.get_or_create(&Lacking { lacking }).inc_by(count);
    }

    /// Records a rejected batch, renews its leases under the next fencing token, and splits it. The halves
    /// are returned only when the record is committed: else theirs could be recorded first.
    async fn split_rejected(
        &self,
        route: &MappingRoute,
        mut batch: Batch,
        attempts: OneOrMany<NewAttempt>,
    ) -> Vec<Batch> {
        let lease_expires_at = self.parts.clock.service_now() + route.lease();
        let next = Next::Renewed { lease_expires_at };
        let items = batch.items.iter().zip(attempts);
        let records: Vec<_> =
            items.map(|(item, attempt)| record_of(route, &item.delivery, attempt, next)).collect();
        let results = recorder::write(self, Arc::new(records)).await;
        // A late record means that the lease was lost: the delivery is no longer this node's.
        let mut results = results.into_iter();
        batch.items.retain(|item| {
            item.delivery.token += 1;
            item.delivery.lease_expires_at = lease_expires_at;
            results.next() == Some(Some(Recorded::Applied))
        });
        batch.split().into_iter().filter(|half| half.len() > 0).collect()
    }

    /// One attempt for each delivery of a request.
    fn attempts(
        &self,
        route: &MappingRoute,
        count: usize,
        sent: SentRequest,
        exchange: Exchange,
        results: Results,
    ) -> OneOrMany<NewAttempt> {
        let mut blank = self.attempt(route, sent.started_at, exchange.outcome);
        blank.duration_us = micros(exchange.duration);
        if count > 1 {
            blank.batch = Some(Arc::new(attempt::Batch {
                webhook_id: sent.webhook_id,
                size: u32::try_from(count).unwrap_or(u32::MAX),
                status: exchange.status,
                url: sent.url,
                request_headers: sent.headers,
                body_sha256: sent.body_sha256,
                response_headers: exchange.response_headers,
                response_body: exchange.response_body,
                response_truncated: exchange.response_truncated,
            }));
        } else {
            blank.url = sent.url;
            blank.request_headers = sent.headers;
            blank.body_sha256 = Some(sent.body_sha256);
            blank.response_headers = exchange.response_headers;
            blank.response_body = exchange.response_body;
            blank.response_truncated = exchange.response_truncated;
        }
        let results = match results {
            Results::Uniform(result) => std::iter::repeat_n(result, count).collect(),
            Results::PerEvent(results) => OneOrMany::from_vec(results),
        };
        // `repeat_n` moves the last one: a single attempt is not cloned.
        let attempts = std::iter::repeat_n(blank, count).zip(results);
        attempts
            .map(|(blank, it): (NewAttempt, AttemptResult)| NewAttempt {
                outcome: it.outcome,
                status: it.status,
                error: it.error,
                ..blank
            })
            .collect()
    }

    fn attempt(&self, route: &MappingRoute, started_at: Timestamp, outcome: Outcome) -> NewAttempt {
        NewAttempt::unsent(self.parts.node_id, route.revision_id, started_at, outcome)
    }

    /// The record of a delivery that has no request.
    pub(super) fn unsent_record(
        &self,
        route: &MappingRoute,
        delivery: &LeasedDelivery,
        started_at: Timestamp,
        unsent: UnsentDelivery,
    ) -> Record {
        let url = route.compiled().fixed_url();
        let attempt = NewAttempt {
            duration_us: micros(unsent.function_time),
            error: Some(unsent.cause.error),
            console: unsent.console,
            url: url.map_or_else(String::new, |url| recorded_url(route, url)),
            ..self.attempt(route, started_at, unsent.cause.outcome)
        };
        let now = self.parts.clock.service_now();
        let next = decide(&attempt_end(route, delivery, attempt.outcome, now), self.jitter());
        record_of(route, delivery, attempt, next)
    }
}

/// The input of the retry decision about an attempt that ended at `at`.
fn attempt_end(
    route: &MappingRoute,
    delivery: &LeasedDelivery,
    outcome: Outcome,
    at: ServiceTime,
) -> AttemptEnd {
    AttemptEnd {
        outcome,
        at,
        tried: delivery.tried + 1,
        is_untried: false,
        deadline_at: delivery.deadline_at,
        timeout: route.timeout(),
        retry_after: None,
    }
}

fn record_of(
    route: &MappingRoute,
    delivery: &LeasedDelivery,
    attempt: NewAttempt,
    next: Next,
) -> Record {
    Record {
        delivery_id: delivery.id,
        mapping_id: delivery.mapping_id,
        token: delivery.token,
        attempt,
        next,
        policy: route.settings.policy,
    }
}

/// What a request shows about the receiver: healthy when any of its results is.
fn verdict(results: &Results) -> Verdict {
    let of = |it: &AttemptResult| Verdict::of(it.outcome);
    match results {
        Results::Uniform(result) => of(result),
        Results::PerEvent(results) if results.iter().any(|it| of(it) == Verdict::Healthy) => {
            Verdict::Healthy
        }
        Results::PerEvent(results) if results.iter().any(|it| of(it) == Verdict::Unhealthy) => {
            Verdict::Unhealthy
        }
        Results::PerEvent(_) => Verdict::Neutral,
    }
}
