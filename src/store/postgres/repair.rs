//! Repair of the ledger: for an operator, on a stopped service.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;

use super::tx::{LONG, Step, Tx, params};
use super::{audit, integrity_check, ledger};
use crate::domain::audit::{Action, NewEntry};
use crate::domain::auth::Act;
use crate::domain::ledger::Ledger;
use crate::store::LedgerRepair;
use crate::store::consistency::counted_ledger;
use crate::store::failure::Failure;

/// Corrects the ledger by counted rows.
#[derive(Debug)]
pub(super) struct RepairLedger {
    pub(super) act: Act,
    pub(super) dry_run: bool,
}

#[async_trait]
impl Step for RepairLedger {
    type Answer = LedgerRepair;
    const CONTEXT: &'static str = "repair the ledger";
    const TIMEOUT: Duration = LONG;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<LedgerRepair, Failure> {
        // What moves a delivery writes the ledger last: it waits, and neither is seen before the other.
        tx.execute("LOCK TABLE ledger IN EXCLUSIVE MODE", params![]).await?;
        let counted = integrity_check::count_deliveries(tx.conn).await?;
        let before = ledger::read(tx.conn).await?;
        let after = counted_ledger(&before, &counted);
        if after != before && !self.dry_run {
            tx.counts.ledger.correct(&before, &after);
            let done = NewEntry {
                action: Action::RepairLedger,
                subject: "ledger".to_owned(),
                before: Some(states(&before)),
                after: Some(states(&after)),
            };
            audit::append(tx, &self.act, &done).await?;
        }
        Ok(LedgerRepair { before, after })
    }
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
