//! The repair of the ledger: its deliveries are counted anew.

use rusqlite::Row;
use serde_json::json;

use super::audit;
use super::writer::step::{Step, Tx};
use crate::domain::audit::{Action, NewEntry};
use crate::domain::auth::Act;
use crate::domain::ledger::Ledger;
use crate::store::LedgerRepair;
use crate::store::consistency::{CountedDeliveries, counted_ledger};
use crate::store::failure::Failure;
use crate::store::row::count;

/// Deliveries by state.
pub(super) const COUNT: &str = "SELECT
    count(*) FILTER (WHERE state = 'pending'), count(*) FILTER (WHERE state = 'leased'),
    count(*) FILTER (WHERE state = 'delivered'), count(*) FILTER (WHERE state = 'dead'),
    count(*) FILTER (WHERE state = 'discarded') FROM deliveries";

/// Corrects the ledger by counted rows.
#[derive(Debug)]
pub(super) struct RepairLedger {
    pub(super) act: Act,
    pub(super) dry_run: bool,
}

impl Step for RepairLedger {
    type Answer = LedgerRepair;
    const CONTEXT: &'static str = "repair the ledger";

    fn run(&self, tx: &mut Tx<'_>) -> Result<LedgerRepair, Failure> {
        let counted = tx.sqlite.one::<_, rusqlite::Error>(COUNT, &[], counted)?;
        let before = tx.state.ledger;
        let after = counted_ledger(&before, &counted);
        if after != before && !self.dry_run {
            tx.state.ledger = after;
            let done = NewEntry {
                action: Action::RepairLedger,
                subject: "ledger".to_owned(),
                before: Some(states(&before)),
                after: Some(states(&after)),
            };
            audit::append(tx, &self.act, &done)?;
        }
        Ok(LedgerRepair { before, after })
    }
}

fn counted(row: &Row<'_>) -> rusqlite::Result<CountedDeliveries> {
    Ok(CountedDeliveries {
        pending: count(row.get(0)?),
        leased: count(row.get(1)?),
        delivered: count(row.get(2)?),
        dead: count(row.get(3)?),
        discarded: count(row.get(4)?),
    })
}

fn states(ledger: &Ledger) -> serde_json::Value {
    let Ledger { accepted, pending, leased, delivered, dead, discarded, .. } = *ledger;
    json!({
        "accepted": accepted,
        "pending": pending,
        "leased": leased,
        "delivered": delivered,
        "dead": dead,
        "discarded": discarded,
    })
}
