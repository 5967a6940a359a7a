//! Inboxes: messages that applications wrote in transactions of their own are routed, limited and accepted like
//! events over HTTP. One task an inbox; it has one look at a time in progress.

mod application;
mod database;
mod drainer;
mod pace;
mod ready;
mod routed;

pub use application::ApplicationInboxes;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use self::application::ApplicationDrain;
use self::database::DatabaseDrain;
use self::drainer::Drainer;
use super::tracking_api::Intake;
use crate::domain::inbox::InboxBoard;
use crate::store::Inbox;

/// The inboxes that a node takes from.
pub struct InboxParts {
    /// The one in the service's own database, where the engine has one.
    pub database: Option<Arc<dyn Inbox>>,
    /// Those in databases of applications.
    pub applications: ApplicationInboxes,
    /// Where their states are shown.
    pub board: InboxBoard,
}

impl Intake {
    /// Takes from every inbox until it is stopped. Looks in progress are finished by [`Intake::finish`].
    pub async fn drain_inboxes(self: Arc<Self>, parts: InboxParts, stopping: CancellationToken) {
        let InboxParts { database, applications, board } = parts;
        let mut drainers = Vec::new();
        if let Some(inbox) = database {
            let drain = DatabaseDrain::new(Arc::clone(&self), inbox);
            drainers.push(Drainer::new(Box::new(drain), board.clone(), &self));
        }
        for inbox in applications {
            let drain = ApplicationDrain::new(Arc::clone(&self), inbox);
            drainers.push(Drainer::new(Box::new(drain), board.clone(), &self));
        }
        let runs = drainers.into_iter().map(|drainer| drainer.run(stopping.clone()));
        futures_util::future::join_all(runs).await;
        stopping.cancelled().await;
    }
}
