//! Dead letters by destination and reason. Each group is found by one seek in the index that has this order,
//! and counted up to a limit.

use sqlx::Row;
use sqlx::postgres::PgConnection;

use crate::store::DeadLetterGroup;
use crate::store::failure::Failure;
use crate::store::row;

/// Dead letters of a group that are counted at most.
const COUNTED: i64 = 100_000;

/// Every group, by destination and reason.
pub(super) async fn groups(conn: &mut PgConnection) -> Result<Vec<DeadLetterGroup>, Failure> {
    let mut groups = Vec::new();
    let (mut destination_id, mut reason) = (0_i64, String::new());
    loop {
        let next = sqlx::query(
            "SELECT destination_id, reason FROM dead
             WHERE (destination_id, reason) > ($1, $2)
             ORDER BY destination_id, reason LIMIT 1",
        )
        .bind(destination_id)
        .bind(reason.as_str())
        .fetch_optional(&mut *conn)
        .await?;
        let Some(next) = next else { return Ok(groups) };
        destination_id = next.try_get(0)?;
        reason = next.try_get(1)?;
        groups.push(group(conn, destination_id, &reason).await?);
    }
}

async fn group(
    conn: &mut PgConnection,
    destination_id: i64,
    reason: &str,
) -> Result<DeadLetterGroup, Failure> {
    let found = sqlx::query(
        "SELECT
            (SELECT min(settled_at) FROM dead
             WHERE destination_id = $1 AND reason = $2),
            (SELECT max(settled_at) FROM dead
             WHERE destination_id = $1 AND reason = $2),
            (SELECT count(*) FROM (SELECT 1 FROM dead
             WHERE destination_id = $1 AND reason = $2 LIMIT $3) AS counted)",
    )
    .bind(destination_id)
    .bind(reason)
    .bind(COUNTED + 1)
    .fetch_one(conn)
    .await?;
    row::dead_letter_group(&found, (destination_id, reason), COUNTED)
}
