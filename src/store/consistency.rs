//! The consistency check. Every engine compares the ledger with counted rows, by [`ledger`]; what
//! else there is to check (pages, foreign keys, partitions) is the engine's own.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::auth::Act;
use crate::domain::ledger::Ledger;
use crate::domain::service_time::ServiceTime;

/// One result of the consistency check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check: `ledger`, `leases`, and the engine's own, such as `integrity`.
    pub check: &'static str,
    /// Whether it passed.
    pub ok: bool,
    /// The result, with numbers.
    pub detail: String,
}

/// Checks the store against itself.
#[async_trait]
pub trait ConsistencyCheck: Send + Sync + 'static {
    /// Runs every check, [`ledger`] among them. Slow: reads every row.
    async fn check_consistency(&self, now: ServiceTime) -> Result<Vec<Finding>, StoreError>;

    /// Checks the server that holds the database, such as its replication; nothing for an engine without one.
    async fn check_server(&self, now: ServiceTime) -> Result<Vec<Finding>, StoreError>;

    /// Counts the deliveries and corrects the ledger by them, in one transaction with an audit entry; a
    /// dry run changes nothing. For a store that no service uses: every write waits meanwhile.
    async fn repair_ledger(&self, act: Act, dry_run: bool) -> Result<LedgerRepair, StoreError>;
}

/// The ledger before and after its repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerRepair {
    /// As it was stored.
    pub before: Ledger,
    /// As it was counted.
    pub after: Ledger,
}

/// The ledger that agrees with counted rows; what was pruned cannot be counted.
#[must_use]
pub fn counted_ledger(stored: &Ledger, counted: &CountedDeliveries) -> Ledger {
    let CountedDeliveries { pending, leased, .. } = *counted;
    let delivered = counted.delivered + stored.delivered_pruned;
    let dead = counted.dead + stored.dead_pruned;
    let discarded = counted.discarded + stored.discarded_pruned;
    let accepted = pending + leased + delivered + dead + discarded;
    Ledger { accepted, pending, leased, delivered, dead, discarded, ..*stored }
}

/// Deliveries counted by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountedDeliveries {
    /// In state pending.
    pub pending: u64,
    /// In state leased.
    pub leased: u64,
    /// In state delivered.
    pub delivered: u64,
    /// In state dead.
    pub dead: u64,
    /// In state discarded.
    pub discarded: u64,
}

/// Compares the stored ledger with counted rows; both must be of one snapshot.
#[must_use]
pub fn ledger(stored: &Ledger, counted: &CountedDeliveries) -> Finding {
    let pairs = [
        ("pending", stored.pending, counted.pending),
        ("leased", stored.leased, counted.leased),
        ("delivered", stored.delivered, counted.delivered + stored.delivered_pruned),
        ("dead", stored.dead, counted.dead + stored.dead_pruned),
        ("discarded", stored.discarded, counted.discarded + stored.discarded_pruned),
    ];
    let mut faults: Vec<String> = pairs
        .iter()
        .filter(|(_, stored, counted)| stored != counted)
        .map(|(state, stored, counted)| {
            format!("{state}: {stored} in the ledger, {counted} counted")
        })
        .collect();
    let Ledger { accepted, pending, leased, delivered, dead, discarded, .. } = stored;
    if !stored.is_balanced() {
        faults.push(format!("accepted: {accepted} in the ledger is not the sum of the states"));
    }
    let detail = if faults.is_empty() {
        format!(
            "{accepted} accepted = {pending} pending + {leased} leased + {delivered} delivered \
             + {dead} dead + {discarded} discarded"
        )
    } else {
        faults.join("; ")
    };
    Finding { check: "ledger", ok: faults.is_empty(), detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_that_differs_from_the_rows_fails() {
        let stored = Ledger {
            accepted: 3,
            pending: 1,
            delivered: 2,
            delivered_pruned: 1,
            ..Ledger::default()
        };
        let counted =
            CountedDeliveries { pending: 1, delivered: 1, ..CountedDeliveries::default() };
        assert!(ledger(&stored, &counted).ok);
        assert!(!ledger(&stored, &CountedDeliveries { pending: 2, ..counted }).ok);
        assert!(!ledger(&Ledger { accepted: 4, ..stored }, &counted).ok);
        let wrong = Ledger { accepted: 9, pending: 2, leased: 4, delivered: 3, ..stored };
        assert_eq!(counted_ledger(&wrong, &counted), stored, "what was pruned stays counted");
    }
}
