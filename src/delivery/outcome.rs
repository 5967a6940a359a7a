//! What follows from a request: an attempt for each of its deliveries, judged by the answer, and what
//! becomes of each. A batch that was refused as a whole is halved under its leases.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;

use super::Shared;
use super::batch::{Few, Pack};
use super::circuit_breaker::Verdict;
use super::completer;
use super::executor::Done;
use super::multistatus::{Judgement, Judgements, judge};
use super::queue;
use super::renderer::Unprepared;
use crate::domain::attempt::{Batch, NewAttempt, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::retry::{Ended, Next, decide};
use crate::routing::MappingRoute;
use crate::sender::Exchange;
use crate::store::{LeasedDelivery, Record, Recorded};

/// One request that has been made.
pub(super) struct Made {
    pub(super) pack: Pack,
    pub(super) sent: Sent,
    pub(super) exchange: Exchange,
    pub(super) started_at: Timestamp,
    /// By how much the clock jumped since its deliveries were taken in hand.
    pub(super) shift: i64,
}

/// What is kept of a request.
pub(super) struct Sent {
    pub(super) webhook_id: String,
    pub(super) url: String,
    pub(super) headers: String,
    pub(super) body_sha256: [u8; 32],
}

/// A delivery that there is nothing to send for.
pub(super) struct Unsent {
    /// Why.
    pub(super) why: Unprepared,
    /// What its insert function wrote.
    pub(super) console: Option<String>,
    /// How long that took.
    pub(super) took: Duration,
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

impl Shared {
    /// What follows from a request for each of its deliveries.
    pub(super) async fn follow(
        self: &Arc<Self>,
        route: &MappingRoute,
        made: Made,
        done: &mut Done,
    ) {
        let judgements = if made.pack.is_array {
            judge(&made.exchange, made.pack.len())
        } else {
            Judgements::of(&made.exchange)
        };
        done.verdict = verdict(&judgements);
        let is_refused =
            matches!(&judgements, Judgements::Same(it) if it.outcome == Outcome::Rejected);
        let Made { mut pack, sent, exchange, started_at, shift } = made;
        pack.deliveries_mut().for_each(|it| queue::shift(it, shift));
        let (retry_after, duration) = (exchange.retry_after, exchange.duration);
        let mut attempts = self.attempts(route, pack.len(), sent, exchange, started_at, judgements);
        for (item, attempt) in pack.items.iter_mut().zip(&mut attempts) {
            attempt.console = item.console.take();
        }
        if is_refused && pack.len() > 1 {
            done.later.append(&mut self.halve(route, pack, attempts).await);
            return;
        }
        let jitter = self.jitter();
        for (item, attempt) in pack.items.iter().zip(attempts) {
            let ended = ended(route, &item.delivery, &attempt, retry_after, shift);
            if ended.outcome == Outcome::Delivered {
                self.note_success(route, &item.delivery);
                let arrival = (started_at + duration).since(item.delivery.accepted_at);
                self.parts.metrics.arrival_seconds.observe(arrival.as_secs_f64());
            }
            done.records.push(record_of(route, &item.delivery, attempt, decide(&ended, jitter)));
        }
    }

    /// Records a refused batch, keeps its leases under the next token, and halves it. Each half goes
    /// out only when that is on disk: else its attempt could be recorded before this one.
    async fn halve(
        self: &Arc<Self>,
        route: &MappingRoute,
        mut pack: Pack,
        attempts: Few<NewAttempt>,
    ) -> Vec<Pack> {
        let lease_expires_at = self.parts.clock.now() + route.lease();
        let next = Next::Renewed { lease_expires_at };
        let items = pack.items.iter().zip(attempts);
        let records: Vec<_> =
            items.map(|(item, attempt)| record_of(route, &item.delivery, attempt, next)).collect();
        for record in &records {
            let made = &record.attempt;
            self.minutes.attempted(route.id, made.started_at, made.duration_us, next);
        }
        let results = completer::write(self, Arc::new(records)).await;
        // Who is late has lost its lease: it is another's to try.
        let mut results = results.into_iter();
        pack.items.retain(|item| {
            item.delivery.token += 1;
            item.delivery.lease_expires_at = lease_expires_at;
            results.next() == Some(Recorded::Applied)
        });
        pack.halves().into_iter().filter(|half| half.len() > 0).collect()
    }

    /// An attempt for each delivery of a request.
    fn attempts(
        &self,
        route: &MappingRoute,
        count: usize,
        sent: Sent,
        exchange: Exchange,
        started_at: Timestamp,
        judgements: Judgements,
    ) -> Few<NewAttempt> {
        let mut blank = self.attempt(route, started_at, exchange.outcome);
        blank.duration_us = micros(exchange.duration);
        if count > 1 {
            blank.batch = Some(Arc::new(Batch {
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
        let judgements = match judgements {
            Judgements::Same(judgement) => std::iter::repeat_n(judgement, count).collect(),
            Judgements::Each(each) => Few::from_vec(each),
        };
        // The last one, most often the only one, is not a copy.
        let attempts = std::iter::repeat_n(blank, count).zip(judgements);
        attempts
            .map(|(blank, it)| NewAttempt {
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

    /// The record of a delivery that there is nothing to send for.
    pub(super) fn unprepared(
        &self,
        route: &MappingRoute,
        delivery: &LeasedDelivery,
        started_at: Timestamp,
        unsent: Unsent,
    ) -> Record {
        let attempt = NewAttempt {
            duration_us: micros(unsent.took),
            error: Some(unsent.why.error),
            console: unsent.console,
            url: route.compiled().fixed_url().map_or_else(String::new, ToString::to_string),
            ..self.attempt(route, started_at, unsent.why.outcome)
        };
        let next = decide(&ended(route, delivery, &attempt, None, 0), self.jitter());
        record_of(route, delivery, attempt, next)
    }

    pub(super) fn jitter(&self) -> f64 {
        self.rng.lock().unwrap_or_else(std::sync::PoisonError::into_inner).random()
    }
}

/// What the decision is taken by; the clock has jumped by `shift` since the attempt began.
fn ended(
    route: &MappingRoute,
    delivery: &LeasedDelivery,
    attempt: &NewAttempt,
    retry_after: Option<Duration>,
    shift: i64,
) -> Ended {
    let at = attempt.started_at + Duration::from_micros(attempt.duration_us);
    Ended {
        outcome: attempt.outcome,
        at: at.shifted(shift),
        tried: delivery.tried + 1,
        deadline_at: delivery.deadline_at,
        timeout: route.settings.timeout(),
        retry_after,
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

/// What a request says about the receiver: it is up when any of its events found it so.
fn verdict(judgements: &Judgements) -> Verdict {
    let of = |it: &Judgement| Verdict::of(it.outcome);
    match judgements {
        Judgements::Same(judgement) => of(judgement),
        Judgements::Each(each) if each.iter().any(|it| of(it) == Verdict::Up) => Verdict::Up,
        Judgements::Each(each) if each.iter().any(|it| of(it) == Verdict::Down) => Verdict::Down,
        Judgements::Each(_) => Verdict::Neither,
    }
}
