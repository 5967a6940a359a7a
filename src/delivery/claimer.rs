//! The claimer: leases due deliveries for the queues that have room, each mapping on its own, so that
//! a backlog of one never delays another. It sleeps until the earliest known due time and is woken when
//! there may be an earlier one.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::context::Context;
use super::queue::Demand;
use super::scheduler;
use crate::domain::clock::Moment;
use crate::domain::delivery::Reason;
use crate::domain::id::MappingId;
use crate::domain::service_time::ServiceTime;
use crate::routing::MappingRoute;
use crate::store::{ClaimRequest, ClaimWant, StoreError};

/// Overdue deliveries in one store step.
const OVERDUE_STEP: u32 = 128;
/// The wait before a failed claim is retried.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// Claims until the dispatcher stops.
pub(super) async fn run(context: Arc<Context>) {
    while !context.stopping.is_cancelled() {
        let now = context.parts.clock.moment();
        let (wants, wake_at) = demands(&context, now.service);
        let claimed =
            if wants.is_empty() { None } else { Some(claim(&context, now, wants.clone()).await) };
        match claimed {
            Some(Ok(())) => {}
            Some(Err(StoreError::Closed)) => return,
            Some(Err(error)) => {
                tracing::error!(%error, "due deliveries could not be claimed; retrying");
                for want in wants {
                    claim_failed(&context, want.mapping_id, now.service);
                }
                tokio::select! {
                    () = tokio::time::sleep(RETRY_AFTER) => {}
                    () = context.stopping.cancelled() => {}
                }
            }
            None => tokio::select! {
                () = context.claim_wanted.notified() => {}
                () = sleep_until(&context, wake_at) => {}
                () = context.stopping.cancelled() => {}
            },
        }
    }
}

async fn sleep_until(context: &Context, at: Option<ServiceTime>) {
    match at {
        Some(at) => context.parts.clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// What every queue wants now, and the earliest time that another one wants something.
fn demands(context: &Context, now: ServiceTime) -> (Vec<ClaimWant>, Option<ServiceTime>) {
    let routes = context.parts.routes.current();
    let mut wants = Vec::new();
    let mut wake_at: Option<ServiceTime> = None;
    let mut limiters = context.limiters();
    // Where the last claim left off: of many mappings, each has its turn.
    let first = context.claim_from.load(Ordering::Relaxed) % limiters.len().max(1);
    limiters.rotate_left(first);
    let clock = &context.parts.clock;
    let mut allowance = context.budget.claimable();
    for (limiter, turn) in limiters.iter().zip(first..) {
        if !limiter.right.lasts(|| clock.uptime()) {
            continue;
        }
        let as_owner = !limiter.right.is_always();
        for (mapping_id, demand) in limiter.demands(now, &mut allowance) {
            match demand {
                Demand::Now(limit) => {
                    let is_probe = limiter.circuit(mapping_id).is_some();
                    wants.extend(routes.mapping(mapping_id).map(|it| ClaimWant {
                        as_owner,
                        is_probe,
                        ..want(it, limit)
                    }));
                }
                Demand::At(at) => wake_at = Some(wake_at.map_or(at, |other| other.min(at))),
                Demand::None => {}
            }
        }
        if allowance > 0 {
            context.claim_from.store(turn, Ordering::Relaxed);
        }
    }
    (wants, wake_at)
}

async fn claim(
    context: &Arc<Context>,
    now: Moment,
    wants: Vec<ClaimWant>,
) -> Result<(), StoreError> {
    let mapping_ids: Vec<_> = wants.iter().map(|want| want.mapping_id).collect();
    let node_id = context.parts.node_id;
    let claim = context.parts.store.claim_due(ClaimRequest { node_id, now, wants }).await?;
    count_dead(context, Reason::Deadline, claim.overdue.iter().map(|(_, count)| count).sum());
    context.budget.note_claimed(&claim.deliveries);
    context.expiring_windows.note(&claim.deliveries, &context.parts.routes.current(), now.service);
    for (mapping_id, due_at) in &claim.next_due {
        context.note_due(*mapping_id, *due_at);
    }
    let claimed: HashSet<_> = claim.deliveries.iter().map(|it| it.mapping_id).collect();
    scheduler::enqueue(context, claim.deliveries, false);
    context.note_next_due(&mapping_ids, &claim.next_due.into_iter().collect());
    for mapping_id in mapping_ids {
        if let Some(limiter) = context.limiter(mapping_id) {
            limiter.claim_ended(mapping_id, claimed.contains(&mapping_id));
            scheduler::start_requests(context, &limiter);
        }
    }
    Ok(())
}

/// After a failed claim, what was due is still due.
fn claim_failed(context: &Context, mapping_id: MappingId, now: ServiceTime) {
    if let Some(limiter) = context.limiter(mapping_id) {
        limiter.claim_ended(mapping_id, false);
        limiter.note_due(mapping_id, now);
    }
}

/// Counts dead letters that ended without an attempt.
pub(super) fn count_dead(context: &Context, reason: Reason, count: u64) {
    if count > 0 {
        let reason = reason.as_str();
        let label = crate::telemetry::metrics::Reason { reason };
        context.parts.metrics.dead_letters.get_or_create(&label).inc_by(count);
        context.recorded.send_modify(|commits| *commits += 1);
    }
}

fn want(route: &MappingRoute, limit: u32) -> ClaimWant {
    ClaimWant {
        mapping_id: route.id,
        limit,
        lease: route.lease(),
        resumed_deadline_at: route.resumed_deadline_at(),
        as_owner: false,
        is_probe: false,
    }
}

/// Makes dead letters of attempted deliveries past their deadline, for every mapping that delivers.
pub(super) async fn settle_overdue(context: &Context) -> Result<u64, StoreError> {
    let routes = context.parts.routes.current();
    let delivering = routes.mappings().filter(|it| it.delivers());
    let wants: Vec<_> = delivering.map(|it| want(it, OVERDUE_STEP)).collect();
    let mut sum = 0;
    while !context.stopping.is_cancelled() {
        let (node_id, now) = (context.parts.node_id, context.parts.clock.moment());
        let request = ClaimRequest { node_id, now, wants: wants.clone() };
        let settled = context.parts.store.bury_overdue(request).await?;
        count_dead(context, Reason::Deadline, settled);
        sum += settled;
        if settled < u64::from(OVERDUE_STEP) {
            break;
        }
    }
    Ok(sum)
}
