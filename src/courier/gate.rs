//! The gate of one destination: what waits in memory for it, how many requests are under way, and
//! when the next may start. Each of its mappings has a lane; lanes take turns, so that a slow one
//! cannot keep the others waiting. No I/O: the caller sends what the gate lets through.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::circuit::{Admission, Circuit, Verdict};
use crate::clock::Timestamp;
use crate::domain::destination::DestinationSettings;
use crate::domain::id::MappingId;
use crate::store::{LeaseRef, LeasedDelivery};

/// Leased deliveries one mapping may have waiting in memory.
pub(super) const LANE_CAPACITY: u32 = 1_024;
/// Below so many waiting, the lane is filled from the store again.
const LOW_WATER: usize = 256;
/// Requests may start this much ahead of their even spacing: timers are no finer.
const RATE_SLACK: Duration = Duration::from_millis(10);

/// What the gate lets through.
#[derive(Debug)]
pub(super) enum Turn {
    /// Send this one now; then `finish` it.
    Start(LeasedDelivery),
    /// The rate allows the next one at this time.
    NotBefore(Timestamp),
    /// Nothing waits, or no more may be under way.
    Nothing,
}

/// What a lane could take from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    /// So many due deliveries, now.
    Now(u32),
    /// Something at this time.
    At(Timestamp),
    /// Nothing before something else happens.
    None,
}

#[derive(Debug)]
pub(super) struct Gate {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    max_in_flight: u32,
    spacing: Option<Duration>,
    in_flight: u32,
    next_start_at: Timestamp,
    lanes: Vec<Lane>,
    turn: usize,
}

#[derive(Debug)]
struct Lane {
    mapping_id: MappingId,
    enabled: bool,
    waiting: VecDeque<LeasedDelivery>,
    reserved: u32,
    running: u32,
    circuit: Circuit,
    next_due: Option<Timestamp>,
}

impl Lane {
    fn new(mapping_id: MappingId) -> Self {
        Self {
            mapping_id,
            enabled: true,
            waiting: VecDeque::new(),
            reserved: 0,
            running: 0,
            circuit: Circuit::default(),
            next_due: None,
        }
    }

    fn room(&self) -> u32 {
        let taken = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        LANE_CAPACITY.saturating_sub(taken.saturating_add(self.reserved))
    }

    fn demand(&self, now: Timestamp) -> Demand {
        let Some(due) = self.next_due.filter(|_| self.enabled) else { return Demand::None };
        match self.circuit.admission(now) {
            Admission::Freely if due > now => Demand::At(due),
            Admission::Freely if self.waiting.len() > LOW_WATER => Demand::None,
            Admission::Freely => match self.room() {
                0 => Demand::None,
                room => Demand::Now(room),
            },
            Admission::Probe if due > now => Demand::At(due),
            Admission::Probe => Demand::Now(1),
            Admission::NotBefore(at) => Demand::At(at.max(due)),
            Admission::Probing => Demand::None,
        }
    }

    fn give_up_waiting(&mut self) -> Vec<LeaseRef> {
        let leases = self.waiting.drain(..);
        leases.map(|it| LeaseRef { delivery_id: it.id, token: it.token }).collect()
    }
}

impl Gate {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                max_in_flight: 1,
                spacing: None,
                in_flight: 0,
                next_start_at: Timestamp::default(),
                lanes: Vec::new(),
                turn: 0,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the destination's limits and the mappings that are enabled now. Returns the leases that
    /// lanes no longer enabled had waiting.
    pub(super) fn set_up(
        &self,
        settings: &DestinationSettings,
        enabled: &[MappingId],
    ) -> Vec<LeaseRef> {
        let mut state = self.state();
        state.max_in_flight = settings.max_in_flight;
        state.spacing = settings.rate_per_second.map(|rate| Duration::from_secs(1) / rate);
        let mut given_up = Vec::new();
        for lane in &mut state.lanes {
            lane.enabled = enabled.contains(&lane.mapping_id);
            if !lane.enabled {
                given_up.append(&mut lane.give_up_waiting());
            }
        }
        for mapping_id in enabled {
            if !state.lanes.iter().any(|lane| lane.mapping_id == *mapping_id) {
                state.lanes.push(Lane::new(*mapping_id));
            }
        }
        given_up
    }

    /// Takes room for up to `count` deliveries that are about to be committed as leased.
    pub(super) fn reserve(&self, mapping_id: MappingId, count: u32) -> u32 {
        let mut state = self.state();
        let Some(lane) = state.lane(mapping_id) else { return 0 };
        if !lane.enabled || lane.circuit.is_open() {
            return 0;
        }
        let granted = count.min(lane.room());
        lane.reserved += granted;
        granted
    }

    /// Gives room back that was not used.
    pub(super) fn give_back(&self, mapping_id: MappingId, count: u32) {
        if let Some(lane) = self.state().lane(mapping_id) {
            lane.reserved = lane.reserved.saturating_sub(count);
        }
    }

    /// Takes a delivery whose lease is ours, into the room it had `reserved` if it had. Returns its
    /// lease when the lane cannot send it: its circuit has opened or it was disabled meanwhile.
    pub(super) fn push(&self, delivery: LeasedDelivery, reserved: bool) -> Option<LeaseRef> {
        let mut state = self.state();
        let lease = LeaseRef { delivery_id: delivery.id, token: delivery.token };
        let Some(lane) = state.lane(delivery.mapping_id) else { return Some(lease) };
        lane.reserved -= u32::from(reserved && lane.reserved > 0);
        let probe = lane.circuit.is_open() && !reserved;
        if lane.enabled && (probe || !lane.circuit.is_open()) {
            lane.waiting.push_back(delivery);
            None
        } else {
            Some(lease)
        }
    }

