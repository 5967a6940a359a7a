//! A PostgreSQL database as a side of a move.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection as _, Postgres, Row as _};

use super::error::{sqlstate, to_store};
use super::keys;
use super::moves::mark;
use super::node::SILENCE;
use super::open::{OpenError, Target};
use super::partition::{Day, TABLES as PARTITIONED};
use super::service_time;
use super::transfer_sql::{NEXT_KEYS, insert, rows_of, select};
use crate::store::StoreError;
use crate::store::row::{count, int};
use crate::store::transfer::{
    CREATE, Column, Direction, Kind, Mark, Progress, Row, Side, Table, Value,
};

const CONTEXT: &str = "move rows";
/// Held by the process that moves.
const LOCK: i64 = 5_786_930_140_093_827_073;
/// `lock_not_available`.
const LOCK_TIMEOUT: &str = "55P03";

/// Tables are read and written in the order of their keys, whatever the planner knows about them.
const SESSION: &str =
    "SET jit = off; SET plan_cache_mode = force_custom_plan; SET enable_seqscan = off;
    SET enable_bitmapscan = off; SET enable_sort = off; SET client_min_messages = warning";

/// A node that registers on a database that is marked as moved is refused by the database itself: it may have
/// opened it before the mark was written.
const REFUSE_NODES: &str =
    "CREATE OR REPLACE FUNCTION refuse_nodes() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'the database was moved to another one'; END $$;
    DROP TRIGGER IF EXISTS moved_away ON nodes;
    CREATE TRIGGER moved_away BEFORE INSERT ON nodes FOR EACH ROW EXECUTE FUNCTION refuse_nodes()";
const ADMIT_NODES: &str = "DROP TRIGGER IF EXISTS moved_away ON nodes;
    DROP FUNCTION IF EXISTS refuse_nodes()";

/// The database.
pub(in crate::store) struct PostgresSide {
    conn: PgConnection,
    is_locked: bool,
    /// The days that are known to have partitions.
    days: BTreeSet<(&'static str, i64)>,
}

fn failed(error: sqlx::Error) -> StoreError {
    to_store(CONTEXT, error)
}

impl PostgresSide {
    /// Connects, and brings the schema up to date.
    pub(in crate::store) async fn open(address: &SecretString) -> Result<Self, OpenError> {
        let target = Target::parse(address.expose_secret())?;
        target.prepare().await?;
        let mut conn = target.connect().await?;
        let prepared = Self::prepare(&mut conn).await;
        let is_locked = prepared.map_err(|error| target.failed(error))?;
        Ok(Self { conn, is_locked, days: BTreeSet::new() })
    }

    async fn prepare(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
        for sql in std::iter::once(SESSION).chain(CREATE) {
            sqlx::raw_sql(sql).execute(&mut *conn).await?;
        }
        // The server may take a moment to notice that a move was killed.
        sqlx::raw_sql("SET lock_timeout = '10s'").execute(&mut *conn).await?;
        let lock = sqlx::query("SELECT pg_advisory_lock($1)").bind(LOCK).execute(&mut *conn).await;
        let is_locked = match lock {
            Ok(_) => true,
            Err(error) if sqlstate(&error).as_deref() == Some(LOCK_TIMEOUT) => false,
            Err(error) => return Err(error),
        };
        sqlx::raw_sql("RESET lock_timeout").execute(conn).await?;
        Ok(is_locked)
    }

    /// Whether applications have written messages that no node has taken.
    async fn has_inbox_rows(&mut self) -> Result<bool, sqlx::Error> {
        let exists = sqlx::query_scalar("SELECT to_regclass('inbox') IS NOT NULL");
        if !exists.fetch_one(&mut self.conn).await? {
            return Ok(false);
        }
        let rows = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM inbox)");
        rows.fetch_one(&mut self.conn).await
    }

    async fn run(&mut self, sql: impl Into<String>) -> Result<(), StoreError> {
        let sql = AssertSqlSafe(sql.into());
        sqlx::raw_sql(sql).execute(&mut self.conn).await.map(|_| ()).map_err(failed)
    }

