//! A SQLite database as a side of a move: which SQL reads and writes the tables of a move.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, ToSql, params, params_from_iter};

use super::error::to_store;
use super::lock::DatabaseLock;
use super::open::{self, OpenError, OpenOptions};
use super::transfer_rows::{Split, from_columns};
use crate::domain::clock::{Clock, Timestamp};
use crate::store::StoreError;
use crate::store::failure::Failure;
use crate::store::row::{count, int};
use crate::store::transfer::{
    CREATE, Direction, Mark, MovedError, Progress, Row, Side, Table, Value,
};
use crate::telemetry::metrics::Metrics;

/// The WAL is checkpointed after so many pages of 8 KiB.
const CHECKPOINT_PAGES: i64 = 8_192;
/// The page cache, in SQLite's negative KiB: a move writes to every index of a large table.
const CACHE_SIZE: i64 = -131_072;
const CONTEXT: &str = "move rows";

/// The database. Its lock is released after the connection.
pub(in crate::store) struct SqliteSide {
    sqlite: Connection,
    /// Whether text is read without NUL, which the other side cannot hold.
    text_without_nul: bool,
    _lock: DatabaseLock,
}

impl SqliteSide {
    /// Opens it for this process alone; creates it when it is missing. Its schema is brought up to date.
    pub(in crate::store) async fn open(
        path: &Path,
        clock: &Arc<dyn Clock>,
        text_without_nul: bool,
    ) -> Result<Self, OpenError> {
        open::check_directory(path)?;
        let lock = DatabaseLock::take(path)?;
        let metrics = Arc::new(Metrics::new());
        let options = OpenOptions::new(lock.path(), metrics, Arc::clone(clock));
        open::check_file(&options.path, lock.database())?;
        open::prepare(&options).await?;
        let failed = |error| OpenError::database(&path.display().to_string(), error);
        let sqlite = open::connect_writer(&options).map_err(failed)?;
        prepare(&sqlite).map_err(failed)?;
        Ok(Self { sqlite, text_without_nul, _lock: lock })
    }

    fn row(&self, table: &Table, found: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
        let mut row = Row::with_capacity(table.columns.len());
        for (index, column) in table.columns.iter().enumerate() {
            let value = match found.get_ref(index)? {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(number) => Value::Int(number),
                ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
                ValueRef::Real(_) | ValueRef::Text(_) => Value::Text(found.get(index)?),
            };
            row.push(from_columns(column, value, self.text_without_nul));
        }
        Ok(row)
    }

    fn insert(&self, table: &Table, row: &Row) -> rusqlite::Result<()> {
        match table.name {
            "events" => self.insert_event(table, row),
            "attempts" => {
                self.insert_row(table, row)?;
                let batch = column(table, row, "batch_id");
                let sql = "UPDATE batches SET attempt_count = attempt_count + 1 WHERE id = ?";
                if *batch != Value::Null {
                    self.sqlite.prepare_cached(sql)?.execute([Bound(batch)])?;
                }
                Ok(())
            }
            _ => self.insert_row(table, row),
        }
    }

    fn insert_row(&self, table: &Table, row: &Row) -> rusqlite::Result<()> {
        let mut insert = self.sqlite.prepare_cached(&insert(table))?;
        insert.execute(params_from_iter(row.iter().map(Bound))).map(|_| ())
    }

