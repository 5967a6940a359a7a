//! The list of attempts: a scan by key like the other lists, except for the attempts of one delivery, which
//! are few and have an index.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Postgres, QueryBuilder, Row};

use super::conditions::push_among;
use super::keyset::{KeyRange, Scan, Span};
use super::scan::listed;
use crate::domain::attempt::Outcome;
use crate::domain::clock::Timestamp;
use crate::domain::id::{DestinationId, MappingId};
use crate::store::failure::Failure;
use crate::store::row;
use crate::store::scan_limits::ScanLimits;
use crate::store::{AttemptQuery, AttemptRow, Listed, StatusRange};

/// Attempts of any delivery, newest first.
pub(super) async fn list(
    conn: &mut PgConnection,
    query: &AttemptQuery,
    limits: ScanLimits,
) -> Result<Listed<AttemptRow>, Failure> {
    let scan = Scan::ATTEMPTS;
    let before = query.before.map(|cursor| cursor.key);
    let span = Span { before, from: query.recorded_from, until: query.recorded_until };
    let range = KeyRange::of(conn, span).await?;
    let end = match query.delivery_id {
        Some(_) => None,
        None => scan.end_of_scan(conn, range, limits.events).await?,
    };
    let floor = end.map_or(range.floor, |(id, _)| id);
    let mut sql = statement(query, KeyRange { floor, ..range });
    let found = sql.build().persistent(false).fetch_all(conn).await?;
    let rows = found.iter().map(attempt_row).collect::<Result<Vec<_>, _>>()?;
    Ok(listed(rows, query.limit, end, range))
}

/// The query of the attempts of a range.
fn statement(query: &AttemptQuery, range: KeyRange) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::<Postgres>::new(format!(
        "SELECT {}, d.mapping_id, d.destination_id, d.accepted_at FROM attempts AS a
         JOIN deliveries AS d ON d.id = a.delivery_id
         LEFT JOIN batches AS b ON b.id = a.batch_id WHERE a.id >= ",
        row::ATTEMPT_COLUMNS
    ));
    sql.push_bind(range.floor);
    sql.push(" AND a.id < ").push_bind(range.before);
    if let Some(id) = query.delivery_id {
        sql.push(" AND a.delivery_id = ").push_bind(id.0);
    }
    if let Some(outcome) = query.outcome {
        sql.push(" AND a.outcome = ").push_bind(Outcome::as_str(outcome));
    }
    if let Some(StatusRange { from, to }) = query.status {
        sql.push(" AND a.status BETWEEN ").push_bind(i64::from(from));
        sql.push(" AND ").push_bind(i64::from(to));
    }
    if let Some(id) = query.destination_id {
        sql.push(" AND d.destination_id = ").push_bind(id.0);
    }
    if let Some(id) = query.mapping_id {
        sql.push(" AND d.mapping_id = ").push_bind(id.0);
    }
    let among = query.among.as_ref().map(|ids| ids.iter().map(|id| id.0));
    push_among(&mut sql, "d.destination_id", among);
    if let Some(from) = query.recorded_from {
        sql.push(" AND a.recorded_at >= ").push_bind(from.as_micros());
    }
    if let Some(until) = query.recorded_until {
        sql.push(" AND a.recorded_at < ").push_bind(until.as_micros());
    }
    sql.push(" ORDER BY a.id DESC LIMIT ").push_bind(i64::from(query.limit));
    sql
}

/// An attempt's columns, then its delivery's.
fn attempt_row(found: &PgRow) -> Result<AttemptRow, Failure> {
    let own = row::ATTEMPT_COLUMN_COUNT;
    Ok(AttemptRow {
        attempt: row::attempt(found)?,
        mapping_id: MappingId(found.try_get(own)?),
        destination_id: DestinationId(found.try_get(own + 1)?),
        accepted_at: Timestamp::from_micros(found.try_get(own + 2)?),
    })
}
