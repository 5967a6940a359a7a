//! The gate of one destination: what waits in memory for it, how many requests are under way, and
//! when the next may start. Each of its mappings has a lane; lanes take turns, so that a slow one
//! cannot keep the others waiting. No I/O: the caller sends what the gate lets through.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::batch::Pack;
use super::circuit_breaker::Verdict;
use super::memory_budget::{Held, Share};
use super::queue::{Demand, Lane, Load, Ready, lease_of};
use crate::domain::clock::Timestamp;
use crate::domain::destination::DestinationSettings;
use crate::domain::id::MappingId;
use crate::domain::mapping::Batching;
use crate::store::{LeaseRef, LeasedDelivery};

/// Requests may start this much ahead of their even spacing: timers are no finer.
const RATE_SLACK: Duration = Duration::from_millis(10);

/// What the gate lets through.
#[derive(Debug)]
pub(super) enum Turn {
    /// Send this in one request, now; then `finish` it.
    Start {
        /// Deliveries of this mapping.
        mapping_id: MappingId,
        /// Which.
        load: Load,
        /// What it takes of the memory, until it is done.
        share: Share,
        /// Whether more of the mapping is due and should be claimed meanwhile.
        wants_more: bool,
    },
    /// Ask again at this time; nobody else was told to.
    NotBefore(Timestamp),
    /// Nothing is to be sent before something else happens.
    Nothing,
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
    held: Held,
    turn: usize,
    /// When somebody will ask again.
    wake_at: Option<Timestamp>,
}

