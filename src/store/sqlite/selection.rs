//! What a job selects: its filter as it is kept, and the deliveries that it is made to mean. Only
//! a bounded number of rows is looked at in a step, by the index that holds them.

use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{QueryBuilder, Sqlite};

use super::list::{Conditions, candidates, push_conditions, push_event};
use super::row::{DELIVERY_COLUMNS, count};
use crate::clock::Timestamp;
use crate::domain::delivery::{Reason, State};
use crate::domain::event::EventType;
use crate::domain::id::{DeliveryId, DestinationId, MappingId};
use crate::domain::job::{JobAction, JobFilter};
use crate::store::{EventConditions, StatusRange};

/// Deliveries that a step looks at, at most; it acts on fewer.
const WINDOW: i64 = 20_000;

/// A filter as it is kept: JSON, what is not asked for left out.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct KeptFilter {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    delivery_ids: Vec<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mapping_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<State>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_type: Option<EventType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_from: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
}

impl KeptFilter {
    /// To be kept.
    pub(super) fn of(filter: &JobFilter) -> Self {
        Self {
            delivery_ids: filter.delivery_ids.iter().map(|id| id.0).collect(),
            destination_id: filter.destination_id.map(|id| id.0),
            mapping_id: filter.mapping_id.map(|id| id.0),
            state: filter.state,
            reason: filter.reason,
            event_type: filter.event_type,
            accepted_from: filter.accepted_from,
            accepted_until: filter.accepted_until,
            status: filter.status,
        }
    }

    /// Read back.
    pub(super) fn into_filter(self) -> JobFilter {
        JobFilter {
            delivery_ids: self.delivery_ids.into_iter().map(DeliveryId).collect(),
            destination_id: self.destination_id.map(DestinationId),
            mapping_id: self.mapping_id.map(MappingId),
            state: self.state,
            reason: self.reason,
            event_type: self.event_type,
            accepted_from: self.accepted_from,
            accepted_until: self.accepted_until,
            status: self.status,
        }
    }
}

/// What a job selects from.
pub(super) struct Selection<'a> {
    pub(super) action: JobAction,
    pub(super) filter: &'a JobFilter,
    /// Keys above this …
    pub(super) after: i64,
    /// … up to and including this.
    pub(super) upto: i64,
}

impl Selection<'_> {
    /// The index its deliveries are in; none when more than one state may match.
    fn state(&self) -> Option<State> {
        match self.action {
            JobAction::Redrive => Some(State::Dead),
            JobAction::Discard if self.filter.reason.is_some() => Some(State::Dead),
            JobAction::Discard => self.filter.state,
        }
    }

    /// Adds `FROM … WHERE …` over `deliveries` as `d` and `events` as `e`.
    fn push_from(&self, sql: &mut QueryBuilder<Sqlite>) {
        sql.push(" FROM (SELECT * FROM ").push(candidates(self.state()));
        self.push_range(sql);
        sql.push(") AS d JOIN events AS e ON e.id = d.event_id WHERE ");
        sql.push(match self.action {
            JobAction::Redrive => "d.state = 'dead'",
            JobAction::Discard => "d.state IN ('pending', 'dead')",
        });
        let filter = self.filter;
        if let Some(state) = filter.state {
            sql.push(" AND d.state = ").push_bind(state.as_str());
        }
        push_conditions(
            sql,
            &Conditions {
                reason: filter.reason,
                destination_id: filter.destination_id.map(|id| id.0),
                mapping_id: filter.mapping_id.map(|id| id.0),
                status: filter.status.map(|status| StatusRange { from: status, to: status }),
                accepted_from: filter.accepted_from,
                accepted_until: filter.accepted_until,
            },
        );
        push_event(sql, &EventConditions { kind: filter.event_type, ..EventConditions::default() });
    }

    fn push_range(&self, sql: &mut QueryBuilder<Sqlite>) {
        sql.push(" AND id > ").push_bind(self.after).push(" AND id <= ").push_bind(self.upto);
        if !self.filter.delivery_ids.is_empty() {
            // As JSON, because there may be more ids than a statement takes parameters.
            let ids: Vec<i64> = self.filter.delivery_ids.iter().map(|id| id.0).collect();
            let ids = serde_json::Value::from(ids).to_string();
            sql.push(" AND id IN (SELECT value FROM json_each(").push_bind(ids).push("))");
        }
    }

    /// The last key that a step may look at: a bounded number of rows on.
    pub(super) async fn window(
        &self,
        conn: &mut SqliteConnection,
    ) -> Result<Option<i64>, sqlx::Error> {
        let mut sql = QueryBuilder::<Sqlite>::new("SELECT max(id) FROM (SELECT id FROM ");
        sql.push(candidates(self.state()));
        self.push_range(&mut sql);
        sql.push(" ORDER BY id LIMIT ").push_bind(WINDOW).push(")");
        sql.build_query_scalar().persistent(false).fetch_one(conn).await
    }

    /// How many match.
    pub(super) async fn matched(&self, conn: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
        let mut sql = QueryBuilder::<Sqlite>::new("SELECT count(*)");
        self.push_from(&mut sql);
        sql.build_query_scalar().persistent(false).fetch_one(conn).await.map(count)
    }

    /// The first of them.
    pub(super) async fn sample(
        &self,
        conn: &mut SqliteConnection,
        limit: i64,
    ) -> Result<Vec<SqliteRow>, sqlx::Error> {
        let mut sql = QueryBuilder::<Sqlite>::new("SELECT ");
        sql.push(DELIVERY_COLUMNS);
        self.push_from(&mut sql);
        sql.push(" ORDER BY d.id LIMIT ").push_bind(limit);
        sql.build().persistent(false).fetch_all(conn).await
    }
}