    /// The next delivery to send, lanes in turn.
    pub(super) fn next(&self, now: Timestamp) -> Turn {
        let mut state = self.state();
        if state.in_flight >= state.max_in_flight {
            return Turn::Nothing;
        }
        let Some(at) = state.lane_in_turn() else { return Turn::Nothing };
        if let Some(spacing) = state.spacing {
            let earliest = state.next_start_at - RATE_SLACK;
            if earliest > now {
                return Turn::NotBefore(earliest);
            }
            state.next_start_at = state.next_start_at.max(now) + spacing;
        }
        let lanes = state.lanes.len();
        let lane = &mut state.lanes[at];
        let Some(delivery) = lane.waiting.pop_front() else { return Turn::Nothing };
        lane.running += 1;
        state.in_flight += 1;
        state.turn = (at + 1) % lanes;
        Turn::Start(delivery)
    }

    /// Ends what `next` started. Returns the leases to be given up when the circuit opened, and
    /// whether the lane should be looked at for more.
    pub(super) fn finish(
        &self,
        mapping_id: MappingId,
        verdict: Verdict,
        now: Timestamp,
    ) -> Finished {
        let mut state = self.state();
        state.in_flight = state.in_flight.saturating_sub(1);
        let Some(lane) = state.lane(mapping_id) else { return Finished::default() };
        lane.running = lane.running.saturating_sub(1);
        let turned = lane.circuit.learn(verdict, now);
        let opened = turned && lane.circuit.is_open();
        Finished {
            given_up: if opened { lane.give_up_waiting() } else { Vec::new() },
            opened,
            closed: turned && !opened,
            wants_more: lane.waiting.len() <= LOW_WATER && lane.next_due.is_some(),
        }
    }

    /// Something of this mapping is due at this time.
    pub(super) fn note_due(&self, mapping_id: MappingId, due_at: Timestamp) {
        if let Some(lane) = self.state().lane(mapping_id) {
            lane.next_due = Some(lane.next_due.map_or(due_at, |known| known.min(due_at)));
        }
    }

    /// Every lane's demand. A lane whose demand is taken now forgets its due time: the claim's answer
    /// brings the next one, and what is noted meanwhile is not overwritten by that answer.
    pub(super) fn demands(&self, now: Timestamp) -> Vec<(MappingId, Demand)> {
        let mut state = self.state();
        let demands = state.lanes.iter_mut().map(|lane| {
            let demand = lane.demand(now);
            if matches!(demand, Demand::Now(_)) {
                lane.next_due = None;
                lane.circuit.set_probing(true);
            }
            (lane.mapping_id, demand)
        });
        demands.filter(|(_, demand)| *demand != Demand::None).collect()
    }

    /// A claim for this lane gave nothing: a probe, if it was one, did not start.
    pub(super) fn claimed_nothing(&self, mapping_id: MappingId) {
        if let Some(lane) = self.state().lane(mapping_id) {
            lane.circuit.set_probing(false);
        }
    }

    /// Moves times by a jump of the clock.
    pub(super) fn shift(&self, micros: i64) {
        let mut state = self.state();
        state.next_start_at = state.next_start_at.shifted(micros);
        for lane in &mut state.lanes {
            lane.circuit.shift(micros);
            lane.next_due = lane.next_due.map(|at| at.shifted(micros));
            for delivery in &mut lane.waiting {
                delivery.deadline_at = delivery.deadline_at.shifted(micros);
                delivery.lease_expires_at = delivery.lease_expires_at.shifted(micros);
            }
        }
    }

    /// Empties every lane; for a process that stops.
    pub(super) fn give_up_all(&self) -> Vec<LeaseRef> {
        self.state().lanes.iter_mut().flat_map(Lane::give_up_waiting).collect()
    }

    /// The mappings whose circuit is open, each with the time it opened.
    pub(super) fn open_circuits(&self) -> Vec<(MappingId, Timestamp)> {
        let state = self.state();
        let open = |lane: &Lane| Some((lane.mapping_id, lane.circuit.opened_at()?));
        state.lanes.iter().filter_map(open).collect()
    }

    /// The earliest due time any enabled lane knows of.
    pub(super) fn oldest_due(&self) -> Option<Timestamp> {
        self.state().lanes.iter().filter(|it| it.enabled).filter_map(|it| it.next_due).min()
    }

    /// Requests under way.
    pub(super) fn in_flight(&self) -> u32 {
        self.state().in_flight
    }
}

/// What follows from an attempt's end.
#[derive(Debug, Default)]
pub(super) struct Finished {
    pub(super) given_up: Vec<LeaseRef>,
    pub(super) opened: bool,
    pub(super) closed: bool,
    pub(super) wants_more: bool,
}

impl State {
    fn lane(&mut self, mapping_id: MappingId) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|lane| lane.mapping_id == mapping_id)
    }

    /// The next lane in turn that has something waiting and may have one more under way: one place
    /// is kept for each of the other lanes, as far as the limit goes.
    fn lane_in_turn(&self) -> Option<usize> {
        let lanes = self.lanes.len();
        let others = u32::try_from(lanes.saturating_sub(1)).unwrap_or(u32::MAX);
        let share = self.max_in_flight.saturating_sub(others).max(1);
        (0..lanes)
            .map(|step| (self.turn + step) % lanes)
            .find(|at| !self.lanes[*at].waiting.is_empty() && self.lanes[*at].running < share)
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
