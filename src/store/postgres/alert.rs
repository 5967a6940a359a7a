//! Alerts: those that are raised, and those whose end is not yet notified.

use sqlx::postgres::PgConnection;

use super::tx::{Step, Tx, params};
use crate::domain::alert::{Alert, AlertKind};
use crate::store::failure::Failure;
use crate::store::row;
use async_trait::async_trait;

pub(super) async fn read(conn: &mut PgConnection) -> Result<Vec<Alert>, Failure> {
    let rows = sqlx::query(
        "SELECT kind, subject, detail, raised_at, cleared_at, told FROM alerts
         ORDER BY raised_at, kind, subject",
    )
    .fetch_all(conn)
    .await?;
    rows.iter().map(row::alert).collect()
}

/// Upserts an alert.
#[derive(Debug)]
pub(super) struct Put(pub(super) Alert);

#[async_trait]
impl Step for Put {
    type Answer = ();
    const CONTEXT: &'static str = "save an alert";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        let alert = &self.0;
        tx.execute(
            "INSERT INTO alerts (kind, subject, detail, raised_at, cleared_at, told)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (kind, subject) DO UPDATE SET detail = excluded.detail,
                raised_at = excluded.raised_at, cleared_at = excluded.cleared_at,
                told = excluded.told",
            params![
                alert.kind.as_str(),
                alert.subject.as_str(),
                alert.detail.as_str(),
                alert.raised_at.as_micros(),
                alert.cleared_at.map(crate::domain::clock::Timestamp::as_micros),
                alert.published
            ],
        )
        .await?;
        Ok(())
    }
}

/// Deletes an alert.
#[derive(Debug)]
pub(super) struct Forget {
    pub(super) kind: AlertKind,
    pub(super) subject: String,
}

#[async_trait]
impl Step for Forget {
    type Answer = ();
    const CONTEXT: &'static str = "delete an alert";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        tx.execute(
            "DELETE FROM alerts WHERE kind = $1 AND subject = $2",
            params![self.kind.as_str(), self.subject.as_str()],
        )
        .await?;
        Ok(())
    }
}
