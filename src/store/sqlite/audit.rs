//! The audit log: entries written in the commits of what they tell of, each chained to the one
//! before it.

use serde_json::Value;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::failure::Failure;
use super::pipeline::{bytes, json};
use super::row::{Columns, foreign};
use super::writer::{Step, Tx};
use crate::domain::audit::{Action, CHAIN_START, Entry, NewEntry, chained};
use crate::domain::auth::{Act, Role};
use crate::domain::clock::Timestamp;
use crate::store::{AuditQuery, AuditVerdict};

/// Entries verified in one read.
const VERIFIED_AT_ONCE: i64 = 1_000;

/// Writes an entry behind the last one.
pub(super) async fn append(tx: &mut Tx<'_>, act: &Act, done: &NewEntry) -> Result<(), Failure> {
    let last = sqlx::query("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1")
        .fetch_optional(&mut *tx.conn)
        .await?;
    let (number, previous) = match last {
        Some(row) => {
            let mut from = Columns::from(&row, 0);
            (from.take::<i64>()? + 1, bytes(&mut from, "an audit entry's hash")?)
        }
        None => (1, CHAIN_START),
    };
    let hash = chained(&previous, number, act, done);
    sqlx::query(
        "INSERT INTO audit (number, at, actor, role, from_address, request_id, note, action,
             subject, before, after, hash)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(number)
    .bind(act.at.as_micros())
    .bind(&act.actor)
    .bind(act.role.map(Role::as_str))
    .bind(&act.from)
    .bind(&act.request_id)
    .bind(&act.note)
    .bind(done.action.as_str())
    .bind(&done.subject)
    .bind(done.before.as_ref().map(Value::to_string))
    .bind(done.after.as_ref().map(Value::to_string))
    .bind(&hash[..])
    .execute(&mut *tx.conn)
    .await?;
    Ok(())
}

fn entry(row: &SqliteRow) -> Result<Entry, Failure> {
    let mut from = Columns::from(row, 0);
    let (number, at) = (from.take()?, from.at()?);
    let actor = from.take()?;
    let role = match from.take::<Option<&str>>()? {
        Some(word) => Some(Role::parse(word).ok_or_else(|| foreign("the role", word))?),
        None => None,
    };
    let act =
        Act { actor, role, from: from.take()?, request_id: from.take()?, note: from.take()?, at };
    let word: &str = from.take()?;
    let action = Action::parse(word).ok_or_else(|| foreign("the action", word))?;
    let subject = from.take()?;
    let value = |text: Option<&str>| text.map(|text| json("an audit entry", text)).transpose();
    let (before, after) = (value(from.take()?)?, value(from.take()?)?);
    let hash = bytes(&mut from, "an audit entry's hash")?;
    Ok(Entry { number, act, done: NewEntry { action, subject, before, after }, hash })
}

/// Entries that meet all conditions, newest first.
pub(super) async fn list(
    conn: &mut SqliteConnection,
    query: &AuditQuery,
) -> Result<Vec<Entry>, Failure> {
    // A limited caller sees what is told of its destinations: them and what is below them.
    let within = query.within.as_ref().map(|paths| Value::from(paths.clone()).to_string());
    let rows = sqlx::query(
        "SELECT number, at, actor, role, from_address, request_id, note, action, subject, before,
             after, hash
         FROM audit
         WHERE number < ?1 AND (?2 IS NULL OR actor = ?2) AND (?3 IS NULL OR action = ?3)
             AND (?4 IS NULL OR subject = ?4
                 OR substr(subject, 1, length(?4) + 1) = ?4 || '/')
             AND (?5 IS NULL OR at >= ?5) AND (?6 IS NULL OR at < ?6)
             AND (?7 IS NULL OR EXISTS (SELECT 1 FROM json_each(?7) AS path WHERE
                 subject = path.value
                 OR substr(subject, 1, length(path.value) + 1) = path.value || '/'))
         ORDER BY number DESC LIMIT ?8",
    )
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
    rows.iter().map(entry).collect()
}

/// Works every hash out again, from the first entry on.
pub(super) async fn verify(conn: &mut SqliteConnection) -> Result<AuditVerdict, Failure> {
    let (mut count, mut head) = (0, CHAIN_START);
    loop {
        let rows = sqlx::query(
            "SELECT number, at, actor, role, from_address, request_id, note, action, subject,
                 before, after, hash
             FROM audit WHERE number > ? ORDER BY number LIMIT ?",
        )
        .bind(count)
        .bind(VERIFIED_AT_ONCE)
        .fetch_all(&mut *conn)
        .await?;
        if rows.is_empty() {
            return Ok(AuditVerdict { count, head, broken: None });
        }
        for row in &rows {
            let number: i64 = row.try_get(0)?;
            // What cannot be read any more was changed just as what reads differently.
            let whole = entry(row).ok().filter(|it| {
                number == count + 1 && chained(&head, number, &it.act, &it.done) == it.hash
            });
            let Some(whole) = whole else {
                return Ok(AuditVerdict { count, head, broken: Some(count + 1) });
            };
            (count, head) = (number, whole.hash);
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
    row.map(|row| bytes(&mut Columns::from(&row, 0), "an audit entry's hash")).transpose()
}

/// Writes an entry of what changed nothing else.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) act: Act,
    pub(super) done: NewEntry,
}

#[async_trait::async_trait]
impl Step for Note {
    type Answer = ();
    const CONTEXT: &'static str = "write an audit entry";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        append(tx, &self.act, &self.done).await
    }
}
