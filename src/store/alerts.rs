//! Alerts at rest: those raised, and those resolved whose notification is still to be sent.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::alert::{Alert, AlertKind};

/// Stored alerts.
#[async_trait]
pub trait AlertStore: Send + Sync + 'static {
    /// Every stored alert, oldest first.
    async fn alerts(&self) -> Result<Vec<Alert>, StoreError>;

    /// Inserts an alert, or replaces the one of the same kind and subject.
    async fn put_alert(&self, alert: Alert) -> Result<(), StoreError>;

    /// Removes an alert, if it is stored.
    async fn remove_alert(&self, kind: AlertKind, subject: &str) -> Result<(), StoreError>;
}