    /// Deliveries with consecutive keys are a range of the event, the others are as a backfill's. An event without
    /// deliveries has the key that the next one would have had.
    fn insert_event(&self, table: &Table, row: &Row) -> rusqlite::Result<()> {
        let id = column(table, row, "id");
        let deliveries = Split::of(column(table, row, "delivery_ids"));
        let mut insert = self.sqlite.prepare_cached(
            "INSERT INTO events (id, source_id, received_at, type, message_id, name, user_id, envelope,
                rejection, trace, body, first_delivery_id, delivery_count)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, coalesce(?, (SELECT first_delivery_id + delivery_count
                FROM events ORDER BY id DESC LIMIT 1), 1), ?)",
        )?;
        let names = table.columns.iter().zip(row);
        let alike = names.filter(|(it, _)| !matches!(it.name, "delivery_ids" | "skips"));
        let alike: Vec<Bound<'_>> = alike.map(|(_, value)| Bound(value)).collect();
        let range = [&deliveries.first as &dyn ToSql, &deliveries.count];
        insert.execute(params_from_iter(
            alike.iter().map(|it| it as &dyn ToSql).chain(range.iter().copied()),
        ))?;
        let further = "INSERT INTO backfilled (event_id, delivery_id) VALUES (?, ?)";
        for delivery_id in deliveries.rest {
            self.sqlite.prepare_cached(further)?.execute(params![Bound(id), delivery_id])?;
        }
        let skip = "INSERT INTO skips (event_id, destination_id) VALUES (?, ?)";
        if let Value::Keys(skips) = column(table, row, "skips") {
            for destination_id in skips {
                self.sqlite.prepare_cached(skip)?.execute(params![Bound(id), destination_id])?;
            }
        }
        Ok(())
    }

    fn run(&self, sql: &str) -> Result<(), StoreError> {
        self.sqlite.execute_batch(sql).map_err(failed)
    }
}

fn failed(error: rusqlite::Error) -> StoreError {
    to_store(CONTEXT, Failure::from(error))
}

fn prepare(sqlite: &Connection) -> rusqlite::Result<()> {
    sqlite.set_prepared_statement_cache_capacity(128);
    // Tables that refer to each other are written one after the other; the comparison finds what is missing.
    sqlite.pragma_update(None, "foreign_keys", false)?;
    sqlite.pragma_update(None, "cache_size", CACHE_SIZE)?;
    sqlite.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    for sql in CREATE {
        sqlite.execute_batch(sql)?;
    }
    logged_keys(sqlite)
}

/// The de-duplication keys that are in the log only: each row of it has the keys of events that follow each other.
fn logged_keys(sqlite: &Connection) -> rusqlite::Result<()> {
    sqlite.execute_batch(
        "CREATE TEMP TABLE logged (key BLOB PRIMARY KEY, event_id INTEGER NOT NULL) WITHOUT ROWID",
    )?;
    let mut insert = sqlite.prepare("INSERT OR IGNORE INTO logged VALUES (?, ?)")?;
    let mut log = sqlite.prepare("SELECT id, keys FROM dedup_log ORDER BY id")?;
    let mut rows = log.query([])?;
    while let Some(row) = rows.next()? {
        let (first, keys): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
        for (event_id, key) in (first..).zip(keys.chunks_exact(16)) {
            insert.execute(params![key, event_id])?;
        }
    }
    sqlite.execute_batch(
        "DELETE FROM logged WHERE EXISTS (SELECT 1 FROM dedup_0 AS d WHERE d.key = logged.key)
            OR EXISTS (SELECT 1 FROM dedup_1 AS d WHERE d.key = logged.key)
            OR EXISTS (SELECT 1 FROM dedup_2 AS d WHERE d.key = logged.key)",
    )
}

/// A value of a statement.
struct Bound<'a>(&'a Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Value::Null | Value::Keys(_) => ValueRef::Null,
            Value::Int(number) => ValueRef::Integer(*number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn column<'a>(table: &Table, row: &'a Row, name: &str) -> &'a Value {
    let index = table.columns.iter().position(|it| it.name == name);
    index.and_then(|index| row.get(index)).unwrap_or(&Value::Null)
}

/// Where the rows of a table are.
fn rows_of(table: &Table) -> &'static str {
    match table.name {
        "dedup" => {
            "(SELECT key, event_id FROM dedup_0 UNION ALL SELECT key, event_id FROM dedup_1
                UNION ALL SELECT key, event_id FROM dedup_2
                UNION ALL SELECT key, event_id FROM temp.logged)"
        }
        "statistics_log" => {
            "(SELECT counts FROM statistics_log
                UNION ALL SELECT statistics FROM ledger WHERE length(statistics) > 0)"
        }
        name => name,
    }
}

