//! The executor: renders, batches, signs and sends one request, and applies its answer. No transaction
//! is open meanwhile; the leases' fencing tokens guard what is recorded.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderValue, USER_AGENT};
use smallvec::smallvec;

use super::authorized_request::recorded_url;
use super::batch::{Batch, BatchItem, OneOrMany};
use super::context::Context;
use super::lease::lease_of;
use super::outcome::{CompletedRequest, Execution, SentRequest, UnsentDelivery};
use super::queue::Dequeued;
use super::renderer::Prepared;
use super::request_span::{propagate, request_span};
use crate::domain::clock::Moment;
use crate::domain::destination::DeliveryPolicy;
use crate::domain::event::Event;
use crate::domain::id::MappingId;
use crate::domain::service_time::ServiceTime;
use crate::functions::FunctionSlot;
use crate::routing::MappingRoute;
use crate::sender::{Exchange, SignedContent, SignedRequest};
use crate::store::LeasedDelivery;

/// Bytes read of a 207 answer to a batch, and further bytes for each event in it.
const MULTISTATUS_BYTES: usize = 64 * 1024;
const MULTISTATUS_ITEM_BYTES: usize = 1_024;

impl Context {
    /// Sends one request of what was dequeued. Deliveries that cannot share it are returned as batches
    /// of their own; so are all that went through a function together, without waiting for a receiver.
    pub(super) async fn execute(
        &self,
        mapping_id: MappingId,
        dequeued: Dequeued,
        worker: Option<FunctionSlot>,
    ) -> Execution {
        let mut execution = Execution::default();
        let Some(route) = self.parts.routes.current().mapping(mapping_id).map(Arc::clone) else {
            execution.released = dequeued.into_deliveries().iter().map(lease_of).collect();
            return execution;
        };
        let batches = match dequeued {
            Dequeued::Batch(batch) if batch.revision_id == route.revision_id => smallvec![*batch],
            Dequeued::Batch(_) | Dequeued::Deliveries(_) => {
                let deliveries = dequeued.into_deliveries();
                self.render_batches(&route, deliveries, worker, &mut execution).await
            }
        };
        let is_call = route.batching.is_none() && batches.len() > 1;
        let mut batches = batches.into_iter();
        while !is_call && let Some(mut batch) = batches.next() {
            self.remove_unsendable(&route, &mut batch, &mut execution).await;
            if batch.len() > 0 {
                let request = self.request(&route, batch).await;
                self.apply_answer(&route, request, &mut execution).await;
                break;
            }
        }
        execution.batches.extend(batches);
        execution
    }

    /// Renders deliveries and groups them into batches. A delivery that cannot be rendered is recorded
    /// without affecting the others.
    async fn render_batches(
        &self,
        route: &MappingRoute,
        deliveries: OneOrMany<LeasedDelivery>,
        worker: Option<FunctionSlot>,
        execution: &mut Execution,
    ) -> OneOrMany<Batch> {
        let Moment { wall: started_at, service: now } = self.parts.clock.moment();
        let time = self.attempt_time(route);
        let (sendable, unsendable): (OneOrMany<_>, OneOrMany<_>) =
            deliveries.into_iter().partition(|it| is_sendable(route, it, now, time));
        execution.released.extend(unsendable.iter().map(lease_of));
        let (prepared, call) = {
            let events: OneOrMany<&Event> = sendable.iter().map(|it| &*it.event).collect();
            self.prepare(route, &events, worker).await
        };
        execution.call = call.map(|duration| (sendable.len(), duration));
        let mut items = OneOrMany::with_capacity(sendable.len());
        for (delivery, prepared) in sendable.into_iter().zip(prepared) {
            let Some(prepared) = prepared else {
                self.note_postponed("function_worker", 1);
                execution.postponed.push(lease_of(&delivery));
                continue;
            };
            let Prepared { rendered, console, function_time } = prepared;
            match rendered {
                Ok(rendered) => items.push(BatchItem { delivery, rendered, console }),
                Err(cause) => {
                    let unsent = UnsentDelivery { cause, console, function_time };
                    let record = self.unsent_record(route, &delivery, started_at, unsent);
                    execution.records.push(record);
                }
            }
        }
        // A stable order: the same deliveries form the same batch again.
        if route.batching.is_some() {
            items.sort_unstable_by_key(|item| item.delivery.id);
        }
        Batch::group(route.revision_id, route.batching, items)
    }

