//! The marks of moves in a database.

use sqlx::postgres::PgConnection;

use crate::domain::clock::Timestamp;
use crate::store::transfer::{Direction, Mark};

/// The mark of a move, in a database that may never have taken part in one.
pub(super) async fn mark(
    conn: &mut PgConnection,
    direction: Direction,
) -> Result<Option<Mark>, sqlx::Error> {
    let exists: bool =
        sqlx::query_scalar("SELECT to_regclass('moves') IS NOT NULL").fetch_one(&mut *conn).await?;
    if !exists {
        return Ok(None);
    }
    let found: Option<(String, String, i64, i64)> =
        sqlx::query_as("SELECT id, other, done, at FROM moves WHERE direction = $1")
            .bind(direction.as_str())
            .fetch_optional(conn)
            .await?;
    Ok(found.map(|(id, other, done, at)| Mark {
        id,
        other,
        done: done != 0,
        at: Timestamp::from_micros(at),
    }))
}
