//! Lists of events and deliveries, newest first: a walk down the keys that looks at a bounded number of
//! rows, whatever it is narrowed to, and says how far it came.

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, QueryBuilder, Row, Sqlite};

use super::failure::Failure;
use super::message::Trail;
use super::row::{self, DELIVERY_COLUMNS, EVENT_COLUMNS};
use super::walk::{Bounds, Look, Span, Walk};
use crate::domain::attempt::{Attempt, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::delivery::{Reason, State};
use crate::domain::id::{DeliveryId, DestinationId, EventId};
use crate::domain::job::JobFilter;
use crate::store::{
    Cursor, DeliveryQuery, DeliveryRow, EventConditions, EventQuery, Listed, StatusRange,
    StoredEvent,
};

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

/// Which rows of `deliveries` died for this reason, by the index that holds them in the order of
/// their keys.
pub(super) const fn dead_for(reason: Reason) -> &'static str {
    match reason {
        Reason::Rejected => {
            "deliveries INDEXED BY deliveries_dead_reasons WHERE state = 'dead' AND reason = 'rejected'"
        }
        Reason::Redirect => {
            "deliveries INDEXED BY deliveries_dead_reasons WHERE state = 'dead' AND reason = 'redirect'"
        }
        Reason::Render => {
            "deliveries INDEXED BY deliveries_dead_reasons WHERE state = 'dead' AND reason = 'render'"
        }
        Reason::Address => {
            "deliveries INDEXED BY deliveries_dead_reasons WHERE state = 'dead' AND reason = 'address'"
        }
        Reason::Function => {
            "deliveries INDEXED BY deliveries_dead_reasons WHERE state = 'dead' AND reason = 'function'"
        }
        Reason::Deadline => {
            "deliveries INDEXED BY deliveries_dead_reasons WHERE state = 'dead' AND reason = 'deadline'"
        }
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

/// Events, newest first.
pub(super) async fn events(
    conn: &mut SqliteConnection,
    query: &EventQuery,
    look: Look,
) -> Result<Listed<StoredEvent>, Failure> {
    let walk = if query.rejected { Walk::REJECTED } else { Walk::EVENTS };
    let before = query.before.map(|cursor| cursor.key);
    let span = Span { before, from: query.accepted_from, until: query.accepted_until };
    let bounds = walk.bounds(conn, span).await?;
    if !query.rejected
        && let Some(trail) = Trail::of(conn, &query.event, query.among.as_deref()).await?
    {
        return trail.events(conn, query, bounds, look).await;
    }
    walk_events(conn, query, walk, bounds, look).await
}

/// One look at the events between these keys.
pub(super) async fn walk_events(
    conn: &mut SqliteConnection,
    query: &EventQuery,
    walk: Walk,
    bounds: Bounds,
    look: Look,
) -> Result<Listed<StoredEvent>, Failure> {
    let end = walk.end_of_look(conn, bounds, look.events).await?;
    let floor = end.map_or(bounds.floor, |(id, _)| id);
    let rows = read_events(conn, query, walk, Bounds { floor, ..bounds }).await?;
    Ok(listed(rows, query.limit, end, bounds))
}

/// The events between these keys.
pub(super) async fn read_events(
    conn: &mut SqliteConnection,
    query: &EventQuery,
    walk: Walk,
    bounds: Bounds,
) -> Result<Vec<StoredEvent>, Failure> {
    let mut sql = statement_of_events(query, walk, bounds);
    let found = sql.build().persistent(false).fetch_all(conn).await?;
    found.iter().map(row::event).collect()
}

/// What reads the events between these keys.
pub(super) fn statement_of_events(
    query: &EventQuery,
    walk: Walk,
    bounds: Bounds,
) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::<Sqlite>::new(format!(
        "SELECT {EVENT_COLUMNS} FROM (SELECT * FROM {} AND id >= ",
        walk.rows
    ));
    sql.push_bind(bounds.floor);
    sql.push(" AND id < ").push_bind(bounds.before).push(") AS e WHERE TRUE");
    push_event(&mut sql, &query.event);
    push_among(&mut sql, "e.source_id", query.among.as_ref().map(|ids| ids.iter().map(|id| id.0)));
    if let Some(from) = query.accepted_from {
        sql.push(" AND e.received_at >= ").push_bind(from.as_micros());
    }
    if let Some(until) = query.accepted_until {
        sql.push(" AND e.received_at < ").push_bind(until.as_micros());
    }
    sql.push(" ORDER BY e.id DESC LIMIT ").push_bind(i64::from(query.limit));
    sql
}

/// What one look found; where it was cut short by the rows asked for, it ends with the last of them.
pub(super) fn listed<T>(
    rows: Vec<T>,
    limit: u32,
    end: Option<(i64, Timestamp)>,
    bounds: Bounds,
) -> Listed<T> {
    let is_full = rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let end = end.filter(|(id, _)| !is_full && *id > bounds.floor);
    Listed { rows, looked_to: end.map(|(key, at)| Cursor { at, key }) }
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
    look: Look,
) -> Result<Listed<DeliveryRow>, Failure> {
    let walk = Walk::deliveries(quickest(conn, (query.state, query.reason), look).await?);
    let before = query.before.map(|cursor| cursor.key);
    let span = Span { before, from: query.accepted_from, until: query.accepted_until };
    let mut bounds = walk.bounds(conn, span).await?;
    if let Some(event_id) = query.event_id {
        bounds = bounds.within(range_of(conn, event_id).await?.unwrap_or(Bounds::NONE));
    }
    match Trail::of(conn, &query.event, None).await? {
        Some(trail) => trail.deliveries(conn, query, (walk, bounds), look).await,
        None => walk_deliveries(conn, query, walk, bounds, look).await,
    }
}

/// One look at the deliveries between these keys.
pub(super) async fn walk_deliveries(
    conn: &mut SqliteConnection,
    query: &DeliveryQuery,
    walk: Walk,
    bounds: Bounds,
    look: Look,
) -> Result<Listed<DeliveryRow>, Failure> {
    let rows = if query.event.are_none() { look.deliveries } else { look.events };
    let end = walk.end_of_look(conn, bounds, rows).await?;
    let floor = end.map_or(bounds.floor, |(id, _)| id);
    let rows = read_deliveries(conn, query, walk, Bounds { floor, ..bounds }).await?;
    Ok(listed(rows, query.limit, end, bounds))
}

/// The deliveries between these keys.
pub(super) async fn read_deliveries(
    conn: &mut SqliteConnection,
    query: &DeliveryQuery,
    walk: Walk,
    bounds: Bounds,
) -> Result<Vec<DeliveryRow>, Failure> {
    let mut sql = statement_of_deliveries(query, walk, bounds);
    let found = sql.build().persistent(false).fetch_all(conn).await?;
    found.iter().map(row::delivery_row).collect()
}

/// What reads the deliveries between these keys.
pub(super) fn statement_of_deliveries(
    query: &DeliveryQuery,
    walk: Walk,
    bounds: Bounds,
) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::<Sqlite>::new(format!(
        "SELECT {DELIVERY_COLUMNS} FROM (SELECT * FROM {} AND id >= ",
        walk.rows
    ));
    sql.push_bind(bounds.floor);
    sql.push(" AND id < ").push_bind(bounds.before);
    sql.push(") AS d CROSS JOIN events AS e ON e.id = d.event_id WHERE TRUE");
    // A reason narrows to the dead, whatever state is asked for beside it.
    if let Some(state) = query.state {
        sql.push(" AND d.state = ").push_bind(state.as_str());
    }
    push_conditions(&mut sql, &Conditions::of_query(query));
    push_event(&mut sql, &query.event);
    sql.push(" ORDER BY d.id DESC LIMIT ").push_bind(i64::from(query.limit));
    sql
}

