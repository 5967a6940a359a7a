//! Alerts as the store keeps them, and the steps on them.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::alert::{Alert, AlertKind};

/// The alerts that stand, and those whose end is yet to be told.
#[async_trait]
pub trait AlertStore: Send + Sync {
    /// Every alert that is kept, the oldest first.
    async fn alerts(&self) -> Result<Vec<Alert>, StoreError>;

    /// Keeps an alert, in place of the one of the same kind about the same.
    async fn put_alert(&self, alert: Alert) -> Result<(), StoreError>;

    /// Forgets an alert, if it is kept.
    async fn forget_alert(&self, kind: AlertKind, subject: &str) -> Result<(), StoreError>;
}
