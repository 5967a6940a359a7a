//! The ledger: how many events were accepted, and how many deliveries are in each state. The store
//! updates it in the commits that change the rows.

/// Counts of events and of deliveries by state. Always: `accepted` = `pending` + `leased` +
/// `delivered` + `dead` + `discarded`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Events accepted, rejected ones not counted.
    pub events_accepted: u64,
    /// Events kept as rejected.
    pub events_rejected: u64,
    /// Messages acknowledged as duplicates.
    pub events_duplicate: u64,
    /// Deliveries created with their events.
    pub accepted: u64,
    /// Deliveries in state pending.
    pub pending: u64,
    /// Deliveries in state leased.
    pub leased: u64,
    /// Deliveries in state delivered, pruned ones included.
    pub delivered: u64,
    /// Deliveries in state dead, pruned ones included.
    pub dead: u64,
    /// Deliveries in state discarded, pruned ones included.
    pub discarded: u64,
    /// Of the delivered, those that retention pruned.
    pub delivered_pruned: u64,
    /// Of the dead, those that retention pruned.
    pub dead_pruned: u64,
    /// Of the discarded, those that retention pruned.
    pub discarded_pruned: u64,
}

impl Ledger {
    /// The backlog: deliveries pending or leased.
    #[must_use]
    pub const fn waiting(&self) -> u64 {
        self.pending + self.leased
    }

    /// Dead letters that retention has not pruned.
    #[must_use]
    pub const fn dead_letters(&self) -> u64 {
        self.dead.saturating_sub(self.dead_pruned)
    }

    /// Whether every accepted delivery is in exactly one state.
    #[must_use]
    pub const fn is_balanced(&self) -> bool {
        self.accepted == self.pending + self.leased + self.delivered + self.dead + self.discarded
    }
}
