//! Where one success is enough (delivery policy `any`), a delivery that was delivered settles the
//! event's others of its destination, in the same commit. Records of the policy `all`, which is the
//! rule, cost it nothing but a look at each.

use std::collections::BTreeMap;

use sqlx::Arguments;
use sqlx::error::BoxDynError;
use sqlx::sqlite::SqliteArguments;

use super::row::Columns;
use super::shape::Shaped;
use super::writer::Tx;
use crate::domain::delivery::State;
use crate::domain::destination::DeliveryPolicy;
use crate::domain::retry::Next;
use crate::store::{Record, Recorded};

/// The statements.
#[derive(Debug)]
pub(super) struct Statements {
    find: Shaped,
    settle: Shaped,
}

impl Statements {
    pub(super) fn new() -> Self {
        Self {
            // The order of the joins is fixed: an event's deliveries are a short range of keys.
            find: Shaped::new(
                "WITH won (id) AS (VALUES ",
                1,
                ")
                 SELECT d.id, d.state, w.id, w.settled_at FROM won
                 CROSS JOIN deliveries AS w ON w.id = won.id
                 CROSS JOIN events AS e ON e.id = w.event_id
                 CROSS JOIN deliveries AS d ON d.id >= e.first_delivery_id
                    AND d.id < e.first_delivery_id + e.delivery_count
                 WHERE d.destination_id = w.destination_id AND d.state IN ('pending', 'leased')",
            ),
            settle: Shaped::new(
                "WITH settled (id, by, at) AS (VALUES ",
                3,
                ")
                 UPDATE deliveries AS d SET state = 'delivered', due_at = NULL,
                    lease_node_id = NULL, lease_expires_at = NULL,
                    settled_at = settled.at, settled_by = settled.by
                 FROM settled WHERE d.id = settled.id",
            ),
        }
    }
}

/// A delivery that another's success settles.
struct Sibling {
    id: i64,
    settled_by: i64,
    settled_at: i64,
}

fn bind_winner(id: &i64, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
    to.add(*id)
}

fn bind_sibling(sibling: &Sibling, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
    to.add(sibling.id)?;
    to.add(sibling.settled_by)?;
    to.add(sibling.settled_at)
}

/// Settles the siblings of what the records delivered; a record that was late settles nobody's.
pub(super) async fn settle(
    tx: &mut Tx<'_>,
    records: &[&Record],
    answers: &[Recorded],
) -> Result<(), sqlx::Error> {
    let won = |(record, answer): (&&Record, &Recorded)| {
        let is_enough = record.policy == DeliveryPolicy::Any
            && record.next == Next::Delivered
            && *answer == Recorded::Applied;
        is_enough.then_some(record.delivery_id.0)
    };
    let winners: Vec<i64> = records.iter().zip(answers).filter_map(won).collect();
    if winners.is_empty() {
        return Ok(());
    }
    let statements = &tx.statements.siblings;
    let rows = statements.find.fetch(tx.conn, &winners, bind_winner).await?;
    // Of several that won in one commit, the first settles.
    let mut siblings: BTreeMap<i64, Sibling> = BTreeMap::new();
    let mut leased = 0;
    for row in &rows {
        let mut from = Columns::from(row, 0);
        let id = from.take()?;
        let is_leased = from.take::<&str>()? == State::Leased.as_str();
        let sibling = Sibling { id, settled_by: from.take()?, settled_at: from.take()? };
        match siblings.get(&id) {
            Some(known) if known.settled_by <= sibling.settled_by => {}
            Some(_) => {
                siblings.insert(id, sibling);
            }
            None => {
                leased += u64::from(is_leased);
                siblings.insert(id, sibling);
            }
        }
    }
    let siblings: Vec<Sibling> = siblings.into_values().collect();
    let settled = statements.settle.execute(tx.conn, &siblings, bind_sibling).await?;
    let ledger = &mut tx.memory.ledger;
    ledger.leased = ledger.leased.saturating_sub(leased);
    ledger.pending = ledger.pending.saturating_sub(settled - leased);
    ledger.delivered += settled;
    Ok(())
}
