//! The way to the writer: commands, their answers, and how much may wait. A caller that goes away
//! before its answer changes nothing: its step happens or not as a whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use super::accept::Arrival;
use super::claim::Leased;
use super::failure::{Failure, to_store};
use super::writer::{Step, Tx};
use crate::store::{Accepted, ClaimRequest, Record, Recorded, StoreError};

/// Commands that may wait; beyond it callers wait to hand theirs in.
const COMMANDS: usize = 8_192;

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// Events to be accepted.
#[derive(Debug)]
pub(super) struct Accept {
    pub(super) arrivals: Vec<Arrival>,
    pub(super) answer: Answer<Vec<Accepted>>,
    /// Gives the room in the queue back when dropped.
    pub(super) _room: Room,
    pub(super) bytes: usize,
}

/// Attempts to be recorded.
#[derive(Debug)]
pub(super) struct RecordAll {
    pub(super) records: Arc<Vec<Record>>,
    pub(super) answer: Answer<Vec<Recorded>>,
}

/// Due deliveries to be leased.
#[derive(Debug)]
pub(super) struct ClaimDue {
    pub(super) request: ClaimRequest,
    pub(super) answer: Answer<Leased>,
}

impl ClaimDue {
    /// How many rows it may change.
    pub(super) fn rows(&self) -> usize {
        let limits = self.request.wants.iter().map(|want| want.limit);
        limits.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)).sum()
    }
}

/// What the writer is asked for.
pub(super) enum Command {
    /// Accept events.
    Accept(Accept),
    /// Record attempts.
    Record(RecordAll),
    /// Claim due deliveries.
    Claim(ClaimDue),
    /// Anything rarer.
    Step(Box<dyn Queued>),
    /// Bring the log into the file, if nothing else is to do.
    Tidy(oneshot::Sender<Result<(), StoreError>>),
    /// Finish what is queued and end.
    Close,
}

/// The writer's end of the queue, which is two: what somebody waits for, events first of all, and the
/// work of delivering them.
pub(super) struct Asked {
    commands: mpsc::Receiver<Command>,
    work: mpsc::Receiver<Command>,
}

impl Asked {
    /// What is queued, of the kinds that are taken.
    pub(super) fn try_next(&mut self, takes_events: bool, takes_work: bool) -> Option<Command> {
        let first = takes_events.then(|| self.commands.try_recv().ok()).flatten();
        first.or_else(|| takes_work.then(|| self.work.try_recv().ok()).flatten())
    }

    /// The next that comes; none when nobody is left to ask.
    pub(super) async fn next(&mut self) -> Option<Command> {
        tokio::select! {
            biased;
            Some(command) = self.commands.recv() => Some(command),
            Some(work) = self.work.recv() => Some(work),
            else => None,
        }
    }

    /// The next that somebody waits for; none when nobody is left to ask.
    pub(super) async fn next_command(&mut self) -> Option<Command> {
        self.commands.recv().await
    }

    /// Takes no more than is queued.
    pub(super) fn close(&mut self) {
        self.commands.close();
        self.work.close();
    }
}

/// A step that waits for its turn, whatever its answer's type.
#[async_trait]
pub(super) trait Queued: Send {
    /// What it is, for errors.
    fn context(&self) -> &'static str;
    /// Runs it within a transaction and keeps what it gave. An error is one of SQLite's that the
    /// step's own savepoint does not contain; a refusal is kept as the step's answer.
    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<bool, sqlx::Error>;
    /// Answers with what it gave, when `fate` is that it was committed.
    fn answer(self: Box<Self>, fate: Result<(), StoreError>);
}

/// A step with what it gave.
struct Waiting<S: Step> {
    step: S,
    given: Option<Result<S::Answer, StoreError>>,
    answer: Answer<S::Answer>,
}