/// A column as the move has it.
fn expression(table: &Table, name: &'static str) -> &'static str {
    match (table.name, name) {
        ("events", "delivery_ids") => {
            "first_delivery_id || ':' || delivery_count || ':' || coalesce((SELECT
                group_concat(delivery_id) FROM backfilled AS b WHERE b.event_id = events.id), '')"
        }
        ("events", "skips") => {
            "'0:0:' || coalesce((SELECT group_concat(destination_id) FROM skips AS s
                WHERE s.event_id = events.id), '')"
        }
        ("service_time", "clock_at") => "wall_at",
        // An earlier version did not count them.
        ("statistics" | "statistics_hours", "failed") => {
            "coalesce(failed, max(attempts - delivered, 0))"
        }
        (_, name) => name,
    }
}

fn select(table: &Table, is_first: bool) -> String {
    let names = |columns: &[&str]| columns.join(", ");
    let columns: Vec<&str> = table.columns.iter().map(|it| expression(table, it.name)).collect();
    let key: Vec<&str> = table.columns.iter().take(table.key).map(|it| it.name).collect();
    let mut sql = format!("SELECT {} FROM {}", names(&columns), rows_of(table));
    if !key.is_empty() {
        let marks = vec!["?"; key.len()];
        if !is_first {
            sql.push_str(&format!(" WHERE ({}) > ({})", names(&key), names(&marks)));
        }
        sql.push_str(&format!(" ORDER BY {} LIMIT ?", names(&key)));
    }
    sql
}

fn insert(table: &Table) -> String {
    let mut columns: Vec<&str> = table.columns.iter().map(|it| it.name).collect();
    let mut values = vec!["?"; columns.len()];
    let name = match table.name {
        "dedup" => "dedup_0",
        name => name,
    };
    let further: &[(&str, &str)] = match table.name {
        "batches" => &[("attempt_count", "0")],
        "ledger" => &[
            ("id", "1"),
            ("next_event_id", "1"),
            ("next_delivery_id", "1"),
            ("next_attempt_id", "1"),
        ],
        "service_time" => {
            columns = vec!["service_at", "wall_at"];
            &[("id", "1")]
        }
        _ => &[],
    };
    for (column, value) in further {
        columns.push(column);
        values.push(value);
    }
    let verb = if table.seeded { "INSERT OR REPLACE" } else { "INSERT" };
    format!("{verb} INTO {name} ({}) VALUES ({})", columns.join(", "), values.join(", "))
}

/// Keys are not used again: those of this database follow all that are in it, jobs' bounds included.
const NEXT_KEYS: &str = "SELECT 1 + max(
        (SELECT coalesce(max(id), 0) FROM events), (SELECT coalesce(max(id), 0) FROM deliveries),
        (SELECT coalesce(max(id), 0) FROM attempts), (SELECT coalesce(max(id), 0) FROM batches),
        (SELECT coalesce(max(max(upper_id, cursor)), 0) FROM jobs))";

#[async_trait]
impl Side for SqliteSide {
    async fn mark(&mut self, direction: Direction) -> Result<Option<Mark>, StoreError> {
        mark(&self.sqlite, direction).map_err(failed)
    }

    async fn set_mark(
        &mut self,
        direction: Direction,
        mark: Option<&Mark>,
    ) -> Result<(), StoreError> {
        let direction = direction.as_str();
        let done = match mark {
            None => self.sqlite.execute("DELETE FROM moves WHERE direction = ?", [direction]),
            Some(Mark { id, other, done, at }) => self.sqlite.execute(
                "INSERT OR REPLACE INTO moves (direction, id, other, done, at) VALUES (?, ?, ?, ?, ?)",
                params![direction, id, other, done, at.as_micros()],
            ),
        };
        done.map(|_| ()).map_err(failed)
    }

