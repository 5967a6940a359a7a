//! The list of attempts: a scan by key like the other lists, except for the attempts of one delivery, which
//! are few and have an index.

use sqlx::postgres::PgConnection;
use sqlx::{Postgres, QueryBuilder};

use super::keyset::Scan;
use crate::store::failure::Failure;
use crate::store::row;
use crate::store::scan_limits::ScanLimits;
use crate::store::statement::{self, KeyRange, Span};
use crate::store::{AttemptQuery, AttemptRow, Listed};

/// Attempts of any delivery, newest first.
pub(super) async fn list(
    conn: &mut PgConnection,
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
    let range_of_scan = KeyRange { floor, ..range };
    let mut sql: QueryBuilder<Postgres> = statement::attempts(query, scan.rows, range_of_scan);
    let found = sql.build().persistent(false).fetch_all(conn).await?;
    let rows = found.iter().map(row::attempt_row).collect::<Result<Vec<_>, _>>()?;
    Ok(Listed::of_scan(rows, query.limit, end, range.floor))
}
