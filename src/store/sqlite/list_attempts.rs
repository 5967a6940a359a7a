//! The list of attempts: a walk down their keys like the other lists', but for those of one delivery,
//! which are few and have an index.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{QueryBuilder, Row, Sqlite};

use super::failure::Failure;
use super::list::{listed, push_among};
use super::row;
use super::walk::{Bounds, Look, Span, Walk};
use crate::domain::attempt::Outcome;
use crate::domain::clock::Timestamp;
use crate::domain::id::{DestinationId, MappingId};
use crate::store::{AttemptQuery, AttemptRow, Listed, StatusRange};

/// Attempts of any delivery, newest first.
pub(super) async fn list(
    conn: &mut SqliteConnection,
    query: &AttemptQuery,
    look: Look,
) -> Result<Listed<AttemptRow>, Failure> {
    let walk = Walk::ATTEMPTS;
    let before = query.before.map(|cursor| cursor.key);
    let span = Span { before, from: query.recorded_from, until: query.recorded_until };
    let bounds = walk.bounds(conn, span).await?;
    let end = match query.delivery_id {
        Some(_) => None,
        None => walk.end_of_look(conn, bounds, look.events).await?,
    };
    let floor = end.map_or(bounds.floor, |(id, _)| id);
    let mut sql = statement(query, Bounds { floor, ..bounds });
    let found = sql.build().persistent(false).fetch_all(conn).await?;
    let rows = found.iter().map(attempt_row).collect::<Result<Vec<_>, _>>()?;
    Ok(listed(rows, query.limit, end, bounds))
}

/// What reads the attempts between these keys.
pub(super) fn statement(query: &AttemptQuery, bounds: Bounds) -> QueryBuilder<Sqlite> {
    let rows = match query.delivery_id {
        Some(_) => "attempts INDEXED BY attempts_delivery WHERE delivery_id = ",
        None => Walk::ATTEMPTS.rows,
    };
    let mut sql = QueryBuilder::<Sqlite>::new(format!(
        "SELECT {}, d.mapping_id, d.destination_id, d.accepted_at FROM (SELECT * FROM {rows}",
        row::ATTEMPT_COLUMNS
    ));
    if let Some(id) = query.delivery_id {
        sql.push_bind(id.0);
    }
    sql.push(" AND id >= ").push_bind(bounds.floor);
    sql.push(" AND id < ").push_bind(bounds.before);
    sql.push(
        ") AS a CROSS JOIN deliveries AS d ON d.id = a.delivery_id
         LEFT JOIN batches AS b ON b.id = a.batch_id WHERE TRUE",
    );
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

/// An attempt's own columns, then those of its delivery.
fn attempt_row(found: &SqliteRow) -> Result<AttemptRow, Failure> {
    let own = row::ATTEMPT_COLUMN_COUNT;
    Ok(AttemptRow {
        attempt: row::attempt(found)?,
        mapping_id: MappingId(found.try_get(own)?),
        destination_id: DestinationId(found.try_get(own + 1)?),
        accepted_at: Timestamp::from_micros(found.try_get(own + 2)?),
    })
}
