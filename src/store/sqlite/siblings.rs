//! Delivery policy `any`: a successful delivery settles the event's other deliveries to the same destination
//! in the same commit. Records of the default policy `all` cost no statement.

use rusqlite::params;

use super::writer::step::Tx;
use crate::domain::destination::DeliveryPolicy;
use crate::domain::id::MappingId;
use crate::domain::retry::Next;
use crate::store::{Record, Recorded};

/// The join order is fixed: an event's deliveries are a short range of keys.
const FIND: &str =
    "SELECT d.id, d.state = 'leased', w.settled_at, d.mapping_id FROM deliveries AS w
     CROSS JOIN events AS e ON e.id = w.event_id
     CROSS JOIN deliveries AS d ON d.id >= e.first_delivery_id
        AND d.id < e.first_delivery_id + e.delivery_count
     WHERE w.id = ?1 AND d.destination_id = w.destination_id AND d.state IN ('pending', 'leased')
     UNION ALL
     SELECT d.id, d.state = 'leased', w.settled_at, d.mapping_id FROM deliveries AS w
     CROSS JOIN backfilled AS b ON b.event_id = w.event_id
     CROSS JOIN deliveries AS d ON d.id = b.delivery_id
     WHERE w.id = ?1 AND d.destination_id = w.destination_id AND d.state IN ('pending', 'leased')";
const SETTLE: &str =
    "UPDATE deliveries SET state = 'delivered', due_at = NULL, lease_node_id = NULL,
        lease_expires_at = NULL, settled_at = ?, settled_by = ? WHERE id = ?";

/// A delivery that is settled by another's success.
struct Sibling {
    id: i64,
    is_leased: bool,
    settled_at: i64,
    mapping_id: MappingId,
}

/// Settles the siblings of delivered records; a late record settles none. Of several winners of one event in
/// one commit, the first settles.
pub(super) fn settle(
    tx: &mut Tx<'_>,
    records: &[&Record],
    answers: &[Recorded],
) -> rusqlite::Result<()> {
    let won = |(record, answer): (&&Record, &Recorded)| {
        let is_enough = record.policy == DeliveryPolicy::Any
            && record.next == Next::Delivered
            && *answer == Recorded::Applied;
        is_enough.then_some(record.delivery_id.0)
    };
    let mut winners: Vec<i64> = records.iter().zip(answers).filter_map(won).collect();
    winners.sort_unstable();
    winners.into_iter().try_for_each(|winner| settle_others(tx, winner))
}

fn settle_others(tx: &mut Tx<'_>, winner: i64) -> rusqlite::Result<()> {
    let siblings = tx.sqlite.all(FIND, params![winner], |row| {
        Ok::<_, rusqlite::Error>(Sibling {
            id: row.get(0)?,
            is_leased: row.get(1)?,
            settled_at: row.get(2)?,
            mapping_id: MappingId(row.get(3)?),
        })
    })?;
    let mut settle = tx.prepare(SETTLE)?;
    for Sibling { id, is_leased, settled_at, mapping_id } in siblings {
        settle.execute(params![settled_at, winner, id])?;
        let ledger = &mut tx.state.ledger;
        let left = if is_leased { &mut ledger.leased } else { &mut ledger.pending };
        *left = left.saturating_sub(1);
        ledger.delivered += 1;
        tx.statistics.counts().delivered(mapping_id);
    }
    Ok(())
}
