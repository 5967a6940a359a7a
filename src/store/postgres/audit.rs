//! The audit log: each entry is written in the commit of the change it describes, and is chained by its hash
//! to the entry before it.

use serde_json::Value;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::rows::NewRows;
use super::tx::{Step, Tx, params};
use crate::domain::audit::{Action, CHAIN_START, Entry, NewEntry, chained};
use crate::domain::auth::{Act, Role};
use crate::domain::clock::Timestamp;
use crate::store::failure::Failure;
use crate::store::row::{self, AUDIT_COLUMNS, Columns};
use crate::store::{AuditQuery, AuditVerdict};
use async_trait::async_trait;

/// Entries verified in one read.
const VERIFIED_AT_ONCE: i64 = 1_000;

/// The advisory lock of those who append: "audit".
const AUDIT_LOCK: i64 = 0x6175_6469_7400;

/// Waits until no other transaction appends: entries are numbered and chained one after the other. A step that
/// decides by what is audited takes it first.
pub(super) async fn lock(tx: &mut Tx<'_>) -> Result<(), Failure> {
    tx.execute("SELECT pg_advisory_xact_lock($1)", params![AUDIT_LOCK]).await.map(|_| ())
}

/// Appends an entry.
pub(super) async fn append(tx: &mut Tx<'_>, act: &Act, done: &NewEntry) -> Result<(), Failure> {
    append_all(tx, act, std::slice::from_ref(done)).await
}

/// Appends entries, in their order.
pub(super) async fn append_all(
    tx: &mut Tx<'_>,
    act: &Act,
    entries: &[NewEntry],
) -> Result<(), Failure> {
    if entries.is_empty() {
        return Ok(());
    }
    lock(tx).await?;
    let last = tx
        .first("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1", params![], |row| {
            let mut from = Columns::from(row, 0);
            Ok((from.take::<i64>()?, from.bytes("an audit entry's hash")?))
        })
        .await?;
    let (mut number, mut hash) = last.unwrap_or((0, CHAIN_START));
    let mut rows = NewRows::default();
    for done in entries {
        number += 1;
        hash = chained(&hash, number, act, done);
        let json = |value: Option<&Value>| value.map(Value::to_string);
        rows.row()
            .int(number)
            .int(act.at.as_micros())
            .text(&act.actor)
            .maybe_text(act.role.map(Role::as_str))
            .text(&act.from)
            .maybe_text(act.request_id.as_deref())
            .maybe_text(act.note.as_deref())
            .text(done.action.as_str())
            .text(&done.subject)
            .maybe_text(json(done.before.as_ref()).as_deref())
            .maybe_text(json(done.after.as_ref()).as_deref())
            .bytes(&hash);
    }
    rows.insert(
        tx.conn,
        "audit (number, at, actor, role, from_address, request_id, note, action, subject, before, \
         after, hash)",
    )
    .await
}

/// Entries that meet all conditions, newest first.
pub(super) async fn list(
    conn: &mut PgConnection,
    query: &AuditQuery,
) -> Result<Vec<Entry>, Failure> {
    // A caller with a limited scope sees the entries of its destinations and of what is below them.
    let sql = format!(
        "SELECT {AUDIT_COLUMNS} FROM audit
         WHERE number < $1 AND ($2::text IS NULL OR actor = $2) AND ($3::text IS NULL OR action = $3)
             AND ($4::text IS NULL OR subject = $4
                 OR substr(subject, 1, length($4) + 1) = $4 || '/')
             AND ($5::bigint IS NULL OR at >= $5) AND ($6::bigint IS NULL OR at < $6)
             AND ($7::text[] IS NULL OR EXISTS (SELECT 1 FROM unnest($7) AS path (value) WHERE
                 subject = path.value
                 OR substr(subject, 1, length(path.value) + 1) = path.value || '/'))
         ORDER BY number DESC LIMIT $8",
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(query.before.unwrap_or(i64::MAX))
        .bind(&query.actor)
        .bind(query.action.map(Action::as_str))
        .bind(&query.subject)
        .bind(query.from.map(Timestamp::as_micros))
        .bind(query.until.map(Timestamp::as_micros))
        .bind(&query.within)
        .bind(i64::from(query.limit))
        .fetch_all(conn)
        .await?;
    rows.iter().map(row::audit_entry).collect()
}

/// Recomputes every hash from the first entry on.
pub(super) async fn verify(conn: &mut PgConnection) -> Result<AuditVerdict, Failure> {
    let mut chain = row::Chain::default();
    let sql =
        format!("SELECT {AUDIT_COLUMNS} FROM audit WHERE number > $1 ORDER BY number LIMIT $2");
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
    conn: &mut PgConnection,
    number: i64,
) -> Result<Option<[u8; 32]>, Failure> {
    let row = sqlx::query("SELECT hash FROM audit WHERE number = $1")
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

#[async_trait]
impl Step for Note {
    type Answer = ();
    const CONTEXT: &'static str = "write an audit entry";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        append(tx, &self.act, &self.done).await
    }
}
