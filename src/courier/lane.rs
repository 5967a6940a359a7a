//! The lane of one mapping: what of it waits in memory, when that may go, and what it could take from
//! the store. Where events share requests, those waiting gather here until there are enough, or the
//! first has waited long enough, or nothing more is due. No I/O and no clock: it is told the time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::circuit::{Admission, Circuit};
use super::pack::{Few, Pack};
use crate::clock::Timestamp;
use crate::domain::id::MappingId;
use crate::domain::mapping::Batching;
use crate::store::{LeaseRef, LeasedDelivery};

/// Leased deliveries one mapping may always have waiting in memory; twice a batch where that is more.
pub(super) const LANE_CAPACITY: u32 = 1_024;
/// As many as it may have while all lanes together have fewer than [`SPARE`]: what goes through memory
/// alone costs no second write and read.
pub(super) const LANE_MOST: u32 = 8_192;
/// Deliveries waiting in all lanes above which none gets more than its due.
const SPARE: usize = 16_384;
/// Below so many waiting, the lane is filled from the store again; below a batch where that is more.
const LOW_WATER: u32 = 256;
/// Bytes of events that may wait in one lane before it takes no more.
const LANE_BYTES: usize = 16 << 20;

/// How many deliveries wait in the lanes of all gates; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Held(Arc<AtomicUsize>);

#[cfg(test)]
impl Held {
    /// As when all lanes together have as many as may be.
    pub(super) fn all() -> Self {
        Self(Arc::new(AtomicUsize::new(SPARE)))
    }
}

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
    bytes: usize,
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
    packs: VecDeque<Pack>,
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
        let event = &delivery.event;
        let bytes = event.document.get().map_or(event.body.len(), bytes::Bytes::len);
        self.waiting_bytes += bytes;
        self.claimed += usize::from(is_claimed);
        self.held.0.fetch_add(1, Ordering::Relaxed);
        self.waiting.push_back(Waiting { delivery, bytes, arrived_at: now, is_claimed });
    }

    /// Adds what goes before all that waits, and before the packs that are there: the halves of a
    /// refused batch come down to the event that is at fault before their leases end, however many
    /// others are being halved.
    pub(super) fn push_packs(&mut self, packs: Vec<Pack>) {
        for pack in packs.into_iter().rev() {
            self.packed += pack.len();
            self.packs.push_front(pack);
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
        let is_full = self.waiting() >= batching.size || self.waiting_bytes >= Batching::BODY_BYTES;
        // What comes from the store has waited there: it goes when no more is to be had from it.
        let is_all = self.claimed > 0 && !self.claiming && !self.has_due(now);
        let until = first.arrived_at + batching.linger();
        if is_full || is_all || until <= now { Ready::Now } else { Ready::At(until) }
    }

    /// The next load.
    pub(super) fn take(&mut self) -> Option<Load> {
        if let Some(pack) = self.packs.pop_front() {
            self.packed = self.packed.saturating_sub(pack.len());
            return Some(Load::Packed(Box::new(pack)));
        }
        // An open circuit is probed with one.
        let most = self.batching.filter(|_| !self.circuit.is_open()).map_or(1, |it| it.size);
        let mut deliveries = Few::with_capacity(self.waiting.len().min(to_usize(most)));
        let mut bytes = 0;
        while deliveries.len() < to_usize(most)
            && let Some(next) = self.waiting.pop_front_if(|next| {
                deliveries.is_empty() || bytes + next.bytes <= Batching::BODY_BYTES
            })
        {
            bytes += next.bytes;
            self.claimed -= usize::from(next.is_claimed);
            deliveries.push(next.delivery);
        }
        self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
        self.held.0.fetch_sub(deliveries.len(), Ordering::Relaxed);
        if deliveries.is_empty() { None } else { Some(Load::Waiting(deliveries)) }
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
        let has_spare = self.held.0.load(Ordering::Relaxed) < SPARE;
        let most = if has_spare { LANE_MOST } else { LANE_CAPACITY };
        most.max(self.batch_size().saturating_mul(2)).saturating_sub(taken)
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
            self.waiting.retain(|waiting| {
                let goes = expires(&waiting.delivery);
                if goes {
                    given_up.push(lease_of(&waiting.delivery));
                    self.waiting_bytes = self.waiting_bytes.saturating_sub(waiting.bytes);
                    self.claimed -= usize::from(waiting.is_claimed);
                }
                !goes
            });
            self.held.0.fetch_sub(given_up.len(), Ordering::Relaxed);
        }
        for mut pack in std::mem::take(&mut self.packs) {
            given_up.append(&mut pack.take_out(|it| !expires(it)));
            if pack.len() > 0 {
                self.packs.push_back(pack);
            }
        }
        self.packed = self.packs.iter().map(Pack::len).sum();
        given_up
    }

    /// Empties it.
    pub(super) fn give_up_waiting(&mut self) -> Vec<LeaseRef> {
        self.held.0.fetch_sub(self.waiting.len(), Ordering::Relaxed);
        (self.waiting_bytes, self.claimed, self.packed) = (0, 0, 0);
        let waiting = self.waiting.drain(..).map(|it| it.delivery);
        let packed = self.packs.drain(..).flat_map(Pack::into_deliveries);
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
        let packed = self.packs.iter_mut().flat_map(Pack::deliveries_mut);
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
