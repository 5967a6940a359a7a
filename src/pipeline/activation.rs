//! Activation of a saved pipeline in the running node; implemented in `server`.

use async_trait::async_trait;

/// The saved pipeline is not in effect yet. The node retries until it is.
#[derive(Debug, thiserror::Error)]
#[error("the change is saved but not in effect yet; the service retries: {cause}")]
pub struct NotActive {
    /// Why.
    pub cause: String,
}

/// Puts what was saved into effect.
#[async_trait]
pub trait Activation: Send + Sync + 'static {
    /// Loads the saved pipeline; it is in effect when this returns.
    ///
    /// # Errors
    /// [`NotActive`] when it could not be loaded; it is loaded again until it is in effect.
    async fn reload(&self) -> Result<(), NotActive>;

    /// Wakes the job runner: there is a new or changed job.
    fn wake(&self);
}
