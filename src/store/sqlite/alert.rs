//! Alerts: those that are raised, and those whose end is not yet notified.

use rusqlite::params;
use sqlx::sqlite::SqliteConnection;

use super::writer::step::{Step, Tx};
use crate::domain::alert::{Alert, AlertKind};
use crate::store::failure::Failure;
use crate::store::row;

pub(super) async fn read(conn: &mut SqliteConnection) -> Result<Vec<Alert>, Failure> {
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

impl Step for Put {
    type Answer = ();
    const CONTEXT: &'static str = "save an alert";

    fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        let alert = &self.0;
        tx.execute(
            "INSERT OR REPLACE INTO alerts (kind, subject, detail, raised_at, cleared_at, told)
             VALUES (?, ?, ?, ?, ?, ?)",
            params![
                alert.kind.as_str(),
                alert.subject.as_str(),
                alert.detail.as_str(),
                alert.raised_at.as_micros(),
                alert.cleared_at.map(crate::domain::clock::Timestamp::as_micros),
                alert.published
            ],
        )?;
        Ok(())
    }
}

/// Deletes an alert.
#[derive(Debug)]
pub(super) struct Forget {
    pub(super) kind: AlertKind,
    pub(super) subject: String,
}

impl Step for Forget {
    type Answer = ();
    const CONTEXT: &'static str = "delete an alert";

    fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        tx.execute(
            "DELETE FROM alerts WHERE kind = ? AND subject = ?",
            params![self.kind.as_str(), self.subject.as_str()],
        )?;
        Ok(())
    }
}