#[async_trait]
impl<S: Step> Queued for Waiting<S> {
    fn context(&self) -> &'static str {
        S::CONTEXT
    }

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<bool, sqlx::Error> {
        self.given = None;
        match self.step.run(tx).await {
            Ok(given) => {
                self.given = Some(Ok(given));
                Ok(true)
            }
            Err(Failure::Refused(error)) => {
                self.given = Some(Err(error));
                Ok(false)
            }
            Err(Failure::Sql(error)) if tx.is_contained(&error) => {
                self.given = Some(Err(to_store(S::CONTEXT, Failure::Sql(error))));
                Ok(false)
            }
            Err(Failure::Sql(error)) => Err(error),
        }
    }

    fn answer(self: Box<Self>, fate: Result<(), StoreError>) {
        let given = match fate {
            Ok(()) => self.given.unwrap_or(Err(StoreError::Closed)),
            Err(error) => Err(error),
        };
        // Whoever asked may have gone away.
        let _ = self.answer.send(given);
    }
}

/// How much of the queue events take.
#[derive(Debug)]
struct Load {
    events: AtomicUsize,
    bytes: AtomicUsize,
}

/// Room in the queue, given back when dropped.
#[derive(Debug)]
pub(super) struct Room {
    load: Arc<Load>,
    events: usize,
    bytes: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.load.events.fetch_sub(self.events, Ordering::AcqRel);
        self.load.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// The callers' end of the queue.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    commands: mpsc::Sender<Command>,
    work: mpsc::Sender<Command>,
    load: Arc<Load>,
    max_events: usize,
    max_bytes: usize,
}

impl Queue {
    /// A queue and the writer's end of it.
    pub(super) fn new(max_events: usize, max_bytes: usize) -> (Self, Asked) {
        let (commands, commanded) = mpsc::channel(COMMANDS);
        let (work, worked) = mpsc::channel(COMMANDS);
        let load = Arc::new(Load { events: AtomicUsize::new(0), bytes: AtomicUsize::new(0) });
        let asked = Asked { commands: commanded, work: worked };
        (Self { commands, work, load, max_events, max_bytes }, asked)
    }

    /// Takes room for events, unless too much waits already. A request that alone is more than
    /// the limit gets through when nothing else waits.
    fn room(&self, events: usize, bytes: usize) -> Result<Room, StoreError> {
        let waiting = self.load.events.fetch_add(events, Ordering::AcqRel);
        let waiting_bytes = self.load.bytes.fetch_add(bytes, Ordering::AcqRel);
        let room = Room { load: Arc::clone(&self.load), events, bytes };
        let is_over = waiting + events > self.max_events || waiting_bytes + bytes > self.max_bytes;
        if is_over && waiting > 0 { Err(StoreError::Overloaded) } else { Ok(room) }
    }

    /// Accepts events.
    pub(super) async fn accept(&self, arrivals: Vec<Arrival>) -> Result<Vec<Accepted>, StoreError> {
        let bytes = arrivals.iter().map(Arrival::bytes).sum();
        let room = self.room(arrivals.len(), bytes)?;
        let (answer, given) = oneshot::channel();
        send(&self.commands, Command::Accept(Accept { arrivals, answer, _room: room, bytes }))
            .await?;
        given.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Records attempts.
    pub(super) async fn record(
        &self,
        records: Arc<Vec<Record>>,
    ) -> Result<Vec<Recorded>, StoreError> {
        let (answer, given) = oneshot::channel();
        send(&self.work, Command::Record(RecordAll { records, answer })).await?;
        given.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Claims due deliveries.
    pub(super) async fn claim(&self, request: ClaimRequest) -> Result<Leased, StoreError> {
        let (answer, given) = oneshot::channel();
        send(&self.work, Command::Claim(ClaimDue { request, answer })).await?;
        given.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Runs a step.
    pub(super) async fn step<S: Step>(&self, step: S) -> Result<S::Answer, StoreError> {
        let (answer, given) = oneshot::channel();
        send(&self.commands, Command::Step(Box::new(Waiting { step, given: None, answer })))
            .await?;
        given.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Tidies.
    pub(super) async fn tidy(&self) -> Result<(), StoreError> {
        let (answer, given) = oneshot::channel();
        send(&self.commands, Command::Tidy(answer)).await?;
        given.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Ends the writer once it has done what is queued. Does not wait for it.
    pub(super) async fn close(&self) {
        // It may have ended already.
        let _ = self.commands.send(Command::Close).await;
    }
}

async fn send(to: &mpsc::Sender<Command>, command: Command) -> Result<(), StoreError> {
    to.send(command).await.map_err(|_ended| StoreError::Closed)
}
