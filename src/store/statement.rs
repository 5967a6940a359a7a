//! SQL statements that are put together in the same way on both engines: lists, and what jobs select. Each engine
//! says how a value is bound.

use super::row::{ATTEMPT_COLUMNS, DELIVERY_COLUMNS, EVENT_COLUMNS};
use super::{AttemptQuery, DeliveryQuery, EventConditions, EventQuery, StatusRange};
use crate::domain::attempt::Outcome;
use crate::domain::clock::Timestamp;
use crate::domain::delivery::Reason;
use crate::domain::id::DestinationId;
use crate::domain::job::{JobAction, JobFilter};

/// A statement that grows.
pub(super) trait Statement: Sized {
    /// Joins each row to one of another table by its key.
    const JOIN_BY_KEY: &'static str;
    /// A statement that begins with this text.
    fn begin(text: String) -> Self;
    /// Adds text.
    fn add(&mut self, text: &str) -> &mut Self;
    /// Adds a number.
    fn int(&mut self, value: i64) -> &mut Self;
    /// Adds a text value, in the form in which the engine stores it.
    fn value(&mut self, value: &str) -> &mut Self;
    /// Adds the condition that a column is one of these numbers, of which there may be more than a statement takes
    /// parameters.
    fn among(&mut self, column: &str, ids: Vec<i64>) -> &mut Self;
}

/// Keys from `floor` on, below `before`.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyRange {
    pub(super) floor: i64,
    pub(super) before: i64,
}

impl KeyRange {
    /// The empty range.
    pub(super) const NONE: Self = Self { floor: 0, before: 0 };

    pub(super) const fn only(key: i64) -> Self {
        Self { floor: key, before: key.saturating_add(1) }
    }

    pub(super) const fn hold(&self, key: i64) -> bool {
        self.floor <= key && key < self.before
    }

    /// The keys below this one, and the rest.
    pub(super) fn split(self, at: i64) -> (Self, Self) {
        (Self { before: self.before.min(at), ..self }, Self { floor: self.floor.max(at), ..self })
    }

    /// The intersection with another range.
    pub(super) fn within(self, other: Self) -> Self {
        Self { floor: self.floor.max(other.floor), before: self.before.min(other.before) }
    }
}

/// The cursor and times that limit a scan.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    pub(super) before: Option<i64>,
    pub(super) from: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
}

impl Span {
    /// That of a list of events.
    pub(super) fn of_events(query: &EventQuery) -> Self {
        let before = query.before.map(|cursor| cursor.key);
        Self { before, from: query.accepted_from, until: query.accepted_until }
    }

    /// That of a list of deliveries.
    pub(super) fn of_deliveries(query: &DeliveryQuery) -> Self {
        let before = query.before.map(|cursor| cursor.key);
        Self { before, from: query.accepted_from, until: query.accepted_until }
    }

    /// That of a list of attempts.
    pub(super) fn of_attempts(query: &AttemptQuery) -> Self {
        let before = query.before.map(|cursor| cursor.key);
        Self { before, from: query.recorded_from, until: query.recorded_until }
    }

    /// That of a job.
    pub(super) fn of_filter(filter: &JobFilter) -> Self {
        Self { before: None, from: filter.accepted_from, until: filter.accepted_until }
    }
}

/// The events of a range; `rows` has their table, index and condition.
pub(super) fn events<S: Statement>(query: &EventQuery, rows: &str, range: KeyRange) -> S {
    let mut sql = S::begin(format!("SELECT {EVENT_COLUMNS} FROM (SELECT * FROM {rows} AND id >= "));
    sql.int(range.floor).add(" AND id < ").int(range.before).add(") AS e WHERE TRUE");
    add_event(&mut sql, &query.event);
    let among = query.among.as_ref().map(|ids| ids.iter().map(|id| id.0));
    add_among(&mut sql, "e.source_id", among);
    add_times(&mut sql, "e.received_at", (query.accepted_from, query.accepted_until));
    sql.add(" ORDER BY e.id DESC LIMIT ").int(i64::from(query.limit));
    sql
}

/// The deliveries of a range; `rows` has their table, index and condition, `within` adds another.
pub(super) fn deliveries<S: Statement>(
    query: &DeliveryQuery,
    rows: &str,
    range: KeyRange,
    within: impl FnOnce(&mut S),
) -> S {
    let mut sql =
        S::begin(format!("SELECT {DELIVERY_COLUMNS} FROM (SELECT * FROM {rows} AND id >= "));
    sql.int(range.floor).add(" AND id < ").int(range.before);
    within(&mut sql);
    sql.add(") AS d ").add(S::JOIN_BY_KEY).add(" events AS e ON e.id = d.event_id WHERE TRUE");
    // A reason implies the state dead, whatever the state condition.
    if let Some(state) = query.state {
        sql.add(" AND d.state = ").value(state.as_str());
    }
    Conditions::of_query(query).add_to(&mut sql);
    add_event(&mut sql, &query.event);
    sql.add(" ORDER BY d.id DESC LIMIT ").int(i64::from(query.limit));
    sql
}

