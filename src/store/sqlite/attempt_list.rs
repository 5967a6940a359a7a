//! The list of attempts: a scan by key like the other lists, except for the attempts of one delivery, which
//! are few and have an index.

use sqlx::sqlite::SqliteConnection;
use sqlx::{QueryBuilder, Sqlite};

use super::keyset::Scan;
use crate::store::failure::Failure;
use crate::store::row;
use crate::store::scan_limits::ScanLimits;
use crate::store::statement::{self, KeyRange, Span};
use crate::store::{AttemptQuery, AttemptRow, Listed};

/// Attempts of any delivery, newest first.
pub(super) async fn list(
    conn: &mut SqliteConnection,
    query: &AttemptQuery,
    limits: ScanLimits,
) -> Result<Listed<AttemptRow>, Failure> {
    let scan = Scan::ATTEMPTS;
    let range = scan.range(conn, Span::of_attempts(query)).await?;
    let end = match query.delivery_id {
        Some(_) => None,
        None => scan.end_of_scan(conn, range, limits.events).await?,
    };
    let floor = end.map_or(range.floor, |(id, _)| id);
    let mut sql: QueryBuilder<Sqlite> =
        statement::attempts(query, rows(query), KeyRange { floor, ..range });
    let found = sql.build().persistent(false).fetch_all(conn).await?;
    let rows = found.iter().map(row::attempt_row).collect::<Result<Vec<_>, _>>()?;
    Ok(Listed::of_scan(rows, query.limit, end, range.floor))
}

/// The table, with the index that finds the attempts.
pub(super) fn rows(query: &AttemptQuery) -> &'static str {
    match query.delivery_id {
        Some(_) => "attempts INDEXED BY attempts_delivery WHERE TRUE",
        None => Scan::ATTEMPTS.rows,
    }
}
