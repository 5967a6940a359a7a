//! Where one success is enough (delivery policy `any`), a delivery that was delivered settles the
//! event's others of its destination, in the same commit. Records of the policy `all`, which is the
//! rule, cost it nothing but a look at each.

use rusqlite::params;

use super::writer::Writing;
use crate::domain::destination::DeliveryPolicy;
use crate::domain::retry::Next;
use crate::store::{Record, Recorded};

/// The order of the joins is fixed: an event's deliveries are a short range of keys.
const FIND: &str = "SELECT d.id, d.state = 'leased', w.settled_at FROM deliveries AS w
     CROSS JOIN events AS e ON e.id = w.event_id
     CROSS JOIN deliveries AS d ON d.id >= e.first_delivery_id
        AND d.id < e.first_delivery_id + e.delivery_count
     WHERE w.id = ? AND d.destination_id = w.destination_id AND d.state IN ('pending', 'leased')";
const SETTLE: &str =
    "UPDATE deliveries SET state = 'delivered', due_at = NULL, lease_node_id = NULL,
        lease_expires_at = NULL, settled_at = ?, settled_by = ? WHERE id = ?";

/// A delivery that another's success settles.
struct Sibling {
    id: i64,
    is_leased: bool,
    settled_at: i64,
}

/// Settles the siblings of what the records delivered; a record that was late settles nobody's. Of
/// several that won in one commit, the first of the event's settles.
pub(super) fn settle(
    writing: &mut Writing<'_>,
    records: &[&Record],
    answers: &[Recorded],
) -> Result<(), sqlx::Error> {
    let won = |(record, answer): (&&Record, &Recorded)| {
        let is_enough = record.policy == DeliveryPolicy::Any
            && record.next == Next::Delivered
            && *answer == Recorded::Applied;
        is_enough.then_some(record.delivery_id.0)
    };
    let mut winners: Vec<i64> = records.iter().zip(answers).filter_map(won).collect();
    winners.sort_unstable();
    winners.into_iter().try_for_each(|winner| settle_others(writing, winner))
}

fn settle_others(writing: &mut Writing<'_>, winner: i64) -> Result<(), sqlx::Error> {
    let siblings = writing.held.prepare(FIND)?.find(params![winner], |row| {
        Ok(Sibling { id: row.get(0)?, is_leased: row.get(1)?, settled_at: row.get(2)? })
    })?;
    let mut settle = writing.held.prepare(SETTLE)?;
    for Sibling { id, is_leased, settled_at } in siblings {
        settle.change(params![settled_at, winner, id])?;
        let ledger = &mut writing.memory.ledger;
        let left = if is_leased { &mut ledger.leased } else { &mut ledger.pending };
        *left = left.saturating_sub(1);
        ledger.delivered += 1;
    }
    Ok(())
}
