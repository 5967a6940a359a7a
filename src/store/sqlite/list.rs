//! Lists of events and deliveries, newest first. A list whose filter no index serves is read in
//! windows of a bounded number of rows, each a read of its own, so that no read holds the log.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, QueryBuilder, Row, Sqlite};

use super::failure::Failure;
use super::row::{self, DELIVERY_COLUMNS, EVENT_COLUMNS};
use crate::clock::Timestamp;
use crate::domain::attempt::{Attempt, Outcome};
use crate::domain::delivery::{Reason, State};
use crate::domain::event::EventType;
use crate::domain::id::{DeliveryId, EventId};
use crate::store::{DeliveryQuery, DeliveryRow, EventQuery, StoredEvent};

/// Rows that one read looks at.
const WINDOW: i64 = 20_000;

/// Which rows of `deliveries` a list can be in, by the index that holds them.
pub(super) fn candidates(state: Option<State>) -> &'static str {
    match state {
        Some(State::Pending) => "deliveries INDEXED BY deliveries_pending WHERE state = 'pending'",
        Some(State::Leased) => "deliveries INDEXED BY deliveries_leased WHERE state = 'leased'",
        Some(State::Dead) => "deliveries INDEXED BY deliveries_dead WHERE state = 'dead'",
        Some(State::Delivered) => "deliveries NOT INDEXED WHERE state = 'delivered'",
        Some(State::Discarded) => "deliveries NOT INDEXED WHERE state = 'discarded'",
        None => "deliveries NOT INDEXED WHERE TRUE",
    }
}

/// One event.
pub(super) async fn event(
    conn: &mut SqliteConnection,
    id: EventId,
) -> Result<Option<StoredEvent>, Failure> {
    let sql = format!("SELECT {EVENT_COLUMNS} FROM events AS e WHERE e.id = ?");
    let found = sqlx::query(AssertSqlSafe(sql)).bind(id.0).fetch_optional(conn).await?;
    found.as_ref().map(row::event).transpose()
}

/// Events by key, in no order.
pub(super) async fn events_by_id(
    conn: &mut SqliteConnection,
    ids: &[EventId],
) -> Result<Vec<StoredEvent>, Failure> {
    let mut events = Vec::with_capacity(ids.len());
    for ids in ids.chunks(256) {
        let marks = vec!["?"; ids.len()].join(",");
        let sql = format!("SELECT {EVENT_COLUMNS} FROM events AS e WHERE e.id IN ({marks})");
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        for id in ids {
            query = query.bind(id.0);
        }
        for found in &query.fetch_all(&mut *conn).await? {
            events.push(row::event(found)?);
        }
    }
    Ok(events)
}

/// Events, newest first.
pub(super) async fn events(
    conn: &mut SqliteConnection,
    query: &EventQuery,
) -> Result<Vec<StoredEvent>, Failure> {
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let mut before = query.before.map_or(i64::MAX, |id| id.0);
    let mut events = Vec::new();
    while events.len() < limit {
        let from = if query.rejected {
            "events INDEXED BY events_rejected WHERE rejection IS NOT NULL"
        } else {
            "events NOT INDEXED WHERE TRUE"
        };
        let window = format!("SELECT id FROM {from} AND id < ");
        let Some(lowest) = lowest_of(conn, &window, before).await? else {
            break;
        };
        let mut sql = QueryBuilder::<Sqlite>::new(format!(
            "SELECT {EVENT_COLUMNS} FROM events AS e WHERE e.id >= "
        ));
        sql.push_bind(lowest).push(" AND e.id < ").push_bind(before);
        if query.rejected {
            sql.push(" AND e.rejection IS NOT NULL");
        }
        if let Some(source_id) = query.source_id {
            sql.push(" AND e.source_id = ").push_bind(source_id.0);
        }
        if let Some(message_id) = &query.message_id {
            sql.push(" AND e.message_id = ").push_bind(message_id.as_str());
        }
        let rest = i64::try_from(limit - events.len()).unwrap_or(i64::MAX);
        sql.push(" ORDER BY e.id DESC LIMIT ").push_bind(rest);
        for found in &sql.build().persistent(false).fetch_all(&mut *conn).await? {
            events.push(row::event(found)?);
        }
        before = lowest;
    }
    Ok(events)
}

/// The lowest key of the next window below `before`; none when there is nothing below it.
async fn lowest_of(
    conn: &mut SqliteConnection,
    window: &str,
    before: i64,
) -> Result<Option<i64>, sqlx::Error> {
    let mut sql = QueryBuilder::<Sqlite>::new("SELECT min(id) FROM (");
    sql.push(window).push_bind(before).push(" ORDER BY id DESC LIMIT ").push_bind(WINDOW).push(")");
    sql.build_query_scalar().persistent(false).fetch_one(conn).await
}

/// One delivery.
pub(super) async fn delivery(
    conn: &mut SqliteConnection,
    id: DeliveryId,
) -> Result<Option<DeliveryRow>, Failure> {
    let sql = format!(
        "SELECT {DELIVERY_COLUMNS} FROM deliveries AS d
         JOIN events AS e ON e.id = d.event_id WHERE d.id = ?"
    );
    let found = sqlx::query(AssertSqlSafe(sql)).bind(id.0).fetch_optional(conn).await?;
    found.as_ref().map(row::delivery_row).transpose()
}

