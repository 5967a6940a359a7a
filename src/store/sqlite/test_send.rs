//! Test sends: kept for the operator who made them, apart from deliveries and their counts.

use serde_json::json;
use sqlx::sqlite::SqliteConnection;

use super::audit;
use super::failure::Failure;
use super::row;
use super::writer::{Step, Tx};
use crate::domain::audit::{Action, NewEntry};
use crate::domain::auth::Act;
use crate::domain::id::MappingId;
use crate::store::{TestSend, TestSendRow};

/// How many of a mapping's test sends are kept.
const KEPT: i64 = 100;

/// Keeps a test send.
pub(super) struct RecordTest {
    pub(super) test: TestSend,
    pub(super) act: Act,
}

#[async_trait::async_trait]
impl Step for RecordTest {
    type Answer = ();
    const CONTEXT: &'static str = "record a test send";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        let (test, made) = (&self.test, &self.test.attempt);
        sqlx::query(
            "INSERT INTO test_sends (mapping_id, event_id, node_id, revision_id, started_at,
                 duration_us, outcome, status, error, console, url, request_headers, body_sha256,
                 response_headers, response_body, response_truncated)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(test.mapping_id.0)
        .bind(test.event_id.map(|id| id.0))
        .bind(made.node_id.0)
        .bind(made.revision_id.0)
        .bind(made.started_at.as_micros())
        .bind(i64::try_from(made.duration_us).unwrap_or(i64::MAX))
        .bind(made.outcome.as_str())
        .bind(made.status)
        .bind(&made.error)
        .bind(&made.console)
        .bind(&made.url)
        .bind(&made.request_headers)
        .bind(made.body_sha256.as_ref().map(|digest| &digest[..]))
        .bind(&made.response_headers)
        .bind(&made.response_body[..])
        .bind(made.response_truncated)
        .execute(&mut *tx.conn)
        .await?;
        sqlx::query(
            "DELETE FROM test_sends WHERE mapping_id = ?1 AND id <= (
                 SELECT id FROM test_sends WHERE mapping_id = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        )
        .bind(test.mapping_id.0)
        .bind(KEPT)
        .execute(&mut *tx.conn)
        .await?;
        self.tell(tx).await
    }
}

impl RecordTest {
    /// Writes an audit entry of it.
    async fn tell(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        let path: Option<String> = sqlx::query_scalar(
            "SELECT s.name || '/' || d.name || '/' || m.name FROM mappings AS m
             JOIN destinations AS d ON d.id = m.destination_id
             JOIN sources AS s ON s.id = d.source_id WHERE m.id = ?",
        )
        .bind(self.test.mapping_id.0)
        .fetch_optional(&mut *tx.conn)
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
    conn: &mut SqliteConnection,
    mapping_id: MappingId,
) -> Result<Vec<TestSendRow>, Failure> {
    let rows = sqlx::query(
        "SELECT id, event_id, node_id, revision_id, started_at, duration_us, outcome, status, error,
             console, url, request_headers, body_sha256, response_headers, response_body,
             response_truncated
         FROM test_sends WHERE mapping_id = ? ORDER BY id DESC",
    )
    .bind(mapping_id.0)
    .fetch_all(conn)
    .await?;
    rows.iter().map(|found| row::test_send(found, mapping_id)).collect()
}