    /// Makes the partitions of the days of these keys. Keys of SQLite, which are small numbers, are of the first day.
    async fn make_partitions(&mut self, table: &Table, rows: &[Row]) -> Result<(), StoreError> {
        let Some(name) = partitioned(table) else { return Ok(()) };
        let keys = rows.iter().filter_map(|row| match row.first() {
            Some(Value::Int(key)) => Some(*key),
            Some(Value::Null | Value::Text(_) | Value::Bytes(_) | Value::Keys(_)) | None => None,
        });
        let days: BTreeMap<i64, Day> = keys
            .map(|key| Day::of(keys::time_of(key)))
            .map(|day| (day.keys().start, day))
            .collect();
        for (start, day) in days {
            if !self.days.insert((name, start)) {
                continue;
            }
            let (partition, range) = (day.name(name), day.keys());
            self.run(format!(
                "CREATE TABLE IF NOT EXISTS {partition} PARTITION OF {name}
                    FOR VALUES FROM ({}) TO ({})",
                range.start, range.end
            ))
            .await?;
        }
        Ok(())
    }
}

/// The partitioned table that rows of a table are written to.
fn partitioned(table: &Table) -> Option<&'static str> {
    let name = if table.name == "deliveries" { "settled" } else { table.name };
    PARTITIONED.into_iter().find(|it| *it == name)
}

fn read(table: &Table, row: &PgRow) -> Result<Row, sqlx::Error> {
    let columns = table.columns.iter().enumerate();
    columns.map(|(index, column)| read_value(column, row, index)).collect()
}

fn read_value(column: &Column, row: &PgRow, index: usize) -> Result<Value, sqlx::Error> {
    let value = match column.kind {
        Kind::Int | Kind::Flag => row.try_get::<Option<i64>, _>(index)?.map(Value::Int),
        Kind::Text => row.try_get::<Option<String>, _>(index)?.map(Value::Text),
        Kind::Bytes | Kind::Digest => row.try_get::<Option<Vec<u8>>, _>(index)?.map(Value::Bytes),
        Kind::Keys => row.try_get::<Option<Vec<i64>>, _>(index)?.map(Value::Keys),
    };
    Ok(value.unwrap_or(Value::Null))
}

type Statement<'q> = Query<'q, Postgres, PgArguments>;

/// Binds a column of rows as one array; lists of keys as text, since arrays of arrays have one length.
fn bind_column<'q>(
    statement: Statement<'q>,
    kind: Kind,
    rows: &mut [Row],
    index: usize,
) -> Statement<'q> {
    let mut values =
        rows.iter_mut().map(|row| row.get_mut(index).map_or(Value::Null, std::mem::take));
    match kind {
        Kind::Int | Kind::Flag => statement.bind(
            values
                .by_ref()
                .map(|it| if let Value::Int(number) = it { Some(number) } else { None })
                .collect::<Vec<_>>(),
        ),
        Kind::Text => statement.bind(
            values
                .by_ref()
                .map(|it| if let Value::Text(text) = it { Some(text) } else { None })
                .collect::<Vec<_>>(),
        ),
        Kind::Bytes | Kind::Digest => statement.bind(
            values
                .by_ref()
                .map(|it| if let Value::Bytes(bytes) = it { Some(bytes) } else { None })
                .collect::<Vec<_>>(),
        ),
        Kind::Keys => {
            let lists = values.by_ref().map(|it| {
                let keys = if let Value::Keys(keys) = it { keys } else { Vec::new() };
                keys.iter().map(i64::to_string).collect::<Vec<_>>().join(",")
            });
            statement.bind(lists.collect::<Vec<_>>())
        }
    }
}

#[async_trait]
impl Side for PostgresSide {
    async fn mark(&mut self, direction: Direction) -> Result<Option<Mark>, StoreError> {
        mark(&mut self.conn, direction).await.map_err(failed)
    }

