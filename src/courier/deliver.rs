//! One attempt after another: render, sign, send, decide, hand to be recorded. No transaction is open
//! meanwhile; the lease's token guards what is recorded.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, USER_AGENT};

use super::Shared;
use super::circuit::Verdict;
use super::gate::{Finished, Gate};
use crate::clock::Timestamp;
use crate::digest::sha256;
use crate::domain::attempt::{NewAttempt, Outcome};
use crate::domain::id::{MappingId, Noun, PublicId};
use crate::domain::retry::{Ended, decide};
use crate::mapping::Rendered;
use crate::route::MappingRoute;
use crate::sender::{Outgoing, Signed};
use crate::store::{LeaseRef, LeasedDelivery, Record};

/// What became of a delivery in hand.
enum Done {
    /// It was tried.
    Attempt(Box<Record>),
    /// It was not: the lease is to be given back.
    GiveBack,
}

/// Tries deliveries of this gate until it lets none through.
pub(super) async fn run(shared: Arc<Shared>, gate: Arc<Gate>, first: LeasedDelivery) {
    let mut next = Some(first);
    while let Some(delivery) = next {
        let mapping_id = delivery.mapping_id;
        let lease = LeaseRef { delivery_id: delivery.id, token: delivery.token };
        let done = shared.deliver(delivery).await;
        let verdict = match &done {
            Done::Attempt(record) => Verdict::of(record.attempt.outcome),
            Done::GiveBack => Verdict::Neither,
        };
        let finished = gate.finish(mapping_id, verdict, shared.parts.clock.now());
        shared.in_flight.fetch_sub(1, Ordering::Relaxed);
        shared.tell_circuit(mapping_id, &finished);
        let mut given_up = finished.given_up;
        match done {
            Done::Attempt(record) => {
                shared.minutes.attempted(
                    mapping_id,
                    record.attempt.started_at,
                    record.attempt.duration_us,
                    record.next,
                );
                // Full when recording is slower than sending: this attempt's successor waits here.
                // Closed only after every attempt has ended.
                let _ = shared.records.send(*record).await;
            }
            Done::GiveBack => given_up.push(lease),
        }
        shared.release_later(given_up);
        if finished.wants_more || finished.closed {
            shared.claim_wanted.notify_one();
        }
        shared.feed_starved();
        next = if shared.stopping.is_cancelled() { None } else { shared.next(&gate) };
    }
}

impl Shared {
    fn tell_circuit(&self, mapping_id: MappingId, finished: &Finished) {
        if !finished.opened && !finished.closed {
            return;
        }
        let routes = self.parts.routes.current();
        let mapping = routes.mapping(mapping_id).map_or("(removed)", |it| it.name.as_str());
        if finished.opened {
            tracing::warn!(mapping, "circuit opened: one probe at a time until it answers");
        } else {
            tracing::info!(mapping, "circuit closed: it answers again");
        }
    }

    async fn deliver(&self, delivery: LeasedDelivery) -> Done {
        let Some(route) = self.parts.routes.current().mapping(delivery.mapping_id).map(Arc::clone)
        else {
            return Done::GiveBack;
        };
        let shifted_at_start = self.shifted.load(Ordering::SeqCst);
        let started_at = self.parts.clock.now();
        let out_of_time = delivery.tried > 0 && started_at > delivery.deadline_at;
        let lease_too_short = delivery.lease_expires_at < started_at + self.attempt_time(&route);
        if !route.delivers() || out_of_time || lease_too_short {
            return Done::GiveBack;
        }
        if self.is_settled(&route, &delivery).await {
            return Done::GiveBack;
        }
        let attempt = self.attempt(&route, &delivery, started_at).await;
        let ended_at = started_at + Duration::from_micros(attempt.made.duration_us);
        let shift = self.shifted.load(Ordering::SeqCst) - shifted_at_start;
        let ended = Ended {
            outcome: attempt.made.outcome,
            at: ended_at.shifted(shift),
            tried: delivery.tried + 1,
            deadline_at: delivery.deadline_at.shifted(shift),
            timeout: route.settings.timeout(),
            retry_after: attempt.retry_after,
        };
        if ended.outcome == Outcome::Delivered {
            self.note_success(&route, &delivery);
            let arrival = ended_at.since(delivery.accepted_at);
            self.parts.metrics.arrival_seconds.observe(arrival.as_secs_f64());
        }
        let mut rng = self.rng.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Done::Attempt(Box::new(Record {
            delivery_id: delivery.id,
            mapping_id: delivery.mapping_id,
            token: delivery.token,
            attempt: attempt.made,
            next: decide(&ended, &mut *rng),
            policy: route.settings.policy,
        }))
    }