impl Gate {
    /// `held` counts what waits in the lanes of all gates.
    pub(super) fn new(held: Held) -> Self {
        Self {
            state: Mutex::new(State {
                held,
                max_in_flight: 1,
                spacing: None,
                in_flight: 0,
                next_start_at: Timestamp::default(),
                lanes: Vec::new(),
                turn: 0,
                wake_at: None,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the destination's limits and the mappings that are enabled now, each with how its events
    /// share requests. Returns the leases that lanes no longer enabled had waiting.
    pub(super) fn set_up(
        &self,
        settings: &DestinationSettings,
        enabled: &[(MappingId, Option<Batching>)],
    ) -> Vec<LeaseRef> {
        let mut state = self.state();
        state.max_in_flight = settings.max_in_flight;
        state.spacing = settings.rate_per_second.map(|rate| Duration::from_secs(1) / rate);
        let mut given_up = Vec::new();
        for lane in &mut state.lanes {
            lane.enabled = enabled.iter().any(|(mapping_id, _)| *mapping_id == lane.mapping_id);
            if !lane.enabled {
                given_up.append(&mut lane.give_up_waiting());
            }
        }
        for (mapping_id, batching) in enabled {
            if state.lane(*mapping_id).is_none() {
                let held = state.held.clone();
                state.lanes.push(Lane::new(*mapping_id, held));
            }
            if let Some(lane) = state.lane(*mapping_id) {
                lane.batching = *batching;
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
    pub(super) fn push(
        &self,
        delivery: LeasedDelivery,
        reserved: bool,
        now: Timestamp,
    ) -> Option<LeaseRef> {
        let mut state = self.state();
        let lease = lease_of(&delivery);
        let Some(lane) = state.lane(delivery.mapping_id) else { return Some(lease) };
        lane.reserved -= u32::from(reserved && lane.reserved > 0);
        let probe = lane.circuit.is_open() && !reserved;
        if lane.enabled && (probe || !lane.circuit.is_open()) {
            lane.push(delivery, !reserved, now);
            None
        } else {
            Some(lease)
        }
    }

    /// Takes what goes in requests of its own, before all else of the mapping. Returns the leases when
    /// the lane cannot send it.
    pub(super) fn push_packs(&self, mapping_id: MappingId, packs: Vec<Pack>) -> Vec<LeaseRef> {
        let mut state = self.state();
        match state.lane(mapping_id) {
            Some(lane) if lane.enabled && !lane.circuit.is_open() => {
                lane.push_packs(packs);
                Vec::new()
            }
            Some(_) | None => {
                let deliveries = packs.into_iter().flat_map(Pack::into_deliveries);
                deliveries.map(|it| lease_of(&it)).collect()
            }
        }
    }

    /// The next load to send, lanes in turn.
    pub(super) fn next(&self, now: Timestamp) -> Turn {
        let mut state = self.state();
        if state.in_flight >= state.max_in_flight {
            return Turn::Nothing;
        }
        let at = match state.lane_in_turn(now) {
            Ok(at) => at,
            Err(until) => return state.wait(until),
        };
        if let Some(spacing) = state.spacing {
            let earliest = state.next_start_at - RATE_SLACK;
            if earliest > now {
                return state.wait(Some(earliest));
            }
            state.next_start_at = state.next_start_at.max(now) + spacing;
        }
        let lanes = state.lanes.len();
        let lane = &mut state.lanes[at];
        let Some((load, share)) = lane.take() else { return Turn::Nothing };
        lane.running += 1;
        let (mapping_id, wants_more) = (lane.mapping_id, lane.wants_next(now));
        state.in_flight += 1;
        state.turn = (at + 1) % lanes;
        Turn::Start { mapping_id, load, share, wants_more }
    }

    /// Somebody asks again, as `next` had told.
    pub(super) fn woken(&self) {
        self.state().wake_at = None;
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
            wants_more: lane.is_low() && lane.next_due.is_some(),
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
                lane.claiming = true;
                lane.circuit.set_probing(true);
            }
            (lane.mapping_id, demand)
        });
        demands.filter(|(_, demand)| *demand != Demand::None).collect()
    }

    /// A claim for this lane has ended. When it gave nothing, a probe, if it was one, did not start.
    pub(super) fn claim_ended(&self, mapping_id: MappingId, has_given: bool) {
        if let Some(lane) = self.state().lane(mapping_id) {
            lane.claiming = false;
            if !has_given {
                lane.circuit.set_probing(false);
            }
        }
    }

    /// Moves times by a jump of the clock; whoever waits is to ask again.
    pub(super) fn shift(&self, micros: i64) {
        let mut state = self.state();
        state.next_start_at = state.next_start_at.shifted(micros);
        state.wake_at = None;
        state.lanes.iter_mut().for_each(|lane| lane.shift(micros));
    }

    /// Takes out what waits under a lease that ends before `until`.
    pub(super) fn give_up_expiring(&self, until: Timestamp) -> Vec<LeaseRef> {
        self.state().lanes.iter_mut().flat_map(|lane| lane.give_up_expiring(until)).collect()
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

    /// The next lane in turn that has something to send and may have one more under way: one place
    /// is kept for each of the other lanes, as far as the limit goes. Without one, when the first of
    /// them will have.
    fn lane_in_turn(&self, now: Timestamp) -> Result<usize, Option<Timestamp>> {
        let lanes = self.lanes.len();
        let others = u32::try_from(lanes.saturating_sub(1)).unwrap_or(u32::MAX);
        let share = self.max_in_flight.saturating_sub(others).max(1);
        let mut first: Option<Timestamp> = None;
        for at in (0..lanes).map(|step| (self.turn + step) % lanes) {
            let lane = &self.lanes[at];
            match lane.ready(now) {
                Ready::Now if lane.running < share => return Ok(at),
                Ready::Now | Ready::Not => {}
                Ready::At(at) => first = Some(first.map_or(at, |known| known.min(at))),
            }
        }
        Err(first)
    }

    /// Nothing before `until`: one asker is told to come back then, or earlier if told before.
    fn wait(&mut self, until: Option<Timestamp>) -> Turn {
        match until {
            Some(until) if self.wake_at.is_none_or(|known| known > until) => {
                self.wake_at = Some(until);
                Turn::NotBefore(until)
            }
            Some(_) | None => Turn::Nothing,
        }
    }
}

#[cfg(test)]
#[path = "limiter_tests.rs"]
mod tests;
