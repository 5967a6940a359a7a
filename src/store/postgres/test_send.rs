//! Test sends: kept apart from deliveries, and not counted with them.

use serde_json::json;
use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::audit;
use super::tx::{Step, Tx, params};
use crate::domain::audit::{Action, NewEntry};
use crate::domain::auth::Act;
use crate::domain::id::MappingId;
use crate::store::failure::Failure;
use crate::store::row;
use crate::store::{TestSend, TestSendRow};
use async_trait::async_trait;

/// How many of a mapping's test sends are kept.
const KEPT: i64 = 100;

/// Saves a test send.
pub(super) struct RecordTest {
    pub(super) test: TestSend,
    pub(super) act: Act,
}

#[async_trait]
impl Step for RecordTest {
    type Answer = ();
    const CONTEXT: &'static str = "record a test send";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        let (test, made) = (&self.test, &self.test.attempt);
        tx.execute(
            "INSERT INTO test_sends (mapping_id, event_id, node_id, revision_id, started_at,
                 duration_us, outcome, status, error, console, url, request_headers, body_sha256,
                 response_headers, response_body, response_truncated)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
            params![
                test.mapping_id.0,
                test.event_id.map(|id| id.0),
                made.node_id.0,
                made.revision_id.0,
                made.started_at.as_micros(),
                i64::try_from(made.duration_us).unwrap_or(i64::MAX),
                made.outcome.as_str(),
                made.status.map(i64::from),
                &made.error,
                &made.console,
                &made.url,
                &made.request_headers,
                made.body_sha256.as_ref().map(|digest| &digest[..]),
                &made.response_headers,
                &made.response_body[..],
                made.response_truncated
            ],
        )
        .await?;
        tx.execute("DELETE FROM test_sends WHERE mapping_id = $1 AND id <= (
                 SELECT id FROM test_sends WHERE mapping_id = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)", params![test.mapping_id.0, KEPT]).await?;
        self.append_audit(tx).await
    }
}

impl RecordTest {
    /// Appends its audit entry.
    async fn append_audit(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        let path: Option<String> = tx
            .first(
                "SELECT s.name || '/' || d.name || '/' || m.name FROM mappings AS m
             JOIN destinations AS d ON d.id = m.destination_id
             JOIN sources AS s ON s.id = d.source_id WHERE m.id = $1",
                params![self.test.mapping_id.0],
                |row| Ok(row.try_get(0)?),
            )
            .await?;
        let made = &self.test.attempt;
        let after = json!({"outcome": made.outcome.as_str(), "status": made.status});
        let subject = path.unwrap_or_default();
        let done = NewEntry { action: Action::TestSend, subject, before: None, after: Some(after) };
        audit::append(tx, &self.act, &done).await
    }
}

/// A mapping's test sends, newest first.
pub(super) async fn test_sends(
    conn: &mut PgConnection,
    mapping_id: MappingId,
) -> Result<Vec<TestSendRow>, Failure> {
    let rows = sqlx::query(
        "SELECT id, event_id, node_id, revision_id, started_at, duration_us, outcome, status, error,
             console, url, request_headers, body_sha256, response_headers, response_body,
             response_truncated
         FROM test_sends WHERE mapping_id = $1 ORDER BY id DESC",
    )
    .bind(mapping_id.0)
    .fetch_all(conn)
    .await?;
    rows.iter().map(|found| row::test_send(found, mapping_id)).collect()
}
