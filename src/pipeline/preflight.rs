//! Checks of a document that need the running node; implemented in `server`.

use async_trait::async_trait;

use crate::functions::Function;

/// Checks before a change is saved.
#[async_trait]
pub trait Preflight: Send + Sync + 'static {
    /// Whether the SSRF policy allows deliveries to this URL; the reason if not.
    async fn check_destination(&self, url: &url::Url) -> Result<(), String>;

    /// Whether an insert function loads and has a handler; the reason if not.
    async fn check_function(&self, function: &Function) -> Result<(), String>;
}
