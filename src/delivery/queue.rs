//! The lane of one mapping: what of it waits in memory, when that may go, and what it could take from
//! the store. Where events share requests, those waiting gather here until there are enough, or the
//! first has waited long enough, or nothing more is due. No I/O and no clock: it is told the time.

use std::collections::VecDeque;

use super::batch::{Few, Pack};
use super::circuit_breaker::{Admission, Circuit};
use super::memory_budget::{Held, Left, Share, bytes_of, document_bytes};
use crate::domain::clock::Timestamp;
use crate::domain::id::MappingId;
use crate::domain::mapping::Batching;
use crate::store::{LeaseRef, LeasedDelivery};

/// Leased deliveries one mapping may have waiting in memory, its due; twice a batch where that is more.
pub(super) const LANE_CAPACITY: u32 = 1_024;
/// As many as it may have while there is spare memory: what goes through memory alone costs no second
/// write and read.
pub(super) const LANE_MOST: u32 = 4_096;
/// As many as it may have however much the others have.
pub(super) const LANE_LEAST: u32 = 64;
/// Below so many waiting, the lane is filled from the store again; below a batch where that is more.
const LOW_WATER: u32 = 256;
/// Bytes of events that may wait in one lane before it takes no more.
const LANE_BYTES: usize = 16 << 20;

/// What goes through a gate at once.
#[derive(Debug)]
pub(super) enum Load {
    /// Deliveries of one mapping, yet to be rendered.
    Waiting(Few<LeasedDelivery>),
    /// What was rendered together with others and goes in a request of its own.
    Packed(Box<Pack>),
}

impl Load {
    /// Its deliveries.
    pub(super) fn into_deliveries(self) -> Few<LeasedDelivery> {
        match self {
            Self::Waiting(deliveries) => deliveries,
            Self::Packed(pack) => pack.into_deliveries().collect(),
        }
    }
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

/// When a lane has something to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// Now.
    Now,
    /// At this time, unless more comes before.
    At(Timestamp),
    /// Not before something comes.
    Not,
}

#[derive(Debug)]
struct Waiting {
    delivery: LeasedDelivery,
    /// Of its document.
    bytes: usize,
    /// What it takes of the memory.
    held_bytes: usize,
    arrived_at: Timestamp,
    /// From the store: it has waited there.
    is_claimed: bool,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) mapping_id: MappingId,
    pub(super) enabled: bool,
    pub(super) batching: Option<Batching>,
    pub(super) reserved: u32,
    pub(super) running: u32,
    pub(super) circuit: Circuit,
    pub(super) next_due: Option<Timestamp>,
    /// A claim for it is under way.
    pub(super) claiming: bool,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    claimed: usize,
    packs: VecDeque<(Pack, Share)>,
    packed: usize,
    held: Held,
}

impl Lane {
    pub(super) fn new(mapping_id: MappingId, held: Held) -> Self {
        Self {
            held,
            mapping_id,
            enabled: true,
            batching: None,
            reserved: 0,
            running: 0,
            circuit: Circuit::default(),
            next_due: None,
            claiming: false,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            claimed: 0,
            packs: VecDeque::new(),
            packed: 0,
        }
    }

    /// Adds a delivery to those waiting.
    pub(super) fn push(&mut self, delivery: LeasedDelivery, is_claimed: bool, now: Timestamp) {
        let (bytes, held_bytes) = (document_bytes(&delivery), bytes_of(&delivery));
        self.waiting_bytes += bytes;
        self.claimed += usize::from(is_claimed);
        self.held.wait(held_bytes);
        let waiting = Waiting { delivery, bytes, held_bytes, arrived_at: now, is_claimed };
        self.waiting.push_back(waiting);
    }

    /// Adds what goes before all that waits, and before the packs that are there: the halves of a
    /// refused batch come down to the event that is at fault before their leases end, however many
    /// others are being halved.
    pub(super) fn push_packs(&mut self, packs: Vec<Pack>) {
        for pack in packs.into_iter().rev() {
            self.packed += pack.len();
            let bytes = pack.deliveries().map(|it| bytes_of(it) + document_bytes(it)).sum();
            self.packs.push_front((pack, self.held.share(bytes)));
        }
    }

    /// When it has something to send.
    pub(super) fn ready(&self, now: Timestamp) -> Ready {
        if !self.packs.is_empty() {
            return Ready::Now;
        }
        let Some(first) = self.waiting.front() else { return Ready::Not };
        let Some(batching) = self.batching.filter(|_| !self.circuit.is_open()) else {
            return Ready::Now;
        };
        // Where nothing is on its way in or out, nothing makes room for more.
        let is_stuck = || self.running == 0 && self.reserved == 0 && self.room() == 0;
        let is_full = self.waiting() >= batching.size
            || self.waiting_bytes >= Batching::BODY_BYTES
            || is_stuck();
        // What comes from the store has waited there: it goes when no more is to be had from it.
        let is_all = self.claimed > 0 && !self.claiming && !self.has_due(now);
        let until = first.arrived_at + batching.linger();
        if is_full || is_all || until <= now { Ready::Now } else { Ready::At(until) }
    }