    /// Removes deliveries that became unsendable while they were rendered or queued, and those that a
    /// sibling's success has settled; their leases are released.
    async fn remove_unsendable(
        &self,
        route: &MappingRoute,
        batch: &mut Batch,
        execution: &mut Execution,
    ) {
        let now = self.parts.clock.service_now();
        let timeout = route.timeout();
        let may_send = self.may_start(route.id);
        execution
            .released
            .append(&mut batch.retain(|it| may_send && is_sendable(route, it, now, timeout)));
        if route.settings.policy == DeliveryPolicy::Any {
            let mut settled = HashSet::new();
            for item in &batch.items {
                if self.successes.settled(&*self.parts.store, route, &item.delivery).await {
                    settled.insert(item.delivery.id);
                }
            }
            execution.released.append(&mut batch.retain(|it| !settled.contains(&it.id)));
        }
    }

    /// Signs, authorizes and sends.
    async fn request(&self, route: &MappingRoute, mut batch: Batch) -> CompletedRequest {
        let started_at = self.parts.clock.now();
        let body = batch.body();
        let webhook_id = batch.webhook_id();
        let mut headers = batch.headers();
        let span = batch.trace().and_then(|trace| propagate(trace, self.span_id(), &mut headers));
        let (first, event) = (&batch.items[0].rendered, &batch.items[0].delivery.event);
        let message = SignedContent {
            webhook_id: &webhook_id,
            timestamp_s: started_at.as_seconds(),
            body: &body,
            first_event: first.signed.as_deref(),
        };
        self.sign(route, &mut headers, &message);
        let mut url = first.url.clone();
        let authorized = self.authorize(route, &mut url, &mut headers).await;
        let sent = SentRequest {
            started_at,
            url: recorded_url(route, &first.url),
            headers: crate::sender::masked_headers(&headers, &[]),
            body_sha256: event.document.sha256_of(&body),
            webhook_id,
        };
        let outgoing = SignedRequest {
            method: first.method.clone(),
            url,
            headers,
            spellings: first.spellings.clone(),
            body,
            timeout: route.timeout(),
            multistatus_bytes: if batch.is_array {
                MULTISTATUS_BYTES + batch.len() * MULTISTATUS_ITEM_BYTES
            } else {
                0
            },
        };
        let exchange = match authorized {
            Ok(()) => self.send(route, outgoing).await,
            Err(cause) => {
                let local = cause.local;
                Exchange { local, ..Exchange::unsent(cause.outcome, cause.error) }
            }
        };
        if let (Some(spans), Some(span)) = (&self.parts.spans, span) {
            spans.ended(request_span(route, &batch, span, &exchange, started_at));
        }
        CompletedRequest { batch, sent, exchange }
    }

    /// Adds the default `User-Agent` and the signature headers. A mapping cannot set `webhook-*`.
    pub(super) fn sign(
        &self,
        route: &MappingRoute,
        headers: &mut HeaderMap,
        message: &SignedContent<'_>,
    ) {
        if !headers.contains_key(USER_AGENT) {
            let of_profile = route.compiled().rules().user_agent.map(HeaderValue::from_static);
            let user_agent = of_profile.unwrap_or_else(|| self.parts.user_agent.clone());
            headers.insert(USER_AGENT, user_agent);
        }
        route.signer.sign(headers, message);
    }
}

/// Whether a delivery may be attempted now: its mapping delivers, its window is not over, and its lease
/// outlasts the `time` of an attempt.
fn is_sendable(
    route: &MappingRoute,
    delivery: &LeasedDelivery,
    now: ServiceTime,
    time: Duration,
) -> bool {
    let is_overdue = delivery.tried > 0 && now > delivery.deadline_at;
    let is_lease_too_short = delivery.lease_expires_at < now + time;
    route.delivers() && !is_overdue && !is_lease_too_short
}
