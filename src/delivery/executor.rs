//! One request after another: what a gate lets through is rendered, packed, signed, sent, judged, and
//! what follows is handed to be recorded. No transaction is open meanwhile; the leases' tokens guard
//! what is recorded.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use rand::RngExt;
use smallvec::smallvec;

use super::Shared;
use super::batch::{Few, Item, Pack};
use super::circuit_breaker::Verdict;
use super::limiter::{Finished, Gate};
use super::memory_budget::Share;
use super::outcome::{Made, Sent, Unsent};
use super::queue::{self, Load, lease_of};
use super::renderer::{Prepared, Unprepared};
use crate::domain::attempt::Outcome;
use crate::domain::clock::Timestamp;
use crate::domain::destination::DeliveryPolicy;
use crate::domain::event::Event;
use crate::domain::id::MappingId;
use crate::domain::span::{Fact, Span, SpanKind};
use crate::domain::trace::Trace;
use crate::mapping::Rendered;
use crate::routing::MappingRoute;
use crate::sender::{Exchange, Outgoing, Signed};
use crate::store::{LeaseRef, LeasedDelivery, Record};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// A 207 to a batch is read up to so many bytes, and so many more for each event in it.
const MULTISTATUS_BYTES: usize = 64 * 1024;
const MULTISTATUS_ITEM_BYTES: usize = 1_024;

/// What became of a load.
#[derive(Debug)]
pub(super) struct Done {
    /// What is to be recorded.
    pub(super) records: Few<Record>,
    /// Not tried: the leases are to be given back.
    pub(super) give_back: Vec<LeaseRef>,
    /// To go in requests of their own.
    pub(super) later: Vec<Pack>,
    pub(super) verdict: Verdict,
}

