//! An inbox in the database of an application: messages are accepted first and deleted after that. Those that were
//! accepted and could not be deleted are deleted before anything else is taken.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::super::message::RowIds;
use super::super::response::IntakeError;
use super::super::tenant::Tenant;
use super::super::tracking_api::Intake;
use super::drainer::{Drain, Drained};
use super::ready::{LimitedSources, MOST_ROWS, Turns};
use super::routed::{Message, Routed};
use crate::domain::error_chain;
use crate::domain::inbox::Backlog;
use crate::store::{ApplicationError, ApplicationInbox, ApplicationRow};

/// How many sources one look asks for.
const MOST_WAITING: u32 = 4_096;
/// How many sources are named that messages wait for.
const MOST_NAMED: usize = 16;

/// Inboxes in databases of applications.
pub type ApplicationInboxes = Vec<Box<dyn ApplicationInbox>>;

/// Takes from an application's inbox.
pub(super) struct ApplicationDrain {
    intake: Arc<Intake>,
    inbox: Box<dyn ApplicationInbox>,
    limited: LimitedSources,
    turns: Turns,
    /// Accepted and not deleted yet.
    accepted: Vec<ApplicationRow>,
}

impl ApplicationDrain {
    pub(super) fn new(intake: Arc<Intake>, inbox: Box<dyn ApplicationInbox>) -> Self {
        let (limited, turns) = (LimitedSources::default(), Turns::default());
        Self { intake, inbox, limited, turns, accepted: Vec::new() }
    }

    /// The sources whose messages can be taken, and those that messages wait for.
    fn ready(&mut self, waiting: Vec<String>) -> (Vec<String>, Vec<String>) {
        let (routes, now) = (self.intake.routes.current(), self.intake.clock.service_now());
        let (mut ready, mut waits_for) = (Vec::new(), Vec::new());
        for name in waiting {
            match routes.source_named(&name) {
                Some(route) if route.enabled => {
                    if !self.limited.waits(route.id, now) {
                        ready.push(name);
                    }
                }
                Some(_) | None if waits_for.len() < MOST_NAMED => waits_for.push(name),
                Some(_) | None => {}
            }
        }
        (ready, waits_for)
    }

    async fn delete(&mut self) -> Result<(), ApplicationError> {
        self.inbox.delete(&self.accepted).await?;
        self.accepted.clear();
        Ok(())
    }

    async fn take(&mut self) -> Result<Drained, Fault> {
        if !self.accepted.is_empty() {
            self.delete().await?;
        }
        if !self.intake.store.has_room() {
            return Err(IntakeError::DiskFull.into());
        }
        let waiting = self.inbox.waiting_sources(MOST_WAITING).await?;
        let (ready, waits_for) = self.ready(waiting);
        let (picked, most_each) = self.turns.pick(&ready);
        if picked.is_empty() {
            return Ok(Drained { waits_for, ..Drained::default() });
        }
        let rows = self.inbox.take(&picked, most_each).await?;
        let is_full = rows.len() >= MOST_ROWS as usize || picked.len() < ready.len();
        let accepted = self.accept(&rows).await;
        let taken = self.accepted.len();
        // Also when nothing was accepted: it releases the rows.
        self.delete().await?;
        accepted?;
        Ok(Drained { taken, is_full: is_full && taken > 0, waits_for })
    }

    /// Accepts rows, each source's in a request of its own; the first refusal of one stops none.
    async fn accept(&mut self, rows: &[ApplicationRow]) -> Result<(), IntakeError> {
        let (routes, now) = (self.intake.routes.current(), self.intake.clock.service_now());
        let mut requests = Vec::new();
        for group in rows.chunk_by(|one, next| one.source == next.source) {
            let source = group.first().and_then(|row| routes.source_named(&row.source));
            let Some(source) = source else { continue };
            let mut memory = self.intake.memory.reservation(Tenant::Source(source.id));
            memory.grow(group.iter().map(|row| row.message.len()).sum())?;
            let messages: Vec<_> = group.iter().map(message).collect();
            let Routed { write, slots, limit } = Routed::of(&self.intake, source, &messages);
            if let Some(reached) = limit {
                self.limited.note(source.id, reached, now);
            }
            let taken = &group[..write.events.len().min(group.len())];
            if taken.is_empty() {
                continue;
            }
            let intake = Arc::clone(&self.intake);
            requests.push(async move {
                let accepted = intake.accept((write, slots), (memory, None)).await;
                accepted.map(|_counts| taken.to_vec())
            });
        }
        let mut refused = Ok(());
        for answer in futures_util::future::join_all(requests).await {
            match answer {
                Ok(taken) => self.accepted.extend(taken),
                Err(error) => refused = Err(error),
            }
        }
        refused
    }
}

fn message(row: &ApplicationRow) -> Message {
    // The row's key makes a message that is taken twice a duplicate, whatever it has in it.
    let ids = RowIds { given: row.message_id.clone(), otherwise: Some(row.key.clone()) };
    Message { body: Bytes::copy_from_slice(row.message.as_bytes()), ids }
}

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Inbox(#[from] ApplicationError),
    #[error(transparent)]
    Intake(#[from] IntakeError),
}

#[async_trait]
impl Drain for ApplicationDrain {
    fn name(&self) -> String {
        self.inbox.name()
    }

    async fn drain(&mut self) -> Result<Drained, String> {
        self.take().await.map_err(|fault| error_chain::display(&fault))
    }

    async fn backlog(&mut self) -> Result<Backlog, String> {
        self.inbox.backlog().await.map_err(|error| error_chain::display(&error))
    }
}