    async fn attempt(
        &self,
        route: &MappingRoute,
        delivery: &LeasedDelivery,
        started_at: Timestamp,
    ) -> Attempted {
        let mut made = NewAttempt {
            node_id: self.parts.node_id,
            revision_id: route.revision_id,
            started_at,
            duration_us: 0,
            outcome: Outcome::Render,
            status: None,
            error: None,
            console: None,
            url: String::new(),
            request_headers: String::new(),
            body_sha256: None,
            response_headers: String::new(),
            response_body: Bytes::new(),
            response_truncated: false,
        };
        let mut prepared = self.prepare(route, &[&delivery.event]).await;
        let Some(prepared) = prepared.pop() else {
            return Attempted { made, retry_after: None };
        };
        made.console = prepared.console;
        made.duration_us = u64::try_from(prepared.took.as_micros()).unwrap_or(u64::MAX);
        let rendered = match prepared.rendered {
            Ok(rendered) => rendered,
            Err(unprepared) => {
                made.outcome = unprepared.outcome;
                made.error = Some(unprepared.error);
                made.url =
                    route.compiled().fixed_url().map_or_else(String::new, ToString::to_string);
                return Attempted { made, retry_after: None };
            }
        };
        let mut headers = self.signed_headers(route, delivery, started_at, &rendered);
        let authorized = self.authorize(route, &mut headers).await;
        made.url = rendered.url.to_string();
        made.request_headers = crate::sender::masked_headers(&headers, &[]);
        made.body_sha256 = Some(sha256(&[&rendered.body]));
        if let Err(unprepared) = authorized {
            made.outcome = unprepared.outcome;
            made.error = Some(unprepared.error);
            return Attempted { made, retry_after: None };
        }
        let outgoing = Outgoing {
            method: rendered.method,
            url: rendered.url,
            headers,
            body: rendered.body,
            timeout: route.settings.timeout(),
        };
        let exchange = self.send(route, outgoing).await;
        made.duration_us += u64::try_from(exchange.duration.as_micros()).unwrap_or(u64::MAX);
        made.outcome = exchange.outcome;
        made.status = exchange.status;
        made.error = exchange.error;
        made.response_headers = exchange.response_headers;
        made.response_body = exchange.response_body;
        made.response_truncated = exchange.response_truncated;
        Attempted { made, retry_after: exchange.retry_after }
    }

    /// Ours, then the mapping's over them; `webhook-*` cannot be a mapping's.
    fn signed_headers(
        &self,
        route: &MappingRoute,
        delivery: &LeasedDelivery,
        started_at: Timestamp,
        rendered: &Rendered,
    ) -> HeaderMap {
        let mut headers = rendered.headers.clone();
        if !headers.contains_key(USER_AGENT) {
            headers.insert(USER_AGENT, self.parts.user_agent.clone());
        }
        let id = PublicId::new(Noun::Delivery, delivery.accepted_at, delivery.id.0).to_string();
        route.signer.sign(
            &mut headers,
            &Signed {
                webhook_id: &id,
                timestamp_s: started_at.as_seconds(),
                body: &rendered.body,
                first_event: &rendered.body,
            },
        );
        headers
    }
}

struct Attempted {
    made: NewAttempt,
    retry_after: Option<Duration>,
}