/// Makes requests of this gate until it lets nothing through.
pub(super) async fn run(shared: Arc<Shared>, gate: Arc<Gate>, first: (MappingId, Load, Share)) {
    let mut next = Some(first);
    while let Some((mapping_id, load, share)) = next {
        let done = shared.deliver(mapping_id, load).await;
        let mut given_up = done.give_back;
        let has_later = !done.later.is_empty();
        given_up.append(&mut gate.push_packs(mapping_id, done.later));
        drop(share);
        let finished = gate.finish(mapping_id, done.verdict, shared.parts.clock.now());
        shared.in_flight.fetch_sub(1, Ordering::Relaxed);
        shared.tell_circuit(mapping_id, &finished);
        // Full when recording is slower than sending: what would come next waits here.
        shared.records.send(done.records).await;
        given_up.extend(finished.given_up);
        if shared.stopping.is_cancelled() {
            given_up.append(&mut gate.give_up_all());
        }
        shared.release_later(given_up);
        if finished.wants_more || finished.closed {
            shared.claim_wanted.notify_one();
        }
        shared.feed_starved();
        next = if shared.stopping.is_cancelled() { None } else { shared.next(&gate) };
        if has_later {
            shared.pump(&gate);
        }
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

    /// Makes one request of a load. What cannot share it goes later.
    async fn deliver(self: &Arc<Self>, mapping_id: MappingId, load: Load) -> Done {
        let mut done = Done {
            records: Few::new(),
            give_back: Vec::new(),
            later: Vec::new(),
            verdict: Verdict::Neither,
        };
        let Some(route) = self.parts.routes.current().mapping(mapping_id).map(Arc::clone) else {
            done.give_back = load.into_deliveries().iter().map(lease_of).collect();
            return done;
        };
        let shifted_at_start = self.shifted.load(Ordering::SeqCst);
        let packs = match load {
            Load::Packed(pack) if pack.revision_id == route.revision_id => smallvec![*pack],
            Load::Packed(_) | Load::Waiting(_) => {
                self.pack(&route, load.into_deliveries(), &mut done).await
            }
        };
        let mut packs = packs.into_iter();
        for mut pack in packs.by_ref() {
            self.take_out_unfit(&route, &mut pack, &mut done).await;
            if pack.len() > 0 {
                let made = self.request(&route, pack, shifted_at_start).await;
                self.follow(&route, made, &mut done).await;
                break;
            }
        }
        let mut others: Vec<Pack> = packs.collect();
        let shift = self.shifted.load(Ordering::SeqCst) - shifted_at_start;
        others.iter_mut().flat_map(Pack::deliveries_mut).for_each(|it| queue::shift(it, shift));
        done.later.append(&mut others);
        for record in &done.records {
            let made = &record.attempt;
            self.minutes.attempted(mapping_id, made.started_at, made.duration_us, record.next);
        }
        done
    }

    /// Renders deliveries and sorts them into packs. One that cannot be rendered takes nobody with it.
    async fn pack(
        &self,
        route: &MappingRoute,
        deliveries: Few<LeasedDelivery>,
        done: &mut Done,
    ) -> Few<Pack> {
        let started_at = self.parts.clock.now();
        let time = self.attempt_time(route);
        let (fit, unfit): (Few<_>, Few<_>) =
            deliveries.into_iter().partition(|it| may_try(route, it, started_at, time));
        done.give_back.extend(unfit.iter().map(lease_of));
        let prepared = {
            let events: Few<&Event> = fit.iter().map(|it| &*it.event).collect();
            self.prepare(route, &events).await
        };
        let mut items = Few::with_capacity(fit.len());
        for (delivery, prepared) in fit.into_iter().zip(prepared) {
            let Prepared { rendered, console, took } = prepared;
            match rendered.and_then(|it| fit_for_batch(route, it)) {
                Ok(rendered) => items.push(Item { delivery, rendered, console }),
                Err(why) => {
                    let unsent = Unsent { why, console, took };
                    done.records.push(self.unprepared(route, &delivery, started_at, unsent));
                }
            }
        }
        // The same deliveries make the same batch, in whatever order they came back.
        if route.batching.is_some() {
            items.sort_unstable_by_key(|item| item.delivery.id);
        }
        Pack::sort(route.revision_id, route.batching, items)
    }

    /// Gives back what has become unfit while it was rendered or waited for its turn, and what another
    /// mapping's success has settled.
    async fn take_out_unfit(&self, route: &MappingRoute, pack: &mut Pack, done: &mut Done) {
        let now = self.parts.clock.now();
        done.give_back
            .append(&mut pack.take_out(|it| may_try(route, it, now, route.settings.timeout())));
        if route.settings.policy == DeliveryPolicy::Any {
            let mut settled = HashSet::new();
            for item in &pack.items {
                if self.is_settled(route, &item.delivery).await {
                    settled.insert(item.delivery.id);
                }
            }
            done.give_back.append(&mut pack.take_out(|it| !settled.contains(&it.id)));
        }
    }

    /// Signs and sends.
    async fn request(&self, route: &MappingRoute, mut pack: Pack, shifted_at_start: i64) -> Made {
        let started_at = self.parts.clock.now();
        let body = pack.body();
        let webhook_id = pack.webhook_id();
        let mut headers = pack.headers();
        let span = pack.trace().and_then(|trace| self.hand_on(trace, &mut headers));
        let (first, event) = (&pack.items[0].rendered, &pack.items[0].delivery.event);
        self.sign(
            route,
            &mut headers,
            &Signed {
                webhook_id: &webhook_id,
                timestamp_s: started_at.as_seconds(),
                body: &body,
                first_event: &first.body,
            },
        );
        let authorized = self.authorize(route, &mut headers).await;
        let sent = Sent {
            webhook_id,
            url: first.url.to_string(),
            headers: crate::sender::masked_headers(&headers, &[]),
            body_sha256: event.document.sha256_of(&body),
        };
        let outgoing = Outgoing {
            method: first.method.clone(),
            url: first.url.clone(),
            headers,
            body,
            timeout: route.settings.timeout(),
            multistatus_bytes: if pack.is_array {
                MULTISTATUS_BYTES + pack.len() * MULTISTATUS_ITEM_BYTES
            } else {
                0
            },
        };
        let exchange = match authorized {
            Ok(()) => self.send(route, outgoing).await,
            Err(why) => Exchange::unsent(why.outcome, why.error),
        };
        if let (Some(spans), Some(span)) = (&self.parts.spans, span) {
            spans.ended(ended_span(route, &pack, span, &exchange, started_at));
        }
        let shift = self.shifted.load(Ordering::SeqCst) - shifted_at_start;
        Made { pack, sent, exchange, started_at, shift }
    }

    /// Makes the request a span of its own in its events' trace, and returns where that stands. The
    /// mapping's own header goes before.
    fn hand_on(&self, trace: &Trace, headers: &mut HeaderMap) -> Option<Trace> {
        if headers.contains_key(TRACEPARENT) {
            return None;
        }
        let span = trace.child(self.span_id());
        let state = span.state.as_deref().map(HeaderValue::from_str);
        if let Ok(parent) = HeaderValue::from_str(&span.traceparent()) {
            headers.insert(TRACEPARENT, parent);
        }
        if let Some(Ok(state)) = state {
            headers.entry(TRACESTATE).or_insert(state);
        }
        Some(span)
    }

    /// A span's id, never all zeros.
    fn span_id(&self) -> [u8; 8] {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        rng.random_range(1..=u64::MAX).to_be_bytes()
    }

    /// Ours, then the mapping's over them; `webhook-*` cannot be a mapping's.
    pub(super) fn sign(&self, route: &MappingRoute, headers: &mut HeaderMap, message: &Signed<'_>) {
        if !headers.contains_key(USER_AGENT) {
            headers.insert(USER_AGENT, self.parts.user_agent.clone());
        }
        route.signer.sign(headers, message);
    }
}

/// A request as it is told to whoever gathers traces.
fn ended_span(
    route: &MappingRoute,
    pack: &Pack,
    trace: Trace,
    exchange: &Exchange,
    started_at: Timestamp,
) -> Span {
    let mut facts = vec![
        ("postrider.mapping", Fact::Text(route.name.clone())),
        ("postrider.webhook_id", Fact::Text(pack.webhook_id())),
        ("postrider.outcome", Fact::Text(exchange.outcome.as_str().to_owned())),
        ("postrider.deliveries", Fact::Number(i64::try_from(pack.len()).unwrap_or(i64::MAX))),
    ];
    if let Some(first) = pack.items.first() {
        facts.push(("http.request.method", Fact::Text(first.rendered.method.to_string())));
        let host = first.rendered.url.host_str().unwrap_or_default();
        facts.push(("server.address", Fact::Text(host.to_owned())));
    }
    if let Some(status) = exchange.status {
        facts.push(("http.response.status_code", Fact::Number(status.into())));
    }
    Span {
        parent_id: pack.trace().map(|parent| parent.parent_id),
        trace,
        name: "deliver",
        kind: SpanKind::Client,
        started_at,
        duration: exchange.duration,
        facts,
        error: exchange.error.clone(),
    }
}

/// Whether a delivery may be tried now: it is not held, has time, and its lease outlasts the `time` that
/// the try takes.
fn may_try(
    route: &MappingRoute,
    delivery: &LeasedDelivery,
    now: Timestamp,
    time: Duration,
) -> bool {
    let is_out_of_time = delivery.tried > 0 && now > delivery.deadline_at;
    let is_lease_too_short = delivery.lease_expires_at < now + time;
    route.delivers() && !is_out_of_time && !is_lease_too_short
}

/// A form cannot stand in an array. What is a form for every event was refused when it was saved.
fn fit_for_batch(route: &MappingRoute, rendered: Rendered) -> Result<Rendered, Unprepared> {
    if route.batching.is_some() && rendered.is_form() {
        let error =
            "headers: Content-Type makes it a form, which cannot stand in a batch".to_owned();
        return Err(Unprepared { outcome: Outcome::Render, error });
    }
    Ok(rendered)
}