/// Deliveries, newest first.
pub(super) async fn deliveries(
    conn: &mut SqliteConnection,
    query: &DeliveryQuery,
) -> Result<Vec<DeliveryRow>, Failure> {
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let mut before = query.before.map_or(i64::MAX, |id| id.0);
    let mut floor = 0;
    if let Some(event_id) = query.event_id {
        let Some((first, after)) = range_of(conn, event_id).await? else {
            return Ok(Vec::new());
        };
        floor = first;
        before = before.min(after);
    }
    let state = if query.reason.is_some() { Some(State::Dead) } else { query.state };
    let window = format!("SELECT id FROM {} AND id < ", candidates(state));
    let mut found = Vec::new();
    while found.len() < limit && before > floor {
        let Some(lowest) = lowest_of(conn, &window, before).await? else {
            break;
        };
        let lowest = lowest.max(floor);
        let rest = i64::try_from(limit - found.len()).unwrap_or(i64::MAX);
        for row in &window_of(conn, query, state, lowest..before, rest).await? {
            found.push(row::delivery_row(row)?);
        }
        before = lowest;
    }
    Ok(found)
}

/// The keys of an event's deliveries: the first, and the one after the last.
async fn range_of(
    conn: &mut SqliteConnection,
    event_id: EventId,
) -> Result<Option<(i64, i64)>, sqlx::Error> {
    let found = sqlx::query(
        "SELECT first_delivery_id, first_delivery_id + delivery_count FROM events WHERE id = ?",
    )
    .bind(event_id.0)
    .fetch_optional(conn)
    .await?;
    found.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
}

async fn window_of(
    conn: &mut SqliteConnection,
    query: &DeliveryQuery,
    state: Option<State>,
    ids: std::ops::Range<i64>,
    limit: i64,
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    let mut sql = QueryBuilder::<Sqlite>::new(format!(
        "SELECT {DELIVERY_COLUMNS} FROM (SELECT * FROM {} AND id >= ",
        candidates(state)
    ));
    sql.push_bind(ids.start).push(" AND id < ").push_bind(ids.end);
    sql.push(") AS d JOIN events AS e ON e.id = d.event_id WHERE TRUE");
    // A reason narrows to the dead, whatever state is asked for beside it.
    if let Some(state) = query.state {
        sql.push(" AND d.state = ").push_bind(state.as_str());
    }
    push_conditions(&mut sql, &Conditions::of_query(query));
    if let Some(outcome) = query.outcome {
        sql.push(" AND d.last_outcome = ").push_bind(Outcome::as_str(outcome));
    }
    sql.push(" ORDER BY d.id DESC LIMIT ").push_bind(limit);
    sql.build().persistent(false).fetch_all(conn).await
}

/// Conditions that lists and jobs share.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Conditions {
    pub(super) reason: Option<Reason>,
    pub(super) destination_id: Option<i64>,
    pub(super) mapping_id: Option<i64>,
    pub(super) event_type: Option<EventType>,
    pub(super) status: Option<u16>,
    pub(super) accepted_from: Option<Timestamp>,
    pub(super) accepted_until: Option<Timestamp>,
}

impl Conditions {
    fn of_query(query: &DeliveryQuery) -> Self {
        Self {
            reason: query.reason,
            destination_id: query.destination_id.map(|id| id.0),
            mapping_id: query.mapping_id.map(|id| id.0),
            event_type: query.event_type,
            status: query.status,
            accepted_from: query.accepted_from,
            accepted_until: query.accepted_until,
        }
    }
}

/// Adds the conditions on `deliveries` as `d` and `events` as `e`.
pub(super) fn push_conditions(sql: &mut QueryBuilder<Sqlite>, conditions: &Conditions) {
    if let Some(reason) = conditions.reason {
        sql.push(" AND d.reason = ").push_bind(reason.as_str());
    }
    if let Some(id) = conditions.destination_id {
        sql.push(" AND d.destination_id = ").push_bind(id);
    }
    if let Some(id) = conditions.mapping_id {
        sql.push(" AND d.mapping_id = ").push_bind(id);
    }
    if let Some(kind) = conditions.event_type {
        sql.push(" AND e.type = ").push_bind(kind.as_str());
    }
    if let Some(status) = conditions.status {
        sql.push(" AND d.last_status = ").push_bind(i64::from(status));
    }
    if let Some(from) = conditions.accepted_from {
        sql.push(" AND d.accepted_at >= ").push_bind(from.as_micros());
    }
    if let Some(until) = conditions.accepted_until {
        sql.push(" AND d.accepted_at < ").push_bind(until.as_micros());
    }
}

/// A delivery's attempts, in the order they were recorded.
pub(super) async fn attempts(
    conn: &mut SqliteConnection,
    id: DeliveryId,
) -> Result<Vec<Attempt>, Failure> {
    let columns = row::ATTEMPT_COLUMNS;
    let sql = format!(
        "SELECT {columns} FROM attempts AS a LEFT JOIN batches AS b ON b.id = a.batch_id
         WHERE a.delivery_id = ? ORDER BY a.id"
    );
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(id.0).fetch_all(conn).await?;
    rows.iter().map(row::attempt).collect()
}
