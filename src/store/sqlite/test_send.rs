//! Test sends: kept for the operator who made them, apart from deliveries and their counts.

use sqlx::sqlite::SqliteConnection;

use super::failure::Failure;
use super::row;
use super::writer::{Step, Tx};
use crate::domain::id::MappingId;
use crate::store::{TestSend, TestSendRow};

/// How many of a mapping's test sends are kept.
const KEPT: i64 = 100;

/// Keeps a test send.
pub(super) struct RecordTest(pub(super) TestSend);

#[async_trait::async_trait]
impl Step for RecordTest {
    type Answer = ();
    const CONTEXT: &'static str = "record a test send";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        let (test, made) = (&self.0, &self.0.attempt);
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
        Ok(())
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