    async fn set_mark(
        &mut self,
        direction: Direction,
        mark: Option<&Mark>,
    ) -> Result<(), StoreError> {
        let fence = match (direction, mark) {
            (Direction::Out, Some(_)) => REFUSE_NODES,
            (Direction::Out, None) => ADMIT_NODES,
            (Direction::In, _) => "",
        };
        let mut transaction = self.conn.begin().await.map_err(failed)?;
        sqlx::raw_sql(fence).execute(&mut *transaction).await.map_err(failed)?;
        let delete = sqlx::query("DELETE FROM moves WHERE direction = $1").bind(direction.as_str());
        delete.execute(&mut *transaction).await.map_err(failed)?;
        if let Some(Mark { id, other, done, at }) = mark {
            let insert =
                "INSERT INTO moves (direction, id, other, done, at) VALUES ($1, $2, $3, $4, $5)";
            sqlx::query(insert)
                .bind(direction.as_str())
                .bind(id)
                .bind(other)
                .bind(i64::from(*done))
                .bind(at.as_micros())
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    async fn obstacle(&mut self) -> Result<Option<String>, StoreError> {
        if !self.is_locked {
            return Ok(Some("another move runs on it".to_owned()));
        }
        if self.has_inbox_rows().await.map_err(failed)? {
            let obstacle = "its inbox has messages, start the service until it has taken them";
            return Ok(Some(obstacle.to_owned()));
        }
        let now = service_time::now(&mut self.conn).await.map_err(failed)?;
        let live: Option<String> = sqlx::query_scalar(
            "SELECT name FROM nodes WHERE ended_at IS NULL AND last_seen_at >= $1
             ORDER BY last_seen_at DESC LIMIT 1",
        )
        .bind((now - SILENCE).as_micros())
        .fetch_optional(&mut self.conn)
        .await
        .map_err(failed)?;
        Ok(live.map(|name| {
            let seconds = SILENCE.as_secs();
            format!("node {name} runs on it, or was killed less than {seconds} s ago")
        }))
    }

    async fn count(&mut self, table: &Table) -> Result<u64, StoreError> {
        let sql = AssertSqlSafe(format!("SELECT count(*) FROM {}", rows_of(table)));
        sqlx::query_scalar(sql).fetch_one(&mut self.conn).await.map(count).map_err(failed)
    }

    async fn read(
        &mut self,
        table: &Table,
        after: &[Value],
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let mut query = sqlx::query(AssertSqlSafe(select(table, after.is_empty(), limit)));
        for value in after.iter().cloned() {
            query = match value {
                Value::Int(number) => query.bind(number),
                Value::Text(text) => query.bind(text),
                Value::Bytes(bytes) => query.bind(hex::encode(bytes)),
                Value::Null | Value::Keys(_) => query.bind(None::<i64>),
            };
        }
        let found = query.fetch_all(&mut self.conn).await.map_err(failed)?;
        found.iter().map(|row| read(table, row)).collect::<Result<_, _>>().map_err(failed)
    }

    async fn progress(&mut self) -> Result<BTreeMap<String, Progress>, StoreError> {
        let sql = "SELECT name, cursor, copied, done FROM move_progress";
        let found = sqlx::query_as::<_, (String, String, i64, i64)>(sql)
            .fetch_all(&mut self.conn)
            .await
            .map_err(failed)?;
        let rows = found.into_iter().map(|(name, cursor, copied, done)| {
            let cursor = Progress::read_cursor(&cursor);
            (name, Progress { cursor, copied: count(copied), done: done != 0 })
        });
        Ok(rows.collect())
    }

    async fn begin(&mut self) -> Result<(), StoreError> {
        self.run("BEGIN").await
    }

    async fn write(
        &mut self,
        table: &Table,
        mut rows: Vec<Row>,
        progress: &Progress,
    ) -> Result<(), StoreError> {
        if !rows.is_empty() {
            self.make_partitions(table, &rows).await?;
            let mut statement = sqlx::query(AssertSqlSafe(insert(table)));
            for (index, column) in table.columns.iter().enumerate() {
                statement = bind_column(statement, column.kind, &mut rows, index);
            }
            statement.execute(&mut self.conn).await.map_err(failed)?;
        }
        sqlx::query(
            "INSERT INTO move_progress (name, cursor, copied, done) VALUES ($1, $2, $3, $4)
             ON CONFLICT (name) DO UPDATE SET cursor = excluded.cursor, copied = excluded.copied,
                done = excluded.done",
        )
        .bind(table.name)
        .bind(progress.written_cursor())
        .bind(int(progress.copied))
        .bind(i64::from(progress.done))
        .execute(&mut self.conn)
        .await
        .map(|_| ())
        .map_err(failed)
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        self.run("COMMIT").await
    }

    /// Moved de-duplication keys are all in the first slot, which ended when the source did: they are kept for a day
    /// after that.
    async fn finish(&mut self) -> Result<(), StoreError> {
        for table in NEXT_KEYS {
            self.run(format!(
                "SELECT setval(pg_get_serial_sequence('{table}', 'id'),
                    (SELECT greatest(max(id), 1) FROM {table}), EXISTS (SELECT 1 FROM {table}))"
            ))
            .await?;
        }
        let ended = "coalesce((SELECT service_at FROM service_time), 0)";
        self.run(format!(
            "UPDATE dedup_slots SET opened_at = CASE slot WHEN 0 THEN {ended} WHEN 1 THEN {ended} END,
                closed_at = CASE slot WHEN 0 THEN {ended} END"
        ))
        .await?;
        for table in ["events", "settled", "attempts", "batches", "pending", "dead", "dedup"] {
            self.run(format!("ANALYZE {table}")).await?;
        }
        Ok(())
    }
}
