//! The inbox of an engine that applications write to in transactions of their own: a message is taken out in the
//! transaction that accepts it as an event.

use std::sync::Arc;

use async_trait::async_trait;

use super::outbox::{Accepted, NewEvent};
use super::{Capacity, StoreError};
use crate::domain::id::SourceId;
use crate::domain::inbox::Backlog;

/// A message in the inbox.
#[derive(Clone, Debug)]
pub struct InboxRow {
    /// Its key in the inbox.
    pub id: i64,
    /// The source that it is for.
    pub source_id: SourceId,
    /// The messageId that the application gave beside the message.
    pub message_id: Option<String>,
    /// The message, byte for byte.
    pub message: String,
}

/// A message that becomes an event.
#[derive(Debug)]
pub struct RoutedRow {
    /// The key of its row.
    pub id: i64,
    /// The event with its deliveries.
    pub new: NewEvent,
    /// Whether it counts for its source's daily quota.
    pub is_counted: bool,
}

/// What turns messages into events.
pub trait InboxRouter: Send + Sync + 'static {
    /// Routes rows, which come grouped by source and in order. Rows that it leaves out stay in the inbox. It runs
    /// within the transaction and must not wait; when the transaction is run again, so is this.
    fn route(&self, rows: Vec<InboxRow>) -> Vec<RoutedRow>;
}

/// A source with messages in the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitingSource {
    /// The source.
    pub id: SourceId,
    /// Whether it was removed since.
    pub is_removed: bool,
}

/// A request to take messages out of the inbox.
pub struct InboxTake {
    /// The sources whose messages are taken.
    pub sources: Vec<SourceId>,
    /// How many of each at most.
    pub most_each: u32,
    /// What turns them into events.
    pub router: Arc<dyn InboxRouter>,
}

/// The inbox in the service's own database.
#[async_trait]
pub trait Inbox: Capacity {
    /// The sources that have messages, as far as committed; at most so many.
    async fn waiting_sources(&self, most: u32) -> Result<Vec<WaitingSource>, StoreError>;

    /// Takes the oldest messages of these sources, routes them and accepts the events in one durable commit. Rows
    /// that another node takes at the moment are skipped. Results are in the order of what the router returned.
    ///
    /// On an error nothing was committed, as in [`super::Outbox::accept`].
    async fn take(&self, request: InboxTake) -> Result<Vec<Accepted>, StoreError>;

    /// How many messages wait, and since when.
    async fn backlog(&self) -> Result<Backlog, StoreError>;
}
