//! Alerts on PostgreSQL.

use async_trait::async_trait;

use super::super::error::to_store;
use super::super::{PostgresStore, alert};
use crate::domain::alert::{Alert, AlertKind};
use crate::store::{AlertStore, StoreError};

#[async_trait]
impl AlertStore for PostgresStore {
    async fn alerts(&self) -> Result<Vec<Alert>, StoreError> {
        const CONTEXT: &str = "read the alerts";
        let mut conn = self.reader(CONTEXT).await?;
        alert::read(&mut conn).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn put_alert(&self, raised: Alert) -> Result<(), StoreError> {
        self.step(alert::Put(raised)).await
    }

    async fn remove_alert(&self, kind: AlertKind, subject: &str) -> Result<(), StoreError> {
        self.step(alert::Forget { kind, subject: subject.to_owned() }).await
    }
}
