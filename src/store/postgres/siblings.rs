//! Delivery policy `any`: a successful delivery settles the event's other deliveries to the same destination
//! in the same commit. Records of the default policy `all` cost no statement.

use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::counts::Counts;
use crate::domain::id::MappingId;
use crate::store::failure::Failure;

const SETTLE: &str = "WITH kin AS MATERIALIZED (
        SELECT unnest(delivery_ids) AS id FROM events WHERE id = $1
     ), from_pending AS (
        DELETE FROM pending WHERE id IN (SELECT id FROM kin) AND destination_id = $2 AND id <> $3
        RETURNING id, event_id, mapping_id, destination_id, accepted_at, deadline_at, token, tried,
            last_outcome, last_status
     ), from_leased AS (
        DELETE FROM leased WHERE id IN (SELECT id FROM kin) AND destination_id = $2 AND id <> $3
        RETURNING id, event_id, mapping_id, destination_id, accepted_at, deadline_at, token, tried,
            last_outcome, last_status
     ), delivered AS (
        INSERT INTO settled (id, event_id, mapping_id, destination_id, accepted_at, deadline_at,
            token, tried, last_outcome, last_status, settled_at, state, settled_by)
        SELECT u.*, $4::bigint, 'delivered', $3::bigint
        FROM (SELECT * FROM from_pending UNION ALL SELECT * FROM from_leased) AS u
     )
     SELECT mapping_id, FALSE FROM from_pending UNION ALL SELECT mapping_id, TRUE FROM from_leased";

/// A delivery whose success is enough for its event and destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Winner {
    pub(super) id: i64,
    pub(super) event_id: i64,
    pub(super) destination_id: i64,
    pub(super) settled_at: i64,
}

/// Settles the siblings of delivered records. Of several winners of one event, the first settles.
pub(super) async fn settle(
    conn: &mut PgConnection,
    mut winners: Vec<Winner>,
    counts: &mut Counts,
) -> Result<(), Failure> {
    winners.sort_unstable();
    for winner in winners {
        let rows = sqlx::query(SETTLE)
            .bind(winner.event_id)
            .bind(winner.destination_id)
            .bind(winner.id)
            .bind(winner.settled_at)
            .fetch_all(&mut *conn)
            .await?;
        for row in rows {
            counts.statistics.delivered(MappingId(row.try_get(0)?));
            counts.ledger.delivered += 1;
            if row.try_get(1)? {
                counts.ledger.leased -= 1;
            } else {
                counts.ledger.pending -= 1;
            }
        }
    }
    Ok(())
}
