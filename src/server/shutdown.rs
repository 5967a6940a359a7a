//! Shutdown: on SIGTERM or SIGINT the app stops its parts in order, so that requests finish, running
//! attempts are recorded within the grace period, and the store is closed last.

use super::app::App;

/// Resolves on SIGTERM or SIGINT.
pub(super) async fn signal_received() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                terminate.recv().await;
            }
            Err(error) => {
                tracing::error!(%error, "the SIGTERM handler cannot be installed; SIGINT still stops");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = terminate => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

impl App {
    /// Stops in order: the listener and its requests, the events that intake is committing, maintenance
    /// and jobs, deliveries, functions, the last statistics and spans, the store.
    pub async fn stop(self) {
        self.stopping.cancel();
        self.stop_server.cancel();
        if let Err(error) = self.server.await {
            tracing::error!(%error, "the listener task failed");
        }
        if let Err(error) = self.inboxes.await {
            tracing::error!(%error, "the task that takes from inboxes failed");
        }
        self.intake.finish().await;
        if let Some(schedule) = self.schedule {
            schedule.stop().await;
        }
        if let Err(error) = self.job_runner.await {
            tracing::error!(%error, "the job runner failed");
        }
        if let Err(error) = self.connections.await {
            tracing::error!(%error, "the task that follows lost connections failed");
        }
        self.dispatcher.stop(self.grace).await;
        drop(self.threads);
        self.functions.stop();
        if let Err(error) = self.duties.clone().store_last_used().await {
            tracing::error!(%error, "the last use of tokens was not stored");
        }
        if let Err(error) = self.duties.roll_up().await {
            tracing::error!(%error, "the last minutes of statistics were not rolled up; the next start does it");
        }
        if let Some(exporter) = self.exporter {
            exporter.stop().await;
        }
        self.store.close().await;
    }
}
