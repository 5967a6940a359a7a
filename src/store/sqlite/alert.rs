//! Alerts: those that stand, and those whose end is yet to be told.

use sqlx::sqlite::SqliteConnection;

use super::SqliteStore;
use super::failure::{Failure, to_store};
use super::row::{Columns, foreign};
use super::writer::{Step, Tx};
use crate::domain::alert::{Alert, AlertKind};
use crate::store::{AlertStore, StoreError};

#[async_trait::async_trait]
impl AlertStore for SqliteStore {
    async fn alerts(&self) -> Result<Vec<Alert>, StoreError> {
        const CONTEXT: &str = "read the alerts";
        let mut conn = self.reader(CONTEXT).await?;
        read(&mut conn).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn put_alert(&self, alert: Alert) -> Result<(), StoreError> {
        self.queue.step(Put(alert)).await
    }

    async fn forget_alert(&self, kind: AlertKind, subject: &str) -> Result<(), StoreError> {
        self.queue.step(Forget { kind, subject: subject.to_owned() }).await
    }
}

async fn read(conn: &mut SqliteConnection) -> Result<Vec<Alert>, Failure> {
    let rows = sqlx::query(
        "SELECT kind, subject, detail, raised_at, cleared_at, told FROM alerts
         ORDER BY raised_at, kind, subject",
    )
    .fetch_all(conn)
    .await?;
    let mut alerts = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut from = Columns::from(row, 0);
        let kind: &str = from.take()?;
        alerts.push(Alert {
            kind: AlertKind::parse(kind).ok_or_else(|| foreign("the alert", kind))?,
            subject: from.take()?,
            detail: from.take()?,
            raised_at: from.at()?,
            cleared_at: from.maybe_at()?,
            published: from.take()?,
        });
    }
    Ok(alerts)
}

/// Keeps an alert, in place of the one about the same.
#[derive(Debug)]
struct Put(Alert);

#[async_trait::async_trait]
impl Step for Put {
    type Answer = ();
    const CONTEXT: &'static str = "keep an alert";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        let alert = &self.0;
        sqlx::query(
            "INSERT OR REPLACE INTO alerts (kind, subject, detail, raised_at, cleared_at, told)
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(alert.kind.as_str())
        .bind(alert.subject.as_str())
        .bind(alert.detail.as_str())
        .bind(alert.raised_at.as_micros())
        .bind(alert.cleared_at.map(crate::domain::clock::Timestamp::as_micros))
        .bind(alert.published)
        .execute(&mut *tx.conn)
        .await?;
        Ok(())
    }
}

/// Forgets an alert.
#[derive(Debug)]
struct Forget {
    kind: AlertKind,
    subject: String,
}

#[async_trait::async_trait]
impl Step for Forget {
    type Answer = ();
    const CONTEXT: &'static str = "forget an alert";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        sqlx::query("DELETE FROM alerts WHERE kind = ? AND subject = ?")
            .bind(self.kind.as_str())
            .bind(self.subject.as_str())
            .execute(&mut *tx.conn)
            .await?;
        Ok(())
    }
}