/// The rows that hold every delivery of a state, or that died for a reason, as they are quickest walked by
/// key. What is pending is indexed in another order: it is sorted while it is little, and else found
/// among all.
pub(super) async fn quickest(
    conn: &mut SqliteConnection,
    (state, reason): (Option<State>, Option<Reason>),
    look: Look,
) -> Result<&'static str, sqlx::Error> {
    const ALL: &str = "deliveries NOT INDEXED WHERE TRUE";
    if let Some(reason) = reason {
        return Ok(dead_for(reason));
    }
    Ok(match state {
        Some(State::Dead | State::Leased) => candidates(state),
        Some(State::Pending) => {
            let few: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM (SELECT 1 FROM deliveries INDEXED BY deliveries_pending
                 WHERE state = 'pending' LIMIT ?)",
            )
            .bind(i64::from(look.events))
            .fetch_one(conn)
            .await?;
            if few < i64::from(look.events) { candidates(state) } else { ALL }
        }
        Some(State::Delivered | State::Discarded) | None => ALL,
    })
}

/// The keys of an event's deliveries.
pub(super) async fn range_of(
    conn: &mut SqliteConnection,
    event_id: EventId,
) -> Result<Option<Bounds>, sqlx::Error> {
    let found = sqlx::query(
        "SELECT first_delivery_id, first_delivery_id + delivery_count FROM events WHERE id = ?",
    )
    .bind(event_id.0)
    .fetch_optional(conn)
    .await?;
    found.map(|row| Ok(Bounds { floor: row.try_get(0)?, before: row.try_get(1)? })).transpose()
}

