//! The exchange with the other nodes through the store: owns destinations with limits, stores the circuits that
//! changed here, follows circuits and waits of other nodes. It runs only where nodes share a database.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::limiter::Limiter;
use super::ownership::{OWNERSHIP, OwnerWatch};
use super::scheduler;
use crate::domain::id::{DestinationId, MappingId};
use crate::store::{CircuitChanges, SharedState, StoreError};

/// How often the shared state is read: others see a change within a second.
const INTERVAL: Duration = Duration::from_millis(500);
/// How often the owner looks for what other nodes have accepted for its destinations.
const DUE_INTERVAL: Duration = Duration::from_millis(100);

/// Exchanges until the dispatcher stops.
pub(super) async fn run(context: Arc<Context>) {
    let mut watch = OwnerWatch::default();
    while !context.stopping.is_cancelled() {
        match exchange(&context, &mut watch).await {
            // What was taken over is renewed at once.
            Ok(Exchanged::TookOver) => continue,
            Ok(Exchanged::Followed) => {}
            Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::warn!(%error, "what nodes share could not be exchanged; retrying");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = context.unshared.wanted.notified() => {}
            () = context.stopping.cancelled() => {}
        }
    }
}

/// Looks for what other nodes have accepted for the destinations that this node owns.
pub(super) async fn follow_due(context: Arc<Context>) {
    while !context.stopping.is_cancelled() {
        let owned = context.unshared.owned();
        if !owned.is_empty()
            && let Ok(due) = context.parts.store.next_due(&owned).await
            && !due.is_empty()
        {
            due.iter().for_each(|(mapping_id, due_at)| context.note_due(*mapping_id, *due_at));
            context.claim_wanted.notify_one();
        }
        tokio::select! {
            () = tokio::time::sleep(DUE_INTERVAL) => {}
            () = context.stopping.cancelled() => {}
        }
    }
}

/// Releases what this node owns: nothing of it is in flight any more.
pub(super) async fn release(context: &Context) {
    let owned: Vec<DestinationId> = limited(context).iter().map(|(_, id, _)| *id).collect();
    if owned.is_empty() {
        return;
    }
    if let Err(error) = context.parts.store.release_owners(context.parts.node_id, owned).await {
        tracing::warn!(%error, "destinations were not released: others take over later");
    }
}

enum Exchanged {
    TookOver,
    Followed,
}

async fn exchange(context: &Arc<Context>, watch: &mut OwnerWatch) -> Result<Exchanged, StoreError> {
    store_circuits(context).await?;
    let waits_stored = context.unshared.waits_stored();
    let state = context.parts.store.shared_state().await?;
    let read_at = context.parts.clock.uptime();
    follow_circuits(context, &state);
    if waits_stored.is_some() && waits_stored == context.unshared.waits_stored() {
        follow_waits(context, &state);
    }
    let limited = limited(context);
    renew(context, &state, &limited).await?;
    let ids: Vec<_> = limited.iter().map(|(_, id, attempt)| (*id, *attempt)).collect();
    let node_id = context.parts.node_id;
    let takeovers = watch.takeovers(&state, (node_id, &ids), read_at);
    if takeovers.is_empty() {
        return Ok(Exchanged::Followed);
    }
    let wanted: HashSet<_> = takeovers.iter().map(|it| it.destination_id).collect();
    context.parts.store.take_over(node_id, takeovers).await?;
    let owners = context.parts.store.shared_state().await?.owners;
    let is_taken =
        owners.iter().any(|it| it.node_id == Some(node_id) && wanted.contains(&it.destination_id));
    Ok(if is_taken { Exchanged::TookOver } else { Exchanged::Followed })
}

/// Limiters whose limits hold over all nodes, each with its destination and the most that a request takes.
fn limited(context: &Context) -> Vec<(Arc<Limiter>, DestinationId, Duration)> {
    let limiters = context.limiters().into_iter();
    let limited = limiters.filter_map(|it| it.shared_limits().map(|(id, span)| (it, id, span)));
    limited.collect()
}