    /// The next load.
    pub(super) fn take(&mut self) -> Option<(Load, Share)> {
        if let Some((pack, share)) = self.packs.pop_front() {
            self.packed = self.packed.saturating_sub(pack.len());
            return Some((Load::Packed(Box::new(pack)), share));
        }
        // An open circuit is probed with one.
        let most = self.batching.filter(|_| !self.circuit.is_open()).map_or(1, |it| it.size);
        let mut deliveries = Few::with_capacity(self.waiting.len().min(to_usize(most)));
        let (mut bytes, mut held_bytes) = (0, 0);
        while deliveries.len() < to_usize(most)
            && let Some(next) = self.waiting.pop_front_if(|next| {
                deliveries.is_empty() || bytes + next.bytes <= Batching::BODY_BYTES
            })
        {
            bytes += next.bytes;
            held_bytes += next.held_bytes;
            self.claimed -= usize::from(next.is_claimed);
            deliveries.push(next.delivery);
        }
        self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
        let mut share = self.held.take(deliveries.len(), held_bytes);
        if deliveries.len() > 1 {
            // Their array is a copy.
            share.grow(bytes);
        }
        if deliveries.is_empty() { None } else { Some((Load::Waiting(deliveries), share)) }
    }

    fn waiting(&self) -> u32 {
        u32::try_from(self.waiting.len()).unwrap_or(u32::MAX)
    }

    fn has_due(&self, now: Timestamp) -> bool {
        self.next_due.is_some_and(|due| due <= now)
    }

    fn batch_size(&self) -> u32 {
        self.batching.map_or(0, |it| it.size)
    }

    /// How many more deliveries it takes.
    pub(super) fn room(&self) -> u32 {
        if self.waiting_bytes >= LANE_BYTES {
            return 0;
        }
        let packed = u32::try_from(self.packed).unwrap_or(u32::MAX);
        let taken = self.waiting().saturating_add(packed).saturating_add(self.reserved);
        let batches = self.batch_size().saturating_mul(2);
        let most = match self.held.left() {
            Left::Spare => LANE_MOST.max(batches),
            Left::Due => LANE_CAPACITY.max(batches),
            Left::Least => LANE_LEAST,
        };
        most.saturating_sub(taken)
    }

    /// Whether it is to be filled from the store.
    pub(super) fn is_low(&self) -> bool {
        self.waiting() <= LOW_WATER.max(self.batch_size())
    }

    /// What it could take from the store.
    pub(super) fn demand(&self, now: Timestamp) -> Demand {
        let Some(due) = self.next_due.filter(|_| self.enabled) else { return Demand::None };
        match self.circuit.admission(now) {
            Admission::Freely if due > now => Demand::At(due),
            Admission::Freely if !self.is_low() => Demand::None,
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

    /// Whether something due should be fetched now that a load has gone, so that the next one gathers
    /// while this one is sent.
    pub(super) fn wants_next(&self, now: Timestamp) -> bool {
        self.batching.is_some() && self.is_low() && self.has_due(now)
    }

    /// Takes out what waits under a lease that ends before `until`: it would end untried.
    pub(super) fn give_up_expiring(&mut self, until: Timestamp) -> Vec<LeaseRef> {
        let expires = |it: &LeasedDelivery| it.lease_expires_at < until;
        let mut given_up = Vec::new();
        if self.waiting.iter().any(|it| expires(&it.delivery)) {
            let mut held_bytes = 0;
            self.waiting.retain(|waiting| {
                let goes = expires(&waiting.delivery);
                if goes {
                    given_up.push(lease_of(&waiting.delivery));
                    self.waiting_bytes = self.waiting_bytes.saturating_sub(waiting.bytes);
                    held_bytes += waiting.held_bytes;
                    self.claimed -= usize::from(waiting.is_claimed);
                }
                !goes
            });
            drop(self.held.take(given_up.len(), held_bytes));
        }
        for (mut pack, share) in std::mem::take(&mut self.packs) {
            given_up.append(&mut pack.take_out(|it| !expires(it)));
            if pack.len() > 0 {
                self.packs.push_back((pack, share));
            }
        }
        self.packed = self.packs.iter().map(|(pack, _)| pack.len()).sum();
        given_up
    }

    /// Empties it.
    pub(super) fn give_up_waiting(&mut self) -> Vec<LeaseRef> {
        let held_bytes = self.waiting.iter().map(|it| it.held_bytes).sum();
        drop(self.held.take(self.waiting.len(), held_bytes));
        (self.waiting_bytes, self.claimed, self.packed) = (0, 0, 0);
        let waiting = self.waiting.drain(..).map(|it| it.delivery);
        let packed = self.packs.drain(..).flat_map(|(pack, _)| pack.into_deliveries());
        waiting.chain(packed).map(|it| lease_of(&it)).collect()
    }

    /// Moves times by a jump of the clock.
    pub(super) fn shift(&mut self, micros: i64) {
        self.circuit.shift(micros);
        self.next_due = self.next_due.map(|at| at.shifted(micros));
        for waiting in &mut self.waiting {
            waiting.arrived_at = waiting.arrived_at.shifted(micros);
        }
        let waiting = self.waiting.iter_mut().map(|it| &mut it.delivery);
        let packed = self.packs.iter_mut().flat_map(|(pack, _)| pack.deliveries_mut());
        waiting.chain(packed).for_each(|delivery| shift(delivery, micros));
    }
}

/// Moves a delivery's times by a jump of the clock.
pub(super) const fn shift(delivery: &mut LeasedDelivery, micros: i64) {
    delivery.deadline_at = delivery.deadline_at.shifted(micros);
    delivery.lease_expires_at = delivery.lease_expires_at.shifted(micros);
}

/// The lease of a delivery in hand.
pub(super) const fn lease_of(delivery: &LeasedDelivery) -> LeaseRef {
    LeaseRef { delivery_id: delivery.id, token: delivery.token }
}

fn to_usize(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