/// Conditions that lists and jobs share.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Conditions<'a> {
    pub(super) reason: Option<Reason>,
    pub(super) outcome: Option<Outcome>,
    pub(super) among: Option<&'a [DestinationId]>,
    pub(super) destination_id: Option<i64>,
    pub(super) mapping_id: Option<i64>,
    pub(super) status: Option<StatusRange>,
    pub(super) accepted_from: Option<Timestamp>,
    pub(super) accepted_until: Option<Timestamp>,
}

impl<'a> Conditions<'a> {
    /// Those of a list.
    fn of_query(query: &'a DeliveryQuery) -> Self {
        Self {
            reason: query.reason,
            outcome: query.outcome,
            among: query.among.as_deref(),
            destination_id: query.destination_id.map(|id| id.0),
            mapping_id: query.mapping_id.map(|id| id.0),
            status: query.status,
            accepted_from: query.accepted_from,
            accepted_until: query.accepted_until,
        }
    }

    /// Those of a job.
    pub(super) fn of_filter(filter: &'a JobFilter) -> Self {
        Self {
            reason: filter.reason,
            outcome: filter.outcome,
            among: filter.among.as_deref(),
            destination_id: filter.destination_id.map(|id| id.0),
            mapping_id: filter.mapping_id.map(|id| id.0),
            status: filter.status,
            accepted_from: filter.accepted_from,
            accepted_until: filter.accepted_until,
        }
    }
}

/// Adds the conditions on `deliveries` as `d`.
pub(super) fn push_conditions(sql: &mut QueryBuilder<Sqlite>, conditions: &Conditions<'_>) {
    if let Some(reason) = conditions.reason {
        sql.push(" AND d.reason = ").push_bind(reason.as_str());
    }
    if let Some(outcome) = conditions.outcome {
        sql.push(" AND d.last_outcome = ").push_bind(Outcome::as_str(outcome));
    }
    let among = conditions.among.map(|ids| ids.iter().map(|id| id.0));
    push_among(sql, "d.destination_id", among);
    if let Some(id) = conditions.destination_id {
        sql.push(" AND d.destination_id = ").push_bind(id);
    }
    if let Some(id) = conditions.mapping_id {
        sql.push(" AND d.mapping_id = ").push_bind(id);
    }
    if let Some(StatusRange { from, to }) = conditions.status {
        sql.push(" AND d.last_status BETWEEN ").push_bind(i64::from(from));
        sql.push(" AND ").push_bind(i64::from(to));
    }
    if let Some(from) = conditions.accepted_from {
        sql.push(" AND d.accepted_at >= ").push_bind(from.as_micros());
    }
    if let Some(until) = conditions.accepted_until {
        sql.push(" AND d.accepted_at < ").push_bind(until.as_micros());
    }
}

/// Adds the conditions on `events` as `e`.
pub(super) fn push_event(sql: &mut QueryBuilder<Sqlite>, event: &EventConditions) {
    if let Some(id) = event.source_id {
        sql.push(" AND e.source_id = ").push_bind(id.0);
    }
    if let Some(kind) = event.kind {
        sql.push(" AND e.type = ").push_bind(kind.as_str());
    }
    for (column, wanted) in
        [("name", &event.name), ("user_id", &event.user_id), ("message_id", &event.message_id)]
    {
        if let Some(wanted) = wanted {
            sql.push(format!(" AND e.{column} = ")).push_bind(wanted.clone());
        }
    }
}

pub(super) fn push_among(
    sql: &mut QueryBuilder<Sqlite>,
    column: &'static str,
    ids: Option<impl Iterator<Item = i64>>,
) {
    if let Some(ids) = ids {
        // As JSON, because there may be more ids than a statement takes parameters.
        let ids = serde_json::Value::from(ids.collect::<Vec<_>>()).to_string();
        sql.push(format!(" AND {column} IN (SELECT value FROM json_each("));
        sql.push_bind(ids).push("))");
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
