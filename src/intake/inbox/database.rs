//! The inbox in the service's own database: messages are taken out by the commit that accepts them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::super::accept::Pending;
use super::super::message::RowIds;
use super::super::tracking_api::Intake;
use super::drainer::{Drain, Drained};
use super::ready::{LimitedSources, MOST_ROWS, Turns};
use super::routed::{Message, Routed};
use crate::domain::error_chain;
use crate::domain::event::{Document, Event};
use crate::domain::id::SourceId;
use crate::domain::inbox::Backlog;
use crate::domain::source_limiter::LimitReached;
use crate::store::{
    Inbox, InboxRouter, InboxRow, InboxTake, NewEvent, RoutedRow, StoreError, WaitingSource,
};

/// How many sources one look asks for.
const MOST_WAITING: u32 = 4_096;

/// Takes from the inbox of the service's own database.
pub(super) struct DatabaseDrain {
    intake: Arc<Intake>,
    inbox: Arc<dyn Inbox>,
    limited: LimitedSources,
    turns: Turns,
}

impl DatabaseDrain {
    pub(super) fn new(intake: Arc<Intake>, inbox: Arc<dyn Inbox>) -> Self {
        Self { intake, inbox, limited: LimitedSources::default(), turns: Turns::default() }
    }

    /// The sources whose messages can be taken, and the names of those that are disabled.
    fn ready(&mut self, waiting: Vec<WaitingSource>) -> (Vec<WaitingSource>, Vec<String>) {
        let (routes, now) = (self.intake.routes.current(), self.intake.clock.service_now());
        let (mut ready, mut disabled) = (Vec::new(), Vec::new());
        for source in waiting {
            match routes.source(source.id) {
                _ if source.is_removed => ready.push(source),
                Some(route) if !route.enabled => disabled.push(route.name.clone()),
                Some(_) if !self.limited.waits(source.id, now) => ready.push(source),
                // Limited, or newer than this node's pipeline.
                Some(_) | None => {}
            }
        }
        (ready, disabled)
    }

    async fn take(&mut self) -> Result<Drained, StoreError> {
        if !self.inbox.has_room() {
            return Err(StoreError::Full);
        }
        let waiting = self.inbox.waiting_sources(MOST_WAITING).await?;
        let (ready, waits_for) = self.ready(waiting);
        let (picked, most_each) = self.turns.pick(&ready);
        if picked.is_empty() {
            return Ok(Drained { waits_for, ..Drained::default() });
        }
        let router = Arc::new(Router {
            intake: Arc::clone(&self.intake),
            removed: picked.iter().filter(|it| it.is_removed).map(|it| it.id).collect(),
            routing: Mutex::default(),
        });
        let sources = picked.iter().map(|it| it.id).collect();
        let request = InboxTake { sources, most_each, router: Arc::clone(&router) as _ };
        let accepted = self.inbox.take(request).await?;
        let Routing { mut pending, limits, seen } = std::mem::take(&mut *router.routing());
        let mut rest = accepted.as_slice();
        for one in pending.drain(..) {
            let of_one;
            (of_one, rest) = rest.split_at(one.len().min(rest.len()));
            one.settle(of_one, &self.intake.live);
        }
        let now = self.intake.clock.service_now();
        for (source, reached) in limits {
            self.limited.note(source, reached, now);
        }
        let is_full = seen >= MOST_ROWS as usize || picked.len() < ready.len();
        Ok(Drained { taken: accepted.len(), is_full, waits_for })
    }
}

#[async_trait]
impl Drain for DatabaseDrain {
    fn name(&self) -> String {
        "postrider.inbox".to_owned()
    }

    async fn drain(&mut self) -> Result<Drained, String> {
        self.take().await.map_err(|error| error_chain::display(&error))
    }

    async fn backlog(&mut self) -> Result<Backlog, String> {
        self.inbox.backlog().await.map_err(|error| error_chain::display(&error))
    }
}

/// Routes the rows of one look.
struct Router {
    intake: Arc<Intake>,
    removed: HashSet<SourceId>,
    routing: Mutex<Routing>,
}

/// What the last run of the transaction routed, until its commit.
#[derive(Default)]
struct Routing {
    pending: Vec<Pending>,
    limits: Vec<(SourceId, LimitReached)>,
    /// Rows that were found.
    seen: usize,
}

impl Router {
    fn routing(&self) -> MutexGuard<'_, Routing> {
        self.routing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message whose source was removed after it was written: kept as rejected.
    fn rejected(&self, row: InboxRow) -> RoutedRow {
        let given = row.message_id.filter(|id| !id.is_empty());
        let event = Event {
            source_id: row.source_id,
            kind: None,
            message_id: given.unwrap_or_else(|| self.intake.message_ids.next()),
            received_at: self.intake.clock.now(),
            name: None,
            user_id: None,
            body: row.message.into(),
            envelope: None,
            rejection: Some("the source was removed before the event was accepted".to_owned()),
            trace: None,
            document: Document::default(),
        };
        let new = NewEvent { event: Arc::new(event), deliveries: Vec::new(), skips: Vec::new() };
        RoutedRow { id: row.id, new, is_counted: false }
    }
}

impl InboxRouter for Router {
    fn route(&self, rows: Vec<InboxRow>) -> Vec<RoutedRow> {
        let routes = self.intake.routes.current();
        let mut routing = Routing { seen: rows.len(), ..Routing::default() };
        let (mut routed, mut rejected) = (Vec::with_capacity(rows.len()), Vec::new());
        for group in rows.chunk_by(|one, next| one.source_id == next.source_id) {
            let Some(source) = group.first().and_then(|row| routes.source(row.source_id)) else {
                let removed = group.iter().filter(|row| self.removed.contains(&row.source_id));
                rejected.extend(removed.cloned().map(|row| self.rejected(row)));
                continue;
            };
            let messages: Vec<_> = group.iter().map(message).collect();
            let Routed { write, slots, limit } = Routed::of(&self.intake, source, &messages);
            routing.limits.extend(limit.map(|reached| (source.id, reached)));
            let (events, pending) = Pending::of(write, slots);
            let is_counted = pending.is_counted();
            let with_id =
                |(row, new): (&InboxRow, NewEvent)| RoutedRow { id: row.id, new, is_counted };
            routed.extend(group.iter().zip(events).map(with_id));
            routing.pending.push(pending);
        }
        // Slots of a run that did not commit are released here.
        *self.routing() = routing;
        routed.append(&mut rejected);
        routed
    }
}

fn message(row: &InboxRow) -> Message {
    let ids = RowIds { given: row.message_id.clone(), otherwise: None };
    Message { body: Bytes::copy_from_slice(row.message.as_bytes()), ids }
}
