//! Activation of a saved pipeline in the running node; implemented in `server`.

use async_trait::async_trait;

/// Puts what was saved into effect.
#[async_trait]
pub trait Activation: Send + Sync + 'static {
    /// Loads the saved pipeline; it is in effect when this returns.
    async fn reload(&self);

    /// Wakes the job runner: there is a new or changed job.
    fn wake(&self);
}