    async fn obstacle(&mut self) -> Result<Option<String>, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM decided_change)";
        let unfinished: bool = self.sqlite.query_row(sql, [], |row| row.get(0)).map_err(failed)?;
        let obstacle = "a change of its configuration is not applied whole, start the service once";
        Ok(unfinished.then(|| obstacle.to_owned()))
    }

    async fn count(&mut self, table: &Table) -> Result<u64, StoreError> {
        let sql = format!("SELECT count(*) FROM {}", rows_of(table));
        self.sqlite.query_row(&sql, [], |row| row.get(0)).map(count).map_err(failed)
    }

    async fn read(
        &mut self,
        table: &Table,
        after: &[Value],
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let sql = select(table, after.is_empty());
        let mut values: Vec<Value> = after.to_vec();
        if table.key > 0 {
            values.push(Value::Int(int(limit as u64)));
        }
        let mut statement = self.sqlite.prepare_cached(&sql).map_err(failed)?;
        let mut found =
            statement.query(params_from_iter(values.iter().map(Bound))).map_err(failed)?;
        let mut rows = Vec::new();
        while let Some(row) = found.next().map_err(failed)? {
            rows.push(self.row(table, row).map_err(failed)?);
        }
        Ok(rows)
    }

    async fn progress(&mut self) -> Result<BTreeMap<String, Progress>, StoreError> {
        let sql = "SELECT name, cursor, copied, done FROM move_progress";
        let mut statement = self.sqlite.prepare(sql).map_err(failed)?;
        let rows = statement.query_map([], |row| {
            let cursor: String = row.get(1)?;
            let progress = Progress {
                cursor: Progress::read_cursor(&cursor),
                copied: count(row.get(2)?),
                done: row.get(3)?,
            };
            Ok((row.get(0)?, progress))
        });
        rows.map_err(failed)?.collect::<Result<_, _>>().map_err(failed)
    }

    async fn begin(&mut self) -> Result<(), StoreError> {
        self.run("BEGIN IMMEDIATE")
    }

    async fn write(
        &mut self,
        table: &Table,
        rows: Vec<Row>,
        progress: &Progress,
    ) -> Result<(), StoreError> {
        for row in &rows {
            self.insert(table, row).map_err(failed)?;
        }
        let sql =
            "INSERT OR REPLACE INTO move_progress (name, cursor, copied, done) VALUES (?, ?, ?, ?)";
        let cursor = progress.written_cursor();
        let written = self
            .sqlite
            .execute(sql, params![table.name, cursor, int(progress.copied), progress.done]);
        written.map(|_| ()).map_err(failed)
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        self.run("COMMIT")
    }

    /// Moved de-duplication keys are all in the first table, which takes further ones from now on: they are kept for
    /// a day after that.
    async fn finish(&mut self) -> Result<(), StoreError> {
        let next =
            self.sqlite.query_row(NEXT_KEYS, [], |row| row.get::<_, i64>(0)).map_err(failed)?;
        let next = super::transfer_rows::first_key(next);
        self.sqlite
            .execute(
                "UPDATE ledger SET next_event_id = ?1, next_delivery_id = ?1, next_attempt_id = ?1",
                [next],
            )
            .map_err(failed)?;
        let deduplication = "UPDATE deduplication SET slot = 0, since = ?,
            started_at = (SELECT service_at FROM service_time)";
        self.sqlite.execute(deduplication, [next]).map_err(failed)?;
        self.run("PRAGMA wal_checkpoint(TRUNCATE)")
    }
}

fn mark(sqlite: &Connection, direction: Direction) -> rusqlite::Result<Option<Mark>> {
    let sql = "SELECT id, other, done, at FROM moves WHERE direction = ?";
    let found = sqlite.query_row(sql, [direction.as_str()], |row| {
        Ok(Mark {
            id: row.get(0)?,
            other: row.get(1)?,
            done: row.get(2)?,
            at: Timestamp::from_micros(row.get(3)?),
        })
    });
    found.optional()
}

/// Refuses a database that was moved away, or is not moved whole.
pub(super) fn check_moves(options: &OpenOptions) -> Result<(), OpenError> {
    let path = options.path.display().to_string();
    let failed = |error| OpenError::database(&path, error);
    let sqlite = open::connect_reader(&options.path).map_err(failed)?;
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'moves')";
    let took_part: bool = sqlite.query_row(sql, [], |row| row.get(0)).map_err(failed)?;
    if !took_part {
        return Ok(());
    }
    let out = mark(&sqlite, Direction::Out).map_err(failed)?;
    let into = mark(&sqlite, Direction::In).map_err(failed)?;
    Ok(MovedError::check(&format!("sqlite://{path}"), out, into)?)
}