/// Renews what this node owns. The right to start requests lasts from before the renewal was sent.
async fn renew(
    context: &Arc<Context>,
    state: &SharedState,
    limited: &[(Arc<Limiter>, DestinationId, Duration)],
) -> Result<(), StoreError> {
    let node_id = context.parts.node_id;
    let owned: HashSet<DestinationId> = state
        .owners
        .iter()
        .filter(|it| it.node_id == Some(node_id))
        .map(|it| it.destination_id)
        .collect();
    let needed: Vec<_> = limited.iter().filter(|(_, id, _)| owned.contains(id)).collect();
    let sent_at = context.parts.clock.uptime();
    let renewed: HashSet<DestinationId> = if needed.is_empty() {
        HashSet::new()
    } else {
        let needed = needed.iter().map(|(_, id, attempt)| (*id, *attempt)).collect();
        context.parts.store.renew_owners(node_id, needed).await?.into_iter().collect()
    };
    let mut lost = Vec::new();
    let mut mappings = Vec::new();
    for (limiter, destination_id, _) in limited {
        if !renewed.contains(destination_id) {
            lost.append(&mut limiter.lose());
            continue;
        }
        mappings.append(&mut limiter.mappings());
        let clock = &context.parts.clock;
        if limiter.own_until(sent_at + OWNERSHIP, clock.uptime(), clock.service_now()) {
            tracing::info!(destination_id = destination_id.0, "this node sends to the destination");
            scheduler::start_requests(context, limiter);
            context.refresh().await?;
        }
    }
    context.unshared.set_owned(if state.nodes > 1 { mappings } else { Vec::new() });
    context.release_in_background(lost);
    let unlimited: Vec<_> = owned
        .into_iter()
        .filter(|id| limited.iter().all(|(_, limited, _)| limited != id))
        .collect();
    if !unlimited.is_empty() {
        context.parts.store.release_owners(node_id, unlimited).await?;
    }
    Ok(())
}

/// Stores the circuits that have changed here.
async fn store_circuits(context: &Context) -> Result<(), StoreError> {
    let mappings = context.unshared.take_circuits();
    if mappings.is_empty() {
        return Ok(());
    }
    let mut changes = CircuitChanges::default();
    for mapping_id in &mappings {
        match context.limiter(*mapping_id).and_then(|it| it.circuit(*mapping_id)) {
            Some(circuit) => changes.open.push(circuit),
            None => changes.closed.push(*mapping_id),
        }
    }
    let stored = context.parts.store.put_circuits(changes).await;
    if stored.is_err() {
        context.unshared.put_back(mappings);
    }
    stored
}

fn follow_circuits(context: &Arc<Context>, state: &SharedState) {
    let circuits: HashMap<MappingId, _> =
        state.circuits.iter().map(|it| (it.mapping_id, *it)).collect();
    let changed_here = context.unshared.circuits();
    let mut drained = Vec::new();
    for limiter in context.limiters() {
        let mut followed = limiter.follow_circuits(&circuits, &changed_here);
        drained.append(&mut followed.drained);
        if !followed.changed.is_empty() {
            tracing::info!(mappings = ?followed.changed, "circuits changed on another node");
            scheduler::start_requests(context, &limiter);
            context.claim_wanted.notify_one();
        }
    }
    context.release_in_background(drained);
}

fn follow_waits(context: &Arc<Context>, state: &SharedState) {
    let waits: HashMap<MappingId, _> =
        state.waits.iter().map(|it| (it.mapping_id, it.until)).collect();
    let now = context.parts.clock.service_now();
    for limiter in context.limiters() {
        limiter.set_nodes(state.nodes);
        if limiter.follow_waits(&waits, now) {
            scheduler::start_requests(context, &limiter);
            context.claim_wanted.notify_one();
        }
    }
}
