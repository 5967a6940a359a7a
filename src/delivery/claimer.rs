//! Claiming: due deliveries are leased for the lanes that have room, each lane on its own, so that a
//! long backlog of one never stands before another's. The loop sleeps until the earliest due time it
//! knows of, and is woken when there may be an earlier one.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::queue::Demand;
use crate::domain::clock::Timestamp;
use crate::domain::id::MappingId;
use crate::routing::MappingRoute;
use crate::store::{ClaimRequest, ClaimWant, StoreError};

/// Deliveries claimed for one lane at once.
const AT_ONCE: u32 = 256;
/// The same where they share requests.
const AT_ONCE_TO_BATCH: u32 = 1_024;
/// The wait after a claim that failed.
const TRY_AGAIN: Duration = Duration::from_millis(250);

/// Claims until the dispatcher stops.
pub(super) async fn run(shared: Arc<Shared>) {
    while !shared.stopping.is_cancelled() {
        let Some(schedule) = shared.schedule.go_by().await else {
            tokio::select! {
                () = shared.claim_wanted.notified() => {}
                () = shared.stopping.cancelled() => {}
            }
            continue;
        };
        let now = shared.parts.clock.now();
        let (wants, wake_at) = shared.demands(now);
        let claimed =
            if wants.is_empty() { None } else { Some(shared.claim(now, wants.clone()).await) };
        drop(schedule);
        match claimed {
            Some(Ok(())) => {}
            Some(Err(StoreError::Closed)) => return,
            Some(Err(error)) => {
                tracing::error!(%error, "due deliveries could not be claimed; trying again");
                for want in wants {
                    shared.unclaimed(want.mapping_id, now);
                }
                tokio::select! {
                    () = tokio::time::sleep(TRY_AGAIN) => {}
                    () = shared.stopping.cancelled() => {}
                }
            }
            None => tokio::select! {
                () = shared.claim_wanted.notified() => {}
                () = sleep_until(&shared, wake_at) => {}
                () = shared.stopping.cancelled() => {}
            },
        }
    }
}

async fn sleep_until(shared: &Shared, at: Option<Timestamp>) {
    match at {
        Some(at) => shared.parts.clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Shared {
    /// What every lane wants now, and when the first of the others will want something.
    fn demands(&self, now: Timestamp) -> (Vec<ClaimWant>, Option<Timestamp>) {
        let routes = self.parts.routes.current();
        let mut wants = Vec::new();
        let mut wake_at: Option<Timestamp> = None;
        for gate in self.gates().by_destination.values() {
            for (mapping_id, demand) in gate.demands(now) {
                match demand {
                    Demand::Now(room) => {
                        let route = routes.mapping(mapping_id);
                        wants.extend(route.map(|it| want(it, room.min(at_once(it)))));
                    }
                    Demand::At(at) => wake_at = Some(wake_at.map_or(at, |other| other.min(at))),
                    Demand::None => {}
                }
            }
        }
        (wants, wake_at)
    }

    async fn claim(
        self: &Arc<Self>,
        now: Timestamp,
        wants: Vec<ClaimWant>,
    ) -> Result<(), StoreError> {
        let asked: Vec<_> = wants.iter().map(|want| want.mapping_id).collect();
        let node_id = self.parts.node_id;
        let claim = self.parts.store.claim_due(ClaimRequest { node_id, now, wants }).await?;
        for (mapping_id, count) in claim.overdue {
            self.count_overdue(mapping_id, count);
        }
        self.note_closing(&claim.deliveries, now);
        for (mapping_id, due_at) in claim.next_due {
            self.note_due(mapping_id, due_at);
        }
        let given: HashSet<_> = claim.deliveries.iter().map(|it| it.mapping_id).collect();
        self.take(claim.deliveries, false);
        for mapping_id in asked {
            if let Some(gate) = self.gate(mapping_id) {
                gate.claim_ended(mapping_id, given.contains(&mapping_id));
                self.pump(&gate);
            }
        }
        Ok(())
    }

    /// A claim failed: what was due still is.
    fn unclaimed(&self, mapping_id: MappingId, now: Timestamp) {
        if let Some(gate) = self.gate(mapping_id) {
            gate.claim_ended(mapping_id, false);
            gate.note_due(mapping_id, now);
        }
    }

    fn count_overdue(&self, mapping_id: MappingId, count: u64) {
        if count > 0 {
            self.minutes.died(mapping_id, self.parts.clock.now(), count);
            let reason = crate::domain::delivery::Reason::Deadline.as_str();
            let label = crate::telemetry::metrics::Reason { reason };
            self.parts.metrics.dead_letters.get_or_create(&label).inc_by(count);
            self.recorded.send_modify(|commits| *commits += 1);
        }
    }
}

fn at_once(route: &MappingRoute) -> u32 {
    if route.batching.is_some() { AT_ONCE_TO_BATCH } else { AT_ONCE }
}

fn want(route: &MappingRoute, limit: u32) -> ClaimWant {
    ClaimWant {
        mapping_id: route.id,
        limit,
        lease: route.lease(),
        resumed_deadline_at: route.resumed_deadline_at(),
    }
}

/// Makes dead letters of what was tried in vain until its deadline, for every mapping that delivers.
pub(super) async fn settle_overdue(shared: &Arc<Shared>) -> Result<u64, StoreError> {
    let routes = shared.parts.routes.current();
    let delivering = routes.mappings().filter(|it| it.delivers());
    let wants: Vec<_> = delivering.map(|it| want(it, u32::MAX)).collect();
    let mut sum = 0;
    for want in wants {
        let (mapping_id, now) = (want.mapping_id, shared.parts.clock.now());
        let request = ClaimRequest { node_id: shared.parts.node_id, now, wants: vec![want] };
        let settled = shared.parts.store.settle_overdue(request).await?;
        shared.count_overdue(mapping_id, settled);
        sum += settled;
    }
    Ok(sum)
}
