//! The leases in hand: of deliveries whose attempt has started and is not recorded yet. The lease reaper
//! extends them instead of expiring them: an attempt that was answered is not repeated because the store
//! was slow to record it, or because the process was suspended.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::batch::OneOrMany;
use crate::domain::id::DeliveryId;
use crate::store::{LeaseRef, Record};

/// The fencing token of each lease in hand.
#[derive(Debug, Default)]
pub(super) struct LeasesInHand(Mutex<HashMap<DeliveryId, u32>>);

impl LeasesInHand {
    fn tokens(&self) -> MutexGuard<'_, HashMap<DeliveryId, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the leases of a request that is admitted; [`LeasesInHand::guard`] is to follow.
    pub(super) fn take(&self, leases: &[LeaseRef]) {
        let mut tokens = self.tokens();
        for lease in leases {
            tokens.insert(lease.delivery_id, lease.token);
        }
    }

    /// Guards leases that were taken. They are in hand until they are recorded, or until the guard is dropped
    /// without a record of theirs.
    pub(super) fn guard(&self, leases: OneOrMany<LeaseRef>) -> TakenLeases<'_> {
        TakenLeases { in_hand: self, leases }
    }

    /// Whether a lease is in hand.
    pub(super) fn contains(&self, lease: LeaseRef) -> bool {
        self.tokens().get(&lease.delivery_id).is_some_and(|token| *token == lease.token)
    }

    /// The store has these records, or they are given up: their leases are no longer in hand.
    pub(super) fn recorded(&self, records: &[Record]) {
        let mut tokens = self.tokens();
        for record in records {
            if tokens.get(&record.delivery_id).is_some_and(|token| *token == record.token) {
                tokens.remove(&record.delivery_id);
            }
        }
    }
}

/// The leases of one request.
#[derive(Debug)]
pub(super) struct TakenLeases<'a> {
    in_hand: &'a LeasesInHand,
    leases: OneOrMany<LeaseRef>,
}

impl TakenLeases<'_> {
    /// The request has ended with these records, which are to be recorded; its other leases are no longer
    /// in hand.
    pub(super) fn completed(mut self, records: &[Record]) {
        let mut tokens = self.in_hand.tokens();
        for lease in std::mem::take(&mut self.leases) {
            tokens.remove(&lease.delivery_id);
        }
        for record in records {
            tokens.insert(record.delivery_id, record.token);
        }
    }
}

impl Drop for TakenLeases<'_> {
    fn drop(&mut self) {
        if !self.leases.is_empty() {
            let mut tokens = self.in_hand.tokens();
            for lease in &self.leases {
                tokens.remove(&lease.delivery_id);
            }
        }
    }
}
