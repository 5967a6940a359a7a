//! The loop over one inbox: look, wait, look again. A fault is shown, logged once, and ends nothing.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::super::tracking_api::Intake;
use super::pace::{Look, Pace};
use crate::domain::clock::Clock;
use crate::domain::inbox::{Backlog, InboxBoard, InboxState};
use crate::domain::service_time::ServiceTime;
use crate::telemetry::metrics::{InboxLabel, Metrics};

/// How often the backlog is counted.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// An inbox that messages are taken from.
#[async_trait]
pub(super) trait Drain: Send {
    /// Its name, without secrets.
    fn name(&self) -> String;

    /// Takes what it can at once.
    async fn drain(&mut self) -> Result<Drained, String>;

    /// What waits.
    async fn backlog(&mut self) -> Result<Backlog, String>;
}

/// What was taken at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Drained {
    /// Messages that were accepted, duplicates included.
    pub(super) taken: usize,
    /// Whether there may be more that can be taken now.
    pub(super) is_full: bool,
    /// Sources that messages wait for.
    pub(super) waits_for: Vec<String>,
}

/// The loop over one inbox.
pub(super) struct Drainer {
    drain: Box<dyn Drain>,
    board: InboxBoard,
    state: InboxState,
    pace: Pace,
    counted_at: Option<ServiceTime>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    /// Shutdown waits for what it tracks.
    accepting: tokio_util::task::TaskTracker,
}

impl Drainer {
    pub(super) fn new(drain: Box<dyn Drain>, board: InboxBoard, intake: &Intake) -> Self {
        let state = InboxState { name: drain.name(), ..InboxState::default() };
        board.set(state.clone());
        Self {
            drain,
            board,
            state,
            pace: Pace::default(),
            counted_at: None,
            clock: Arc::clone(&intake.clock),
            metrics: Arc::clone(&intake.metrics),
            accepting: intake.accepting.clone(),
        }
    }

    /// Runs until it is stopped; a look in progress is finished.
    pub(super) async fn run(mut self, stopping: CancellationToken) {
        while !stopping.is_cancelled() {
            let accepting = self.accepting.clone();
            let wait = accepting.track_future(self.look()).await;
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stopping.cancelled() => {}
            }
        }
    }

    async fn look(&mut self) -> Duration {
        let drained = self.drain.drain().await;
        let now = self.clock.service_now();
        let look = match &drained {
            Ok(Drained { is_full: true, .. }) => Look::Full,
            Ok(Drained { taken: 0, .. }) => Look::Nothing,
            Ok(_) => Look::Some,
            Err(_) => Look::Failed,
        };
        let label = InboxLabel { inbox: self.state.name.clone() };
        let fault = match drained {
            Ok(Drained { taken, waits_for, .. }) => {
                let taken = u64::try_from(taken).unwrap_or(u64::MAX);
                self.metrics.inbox_taken.get_or_create(&label).inc_by(taken);
                self.state.waits_for = waits_for;
                None
            }
            Err(fault) => Some(fault),
        };
        self.note(fault);
        if self.counted_at.is_none_or(|at| now.since(at) >= COUNT_EVERY) {
            self.counted_at = Some(now);
            self.count(&label).await;
        }
        self.pace.wait_after(look, now)
    }

    async fn count(&mut self, label: &InboxLabel) {
        // A fault of the inbox is known from the look.
        if let Ok(backlog) = self.drain.backlog().await {
            self.state.backlog = backlog;
            let waiting = i64::try_from(backlog.waiting).unwrap_or(i64::MAX);
            self.metrics.inbox_waiting.get_or_create(label).set(waiting);
            let age = backlog.oldest_at.map(|at| self.clock.now().since(at));
            let age = age.unwrap_or_default().as_secs_f64();
            self.metrics.inbox_oldest_seconds.get_or_create(label).set(age);
        }
        self.board.set(self.state.clone());
    }

    fn note(&mut self, fault: Option<String>) {
        if self.state.fault == fault {
            return;
        }
        let inbox = &self.state.name;
        match &fault {
            Some(fault) => tracing::warn!(inbox, "messages wait in the inbox: {fault}"),
            None => tracing::info!(inbox, "messages are taken from the inbox again"),
        }
        self.state.fault = fault;
        self.board.set(self.state.clone());
    }
}
