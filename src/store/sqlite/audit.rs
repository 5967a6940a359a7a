//! The audit log: each entry is written in the commit of the change it describes, and is chained by its hash
//! to the entry before it.

use rusqlite::params;
use serde_json::Value;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;

use super::writer::step::{Step, Tx};
use crate::domain::audit::{Action, CHAIN_START, Entry, NewEntry, chained};
use crate::domain::auth::{Act, Role};
use crate::domain::clock::Timestamp;
use crate::store::failure::Failure;
use crate::store::row::{self, AUDIT_COLUMNS, Columns};
use crate::store::{AuditQuery, AuditVerdict};

/// Entries verified in one read.
const VERIFIED_AT_ONCE: i64 = 1_000;

/// Appends an entry.
pub(super) fn append(tx: &mut Tx<'_>, act: &Act, done: &NewEntry) -> Result<(), Failure> {
    let last = tx.sqlite.first(
        "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1",
        &[],
        |row| {
            let mut from = Columns::from(row, 0);
            Ok::<_, Failure>((from.take::<i64>()?, from.bytes("an audit entry's hash")?))
        },
    )?;
    let (number, previous) = last.map_or((1, CHAIN_START), |(number, hash)| (number + 1, hash));
    let hash = chained(&previous, number, act, done);
    tx.execute(
        "INSERT INTO audit (number, at, actor, role, from_address, request_id, note, action,
             subject, before, after, hash)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            number,
            act.at.as_micros(),
            &act.actor,
            act.role.map(Role::as_str),
            &act.from,
            &act.request_id,
            &act.note,
            done.action.as_str(),
            &done.subject,
            done.before.as_ref().map(Value::to_string),
            done.after.as_ref().map(Value::to_string),
            &hash[..]
        ],
    )?;
    Ok(())
}

/// Entries that meet all conditions, newest first.
pub(super) async fn list(
    conn: &mut SqliteConnection,
    query: &AuditQuery,
) -> Result<Vec<Entry>, Failure> {
    // A caller with a limited scope sees the entries of its destinations and of what is below them.
    let within = query.within.as_ref().map(|paths| Value::from(paths.clone()).to_string());
    let sql = format!(
        "SELECT {AUDIT_COLUMNS} FROM audit
         WHERE number < ?1 AND (?2 IS NULL OR actor = ?2) AND (?3 IS NULL OR action = ?3)
             AND (?4 IS NULL OR subject = ?4
                 OR substr(subject, 1, length(?4) + 1) = ?4 || '/')
             AND (?5 IS NULL OR at >= ?5) AND (?6 IS NULL OR at < ?6)
             AND (?7 IS NULL OR EXISTS (SELECT 1 FROM json_each(?7) AS path WHERE
                 subject = path.value
                 OR substr(subject, 1, length(path.value) + 1) = path.value || '/'))
         ORDER BY number DESC LIMIT ?8",
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(query.before.unwrap_or(i64::MAX))
        .bind(&query.actor)
        .bind(query.action.map(Action::as_str))
        .bind(&query.subject)
        .bind(query.from.map(Timestamp::as_micros))
        .bind(query.until.map(Timestamp::as_micros))
        .bind(within)
        .bind(query.limit)
        .fetch_all(conn)
        .await?;
    rows.iter().map(row::audit_entry).collect()
}

/// Recomputes every hash from the first entry on.
pub(super) async fn verify(conn: &mut SqliteConnection) -> Result<AuditVerdict, Failure> {
    let mut chain = row::Chain::default();
    let sql = format!("SELECT {AUDIT_COLUMNS} FROM audit WHERE number > ? ORDER BY number LIMIT ?");
    loop {
        let rows = sqlx::query(AssertSqlSafe(sql.as_str()))
            .bind(chain.count())
            .bind(VERIFIED_AT_ONCE)
            .fetch_all(&mut *conn)
            .await?;
        if rows.is_empty() || !rows.iter().all(|row| chain.follows(row)) {
            return Ok(chain.verdict());
        }
    }
}

/// The hash of an entry; none when there is no such entry.
pub(super) async fn hash_of(
    conn: &mut SqliteConnection,
    number: i64,
) -> Result<Option<[u8; 32]>, Failure> {
    let row = sqlx::query("SELECT hash FROM audit WHERE number = ?")
        .bind(number)
        .fetch_optional(conn)
        .await?;
    row.map(|row| Columns::from(&row, 0).bytes("an audit entry's hash")).transpose()
}

/// Appends an entry of an act that writes nothing else.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) act: Act,
    pub(super) done: NewEntry,
}

impl Step for Note {
    type Answer = ();
    const CONTEXT: &'static str = "write an audit entry";

    fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        append(tx, &self.act, &self.done)
    }
}