/// The attempts of a range; `rows` has their table, index and condition.
pub(super) fn attempts<S: Statement>(query: &AttemptQuery, rows: &str, range: KeyRange) -> S {
    let mut sql = S::begin(format!(
        "SELECT {ATTEMPT_COLUMNS}, d.mapping_id, d.destination_id, d.accepted_at
         FROM (SELECT * FROM {rows}"
    ));
    if let Some(id) = query.delivery_id {
        sql.add(" AND delivery_id = ").int(id.0);
    }
    sql.add(" AND id >= ").int(range.floor).add(" AND id < ").int(range.before);
    sql.add(") AS a ").add(S::JOIN_BY_KEY);
    sql.add(
        " deliveries AS d ON d.id = a.delivery_id
         LEFT JOIN batches AS b ON b.id = a.batch_id WHERE TRUE",
    );
    if let Some(outcome) = query.outcome {
        sql.add(" AND a.outcome = ").value(Outcome::as_str(outcome));
    }
    add_status(&mut sql, "a.status", query.status);
    add_int(&mut sql, "d.destination_id", query.destination_id.map(|id| id.0));
    add_int(&mut sql, "d.mapping_id", query.mapping_id.map(|id| id.0));
    let among = query.among.as_ref().map(|ids| ids.iter().map(|id| id.0));
    add_among(&mut sql, "d.destination_id", among);
    add_times(&mut sql, "a.recorded_at", (query.recorded_from, query.recorded_until));
    sql.add(" ORDER BY a.id DESC LIMIT ").int(i64::from(query.limit));
    sql
}

/// Adds `FROM … WHERE …` of what a job selects, over `deliveries` as `d` and `events` as `e`; `rows` has the table,
/// index and condition of the deliveries, `range` adds their keys.
pub(super) fn add_selected<S: Statement>(
    sql: &mut S,
    (action, filter): (JobAction, &JobFilter),
    rows: &str,
    range: impl FnOnce(&mut S),
) {
    sql.add(" FROM (SELECT * FROM ").add(rows);
    range(sql);
    sql.add(") AS d ").add(S::JOIN_BY_KEY).add(" events AS e ON e.id = d.event_id WHERE ");
    if action == JobAction::Redrive {
        // There is nothing left to send the others with.
        sql.add(
            "EXISTS (SELECT 1 FROM mappings AS m
                WHERE m.id = d.mapping_id AND m.removed_at IS NULL) AND ",
        );
    }
    sql.add(match action {
        JobAction::Redrive => "d.state = 'dead'",
        JobAction::Discard => "d.state IN ('pending', 'dead')",
        // It selects events: `backfill.rs`.
        JobAction::Backfill => "FALSE",
    });
    if let Some(state) = filter.state {
        sql.add(" AND d.state = ").value(state.as_str());
    }
    Conditions::of_filter(filter).add_to(sql);
    add_event(sql, &filter.event);
}

/// Adds the deliveries that a job's filter names.
pub(super) fn add_named<S: Statement>(sql: &mut S, filter: &JobFilter) {
    if !filter.delivery_ids.is_empty() {
        sql.among("id", filter.delivery_ids.iter().map(|id| id.0).collect());
    }
}

/// Conditions on deliveries.
#[derive(Clone, Copy, Debug, Default)]
struct Conditions<'a> {
    reason: Option<Reason>,
    outcome: Option<Outcome>,
    among: Option<&'a [DestinationId]>,
    destination_id: Option<i64>,
    mapping_id: Option<i64>,
    status: Option<StatusRange>,
    accepted: (Option<Timestamp>, Option<Timestamp>),
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
            accepted: (query.accepted_from, query.accepted_until),
        }
    }

    /// Those of a job.
    fn of_filter(filter: &'a JobFilter) -> Self {
        Self {
            reason: filter.reason,
            outcome: filter.outcome,
            among: filter.among.as_deref(),
            destination_id: filter.destination_id.map(|id| id.0),
            mapping_id: filter.mapping_id.map(|id| id.0),
            status: filter.status,
            accepted: (filter.accepted_from, filter.accepted_until),
        }
    }

    /// Adds them, on `deliveries` as `d`.
    fn add_to(&self, sql: &mut impl Statement) {
        if let Some(reason) = self.reason {
            sql.add(" AND d.reason = ").value(reason.as_str());
        }
        if let Some(outcome) = self.outcome {
            sql.add(" AND d.last_outcome = ").value(Outcome::as_str(outcome));
        }
        add_among(sql, "d.destination_id", self.among.map(|ids| ids.iter().map(|id| id.0)));
        add_int(sql, "d.destination_id", self.destination_id);
        add_int(sql, "d.mapping_id", self.mapping_id);
        add_status(sql, "d.last_status", self.status);
        add_times(sql, "d.accepted_at", self.accepted);
    }
}

/// Adds the conditions on `events` as `e`.
fn add_event(sql: &mut impl Statement, event: &EventConditions) {
    add_int(sql, "e.source_id", event.source_id.map(|id| id.0));
    for (column, wanted) in [
        ("type", event.kind.map(|kind| kind.as_str())),
        ("name", event.name.as_deref()),
        ("user_id", event.user_id.as_deref()),
        ("message_id", event.message_id.as_deref()),
    ] {
        if let Some(wanted) = wanted {
            sql.add(" AND e.").add(column).add(" = ").value(wanted);
        }
    }
}

fn add_int(sql: &mut impl Statement, column: &str, wanted: Option<i64>) {
    if let Some(wanted) = wanted {
        sql.add(" AND ").add(column).add(" = ").int(wanted);
    }
}

fn add_among(sql: &mut impl Statement, column: &str, ids: Option<impl Iterator<Item = i64>>) {
    if let Some(ids) = ids {
        sql.among(column, ids.collect());
    }
}

fn add_status(sql: &mut impl Statement, column: &str, status: Option<StatusRange>) {
    if let Some(StatusRange { from, to }) = status {
        sql.add(" AND ").add(column).add(" BETWEEN ").int(i64::from(from));
        sql.add(" AND ").int(i64::from(to));
    }
}

fn add_times(
    sql: &mut impl Statement,
    column: &str,
    (from, until): (Option<Timestamp>, Option<Timestamp>),
) {
    if let Some(from) = from {
        sql.add(" AND ").add(column).add(" >= ").int(from.as_micros());
    }
    if let Some(until) = until {
        sql.add(" AND ").add(column).add(" < ").int(until.as_micros());
    }
}
