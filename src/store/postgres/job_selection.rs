//! A job's selection: the deliveries that match its filter. A query scans at most N rows of the
//! index that contains them; the next resumes behind it.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Postgres, QueryBuilder};

use super::keyset::Scan;
use super::scan::{add_of_event, candidates};
use crate::domain::delivery::State;
use crate::domain::job::{JobAction, JobFilter};
use crate::store::row::{DELIVERY_COLUMNS, count};
use crate::store::statement::{Span, add_named, add_selected};

/// Deliveries that one query scans at most; a step acts on fewer.
const SCANNED: i64 = 20_000;
/// The same where each row needs its event, whose body fills pages.
const SCANNED_WITH_EVENTS: i64 = 5_000;

/// The rows that a job selects from.
#[derive(Clone, Copy)]
pub(super) struct Selection<'a> {
    pub(super) action: JobAction,
    pub(super) filter: &'a JobFilter,
    /// The rows that contain its deliveries, in the cheapest form to scan by key.
    pub(super) rows: &'static str,
    /// Keys above this …
    pub(super) after: i64,
    /// … up to and including this.
    pub(super) upto: i64,
}

impl<'a> Selection<'a> {
    /// The keys above `after`, up to and including `upto`, between which its deliveries can lie.
    pub(super) async fn of(
        conn: &mut PgConnection,
        action: JobAction,
        filter: &'a JobFilter,
        (after, upto): (i64, i64),
    ) -> Result<Self, sqlx::Error> {
        let state = match action {
            JobAction::Redrive => Some(State::Dead),
            JobAction::Discard | JobAction::Backfill => filter.state,
        };
        let rows = candidates((state, filter.reason));
        let keys = Scan::deliveries(rows).range(conn, Span::of_filter(filter)).await?;
        let (after, upto) = (after.max(keys.floor - 1), upto.min(keys.before - 1));
        Ok(Self { action, filter, rows, after, upto })
    }

    /// The last key that one query scans; none at the end.
    pub(super) async fn end_of_scan(
        &self,
        conn: &mut PgConnection,
    ) -> Result<Option<i64>, sqlx::Error> {
        let rows = if self.filter.event.are_none() { SCANNED } else { SCANNED_WITH_EVENTS };
        self.statement_of_end(rows).build_query_scalar().persistent(false).fetch_one(conn).await
    }

    /// The query of the last key of a scan over so many rows.
    pub(super) fn statement_of_end(&self, rows: i64) -> QueryBuilder<Postgres> {
        let mut sql = QueryBuilder::<Postgres>::new("SELECT max(id) FROM (SELECT id FROM ");
        sql.push(self.rows);
        self.add_range(&mut sql);
        sql.push(" ORDER BY id LIMIT ").push_bind(rows).push(") AS scanned");
        sql
    }

    /// How many match, up to the end of a limits.
    pub(super) async fn matched(
        &self,
        conn: &mut PgConnection,
        end: i64,
    ) -> Result<u64, sqlx::Error> {
        let mut sql = QueryBuilder::<Postgres>::new("SELECT count(*)");
        Self { upto: end, ..*self }.add_from(&mut sql);
        sql.build_query_scalar().persistent(false).fetch_one(conn).await.map(count)
    }

    /// The first that match, up to the end of a limits.
    pub(super) async fn first(
        &self,
        conn: &mut PgConnection,
        end: i64,
        limit: u32,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        let mut sql = Self { upto: end, ..*self }.statement_of_first(limit);
        sql.build().persistent(false).fetch_all(conn).await
    }

    /// The query of the first that match.
    pub(super) fn statement_of_first(&self, limit: u32) -> QueryBuilder<Postgres> {
        let mut sql = QueryBuilder::<Postgres>::new(format!("SELECT {DELIVERY_COLUMNS}"));
        self.add_from(&mut sql);
        sql.push(" ORDER BY d.id LIMIT ").push_bind(i64::from(limit));
        sql
    }

    fn add_from(&self, sql: &mut QueryBuilder<Postgres>) {
        let selected = (self.action, self.filter);
        add_selected(sql, selected, self.rows, |sql| self.add_range(sql));
    }

    fn add_range(&self, sql: &mut QueryBuilder<Postgres>) {
        sql.push(" AND id > ").push_bind(self.after).push(" AND id <= ").push_bind(self.upto);
        add_of_event(sql, self.filter.event_id);
        add_named(sql, self.filter);
    }
}
