//! The running service: startup, wiring of the parts, listener and request routing, and shutdown in
//! order.

mod adapters;
mod app;
mod client_stream;
mod connection_limit;
mod descriptors;
mod error;
mod host_check;
pub mod listener;
mod node;
mod parts;
pub mod router;
mod shutdown;
mod stall_guard;
mod startup;
mod threads;
mod wiring;

pub use app::App;
pub use error::AppError;
pub use parts::{AppParts, WrapOutbox};

use crate::settings::Loaded;

/// Serves until SIGTERM or SIGINT, or until the database or a task that it cannot do without fails.
///
/// # Errors
/// [`AppError`] when the service does not start, or fails.
pub async fn serve(loaded: Loaded) -> Result<(), AppError> {
    let parts = AppParts { origins: loaded.origins, ..AppParts::new(loaded.settings)? };
    let app = App::start(parts).await?;
    tracing::info!(address = %app.address, version = env!("CARGO_PKG_VERSION"), "serving");
    tokio::select! {
        () = shutdown::signal_received() => {
            tracing::info!("shutting down: finishing requests and attempts under way");
            app.stop().await;
            tracing::info!("stopped");
            Ok(())
        }
        error = app.failed() => Err(error),
    }
}
