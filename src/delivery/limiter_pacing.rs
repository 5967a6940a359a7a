//! What holds a limiter's requests back beside its limits: a stop, a receiver that asks to wait, a drain.

use super::limiter::Limiter;
use super::queue::MappingQueue;
use crate::domain::id::MappingId;
use crate::domain::pause::PauseTarget;
use crate::domain::service_time::ServiceTime;
use crate::store::LeaseRef;

impl Limiter {
    /// Stops a mapping until it is configured again, as its receiver is gone. Returns the leases in its queue.
    pub(super) fn stop(&self, mapping_id: MappingId) -> Vec<LeaseRef> {
        let mut state = self.state();
        let Some(queue) = state.queue(mapping_id) else { return Vec::new() };
        queue.enabled = false;
        queue.drain()
    }

    /// The receiver of this mapping asks for no request until a time: none is admitted to it, whichever of
    /// the destination's mappings it is of. Returns these mappings, where the wait is to be stored.
    pub(super) fn wait_until(&self, mapping_id: MappingId, until: ServiceTime) -> Vec<MappingId> {
        let mut state = self.state();
        let Some(queue) = state.queue(mapping_id) else { return Vec::new() };
        let receiver = queue.receiver.clone();
        if !state.waits.extend(receiver.clone(), until) {
            return Vec::new();
        }
        let concerned = state.queues.iter().filter(|it| it.receiver == receiver);
        concerned.map(|it| it.mapping_id).collect()
    }

    /// Ends the waits of these mappings; returns whether there was one.
    pub(super) fn end_waits(&self, mappings: &[MappingId]) -> bool {
        let mut state = self.state();
        let state = &mut *state;
        let concerned = state.queues.iter().filter(|it| mappings.contains(&it.mapping_id));
        let receivers: Vec<_> = concerned.map(|it| it.receiver.clone()).collect();
        state.timer_at = None;
        receivers.iter().fold(false, |had, receiver| state.waits.end(receiver) | had)
    }

    /// The mappings whose receiver asked for no request, each with until when.
    pub(super) fn receiver_waits(&self, now: ServiceTime) -> Vec<(MappingId, ServiceTime)> {
        let state = self.state();
        let waiting = |it: &MappingQueue| {
            Some((it.mapping_id, state.waits.until(&it.receiver, now)?)).filter(|_| it.enabled)
        };
        state.queues.iter().filter_map(waiting).collect()
    }

    /// Notes when the next delivery of a mapping in the store is due; none: there is none.
    pub(super) fn note_next_due(&self, mapping_id: MappingId, due_at: Option<ServiceTime>) {
        let mut state = self.state();
        if let Some(queue) = state.queue(mapping_id) {
            queue.note_next_due(due_at);
        }
        state.end_drains();
    }

    /// The drains that have ended since the last call, each with when it began.
    pub(super) fn take_drained(&self) -> Vec<(PauseTarget, ServiceTime)> {
        std::mem::take(&mut self.state().drained)
    }
}
