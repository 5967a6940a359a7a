//! What a limiter shares with those of other nodes: the right to start requests where limits hold over all nodes,
//! circuits, and what receivers asked to wait for.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::limiter::Limiter;
use super::queue::MappingQueue;
use crate::domain::id::{DestinationId, MappingId};
use crate::domain::service_time::ServiceTime;
use crate::store::{LeaseRef, SharedCircuit};

/// The most deliveries of a drain that one request has, in time at the drain's rate.
const DRAIN_REQUEST: Duration = Duration::from_secs(2);

/// What following the circuits of other nodes changed.
#[derive(Debug, Default)]
pub(super) struct CircuitsFollowed {
    /// The leases in queues whose circuit opened; to be released.
    pub(super) drained: Vec<LeaseRef>,
    /// The mappings whose circuit opened or closed.
    pub(super) changed: Vec<MappingId>,
}

impl Limiter {
    /// Whether its limits hold over all nodes, with the most that a request takes. Returns the leases in its queues
    /// when this node may send no longer.
    pub(super) fn share_limits(&self, attempt: Option<Duration>) -> Vec<LeaseRef> {
        self.state().attempt = attempt;
        if attempt.is_none() {
            self.right.set_always();
            return Vec::new();
        }
        if self.right.is_always() { self.lose() } else { Vec::new() }
    }

    /// Its destination with the most that a request takes, where its limits hold over all nodes.
    pub(super) fn shared_limits(&self) -> Option<(DestinationId, Duration)> {
        let state = self.state();
        state.attempt.map(|attempt| (state.destination_id, attempt))
    }

    /// This node owns the destination until then. Returns whether it did not before: then no request starts
    /// before one of the owner before is as long ago as the rate requires.
    pub(super) fn own_until(&self, until: Duration, uptime: Duration, now: ServiceTime) -> bool {
        let mut state = self.state();
        let is_new = self.right.set_until(until) <= uptime;
        if is_new {
            if let Some(spacing) = state.spacing {
                state.next_start_at = state.next_start_at.max(now + spacing);
            }
            let drains = state.queues.iter_mut().filter_map(|it| it.draining.as_mut());
            drains.for_each(|it| it.begin_after(now + DRAIN_REQUEST));
            if let Some(draining) = &mut state.draining {
                draining.begin_after(now + DRAIN_REQUEST);
            }
            state.timer_at = None;
        }
        is_new
    }

    /// Another node owns the destination, or none. Returns the leases in the queues.
    pub(super) fn lose(&self) -> Vec<LeaseRef> {
        let mut state = self.state();
        self.right.set_until(Duration::ZERO);
        state.queues.iter_mut().flat_map(MappingQueue::drain).collect()
    }

    /// Its mappings that deliver.
    pub(super) fn mappings(&self) -> Vec<MappingId> {
        self.state().queues.iter().filter(|it| it.enabled).map(|it| it.mapping_id).collect()
    }

    /// So many nodes share the rate after a wait.
    pub(super) fn set_nodes(&self, nodes: u32) {
        self.state().waits.set_nodes(nodes);
    }

    /// The circuit of a mapping, if it is open.
    pub(super) fn circuit(&self, mapping_id: MappingId) -> Option<SharedCircuit> {
        self.state().queue(mapping_id).and_then(|queue| queue.breaker.circuit(mapping_id))
    }

    /// Follows the circuits as stored, but for mappings whose circuit this node has changed since.
    pub(super) fn follow_circuits(
        &self,
        circuits: &HashMap<MappingId, SharedCircuit>,
        changed_here: &HashSet<MappingId>,
    ) -> CircuitsFollowed {
        let mut state = self.state();
        let mut followed = CircuitsFollowed::default();
        for queue in &mut state.queues {
            if changed_here.contains(&queue.mapping_id) {
                continue;
            }
            let circuit = circuits.get(&queue.mapping_id);
            if queue.breaker.follow(circuit) {
                followed.changed.push(queue.mapping_id);
                if circuit.is_some() {
                    followed.drained.append(&mut queue.drain());
                }
            }
        }
        followed
    }

    /// Follows what receivers asked to wait for, as stored by mapping. Returns whether a wait has ended.
    pub(super) fn follow_waits(
        &self,
        waits: &HashMap<MappingId, ServiceTime>,
        now: ServiceTime,
    ) -> bool {
        let mut state = self.state();
        let state = &mut *state;
        let mut waiting = HashSet::new();
        for queue in &state.queues {
            if let Some(until) = waits.get(&queue.mapping_id).filter(|until| **until > now) {
                state.waits.extend(queue.receiver.clone(), *until);
                waiting.insert(queue.receiver.clone());
            }
        }
        let ended = state.waits.end_others(&waiting, now);
        if ended {
            state.timer_at = None;
        }
        ended
    }
}
