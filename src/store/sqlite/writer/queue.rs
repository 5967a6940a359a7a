//! The queue to the writer: commands, their answers, and backpressure by count and bytes, shared fairly by
//! source. A caller that is dropped before its answer changes nothing: its step is committed as a whole or not
//! at all.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::super::accept::Arrival;
use super::super::claim::Leased;
use super::super::error::{Reach, to_store};
use super::event_queue::EventQueue;
use super::step::{Step, Tx};
use crate::domain::fair_share::FairShare;
use crate::domain::id::SourceId;
use crate::store::failure::{Failure, SqlError};
use crate::store::{Accepted, ClaimRequest, Record, Recorded, StoreError};

/// Commands of a priority that may be queued; beyond it callers wait.
const COMMANDS: usize = 8_192;

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// Events to be accepted.
#[derive(Debug)]
pub(crate) struct Accept {
    pub(crate) arrivals: Vec<Arrival>,
    pub(crate) answer: Answer<Vec<Accepted>>,
    pub(crate) _permit: Permit,
    pub(crate) bytes: usize,
}

impl Accept {
    /// How many rows it is written as.
    pub(crate) fn rows(&self) -> usize {
        self.arrivals.iter().map(Arrival::rows).sum()
    }
}

/// Attempts to be recorded.
#[derive(Debug)]
pub(crate) struct RecordAll {
    pub(crate) records: Arc<Vec<Record>>,
    pub(crate) answer: Answer<Vec<Recorded>>,
}

/// Due deliveries to be leased.
#[derive(Debug)]
pub(crate) struct ClaimDue {
    pub(crate) request: ClaimRequest,
    pub(crate) answer: Answer<Leased>,
}

impl ClaimDue {
    /// How many rows it may change.
    pub(crate) fn rows(&self) -> usize {
        let limits = self.request.wants.iter().map(|want| want.limit);
        limits.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)).sum()
    }
}

/// A command to the writer.
pub(crate) enum Command {
    /// Accept events; these have a queue of their own.
    Accept(Accept),
    /// Record attempts.
    Record(RecordAll),
    /// Claim due deliveries.
    Claim(ClaimDue),
    /// Run any other write step.
    Step(Box<dyn QueuedStep>),
    /// Checkpoint and truncate the WAL, unless the writer is busy.
    Checkpoint(oneshot::Sender<Result<(), StoreError>>),
    /// Commit what is queued and stop.
    Close,
}

/// The writer's end of the queue. It has three priorities: events and steps that a caller waits for, in turns,
/// then the work of delivering: records, then claims and bulk steps.
pub(crate) struct Commands {
    events: Arc<EventQueue<Accept>>,
    /// Whether an event is next, where there are events and steps.
    is_event_next: bool,
    commands: mpsc::Receiver<Command>,
    records: mpsc::Receiver<Command>,
    bulk: mpsc::Receiver<Command>,
    /// Wakes the writer's thread; created on that thread by the first wait.
    waker: Option<Waker>,
}

/// Wakes a parked thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Commands {
    /// A queued command, of the priorities that are taken.
    pub(crate) fn try_next(&mut self, takes_events: bool, takes_work: bool) -> Option<Command> {
        let first = takes_events.then(|| self.try_first()).flatten();
        first.or_else(|| takes_work.then(|| self.try_work()).flatten())
    }

    /// An event or a step, in turns.
    fn try_first(&mut self) -> Option<Command> {
        self.is_event_next = !self.is_event_next;
        if self.is_event_next {
            let event = self.events.pop().map(Command::Accept);
            return event.or_else(|| self.commands.try_recv().ok());
        }
        self.commands.try_recv().ok().or_else(|| self.events.pop().map(Command::Accept))
    }

    fn try_work(&mut self) -> Option<Command> {
        self.records.try_recv().or_else(|_empty| self.bulk.try_recv()).ok()
    }

    /// Blocks until the next command; none when every sender is gone.
    pub(crate) fn next(&mut self) -> Option<Command> {
        self.wait(true, None)
    }

    /// Blocks until the next command, at most until `deadline`.
    pub(crate) fn next_until(&mut self, deadline: Instant) -> Option<Command> {
        self.wait(true, Some(deadline))
    }

    /// The same without claims and records.
    pub(crate) fn next_command_until(&mut self, deadline: Instant) -> Option<Command> {
        self.wait(false, Some(deadline))
    }

    /// Blocks the writer's thread, which belongs to no runtime: it is parked until a sender or the deadline
    /// wakes it.
    fn wait(&mut self, takes_work: bool, deadline: Option<Instant>) -> Option<Command> {
        let unpark = || Waker::from(Arc::new(Unpark(thread::current())));
        let waker = self.waker.get_or_insert_with(unpark).clone();
        let mut context = Context::from_waker(&waker);
        loop {
            if let Some(accept) = self.events.pop_or_wake(&waker) {
                return Some(Command::Accept(accept));
            }
            let mut is_over = true;
            let work = [&mut self.records, &mut self.bulk].into_iter().filter(|_| takes_work);
            for queue in [&mut self.commands].into_iter().chain(work) {
                match queue.poll_recv(&mut context) {
                    Poll::Ready(Some(command)) => return Some(command),
                    Poll::Ready(None) => {}
                    Poll::Pending => is_over = false,
                }
            }
            if is_over {
                return None;
            }
            match deadline.map(|it| it.saturating_duration_since(Instant::now())) {
                None => thread::park(),
                Some(Duration::ZERO) => return None,
                Some(left) => thread::park_timeout(left),
            }
        }
    }

    /// Refuses further commands; those queued remain.
    pub(crate) fn close(&mut self) {
        self.events.close();
        self.commands.close();
        self.records.close();
        self.bulk.close();
    }
}

impl Drop for Commands {
    /// Callers hold the events' queue too: what is left there is answered here.
    fn drop(&mut self) {
        self.events.clear();
    }
}

/// A queued step, whatever its answer's type.
pub(crate) trait QueuedStep: Send {
    /// What it does, for errors.
    fn context(&self) -> &'static str;
    /// How many rows it may change, where it is a bulk step.
    fn bulk_rows(&self) -> usize;
    /// Runs it within a transaction and keeps its answer. False: it failed or refused, and a rollback to its
    /// savepoint undoes it. An error: the whole transaction is lost.
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<bool, SqlError>;
    /// Answers its caller, after the commit or with the error that undid it.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// A step with its answer.
struct Pending<S: Step> {
    step: S,
    given: Option<Result<S::Answer, StoreError>>,
    answer: Answer<S::Answer>,
}

impl<S: Step> QueuedStep for Pending<S> {
    fn context(&self) -> &'static str {
        S::CONTEXT
    }

    fn bulk_rows(&self) -> usize {
        self.step.bulk_rows()
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> Result<bool, SqlError> {
        self.given = None;
        let given = match self.step.run(tx) {
            Err(Failure::Sql(error)) if error.reach() != Reach::Statement => return Err(error),
            given => given.map_err(|failure| to_store(S::CONTEXT, failure)),
        };
        let is_done = given.is_ok();
        self.given = Some(given);
        Ok(is_done)
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let given = match committed {
            Ok(()) => self.given.unwrap_or(Err(StoreError::Closed)),
            Err(error) => Err(error),
        };
        // The caller may be gone.
        let _ = self.answer.send(given);
    }
}

/// The queue's capacity.
#[derive(Debug)]
struct Load {
    events: FairShare<SourceId>,
    bytes: FairShare<SourceId>,
}

/// A part of the queue's capacity, released when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    load: Arc<Load>,
    source_id: SourceId,
    events: usize,
    bytes: usize,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.load.events.release(self.source_id, self.events);
        self.load.bytes.release(self.source_id, self.bytes);
    }
}

/// The callers' end of the queue.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    events: Arc<EventQueue<Accept>>,
    commands: mpsc::Sender<Command>,
    records: mpsc::Sender<Command>,
    bulk: mpsc::Sender<Command>,
    load: Arc<Load>,
}

impl Queue {
    /// A queue and the writer's end of it.
    pub(crate) fn new(max_events: usize, max_bytes: usize) -> (Self, Commands) {
        let (commands, commanded) = mpsc::channel(COMMANDS);
        let (records, recorded) = mpsc::channel(COMMANDS);
        let (bulk, bulked) = mpsc::channel(COMMANDS);
        let load =
            Arc::new(Load { events: FairShare::new(max_events), bytes: FairShare::new(max_bytes) });
        let events = Arc::new(EventQueue::default());
        let receiver = Commands {
            events: Arc::clone(&events),
            is_event_next: false,
            commands: commanded,
            records: recorded,
            bulk: bulked,
            waker: None,
        };
        (Self { events, commands, records, bulk, load }, receiver)
    }

    /// Takes capacity for events of a source; [`StoreError::Overloaded`] where its share of the queue is full.
    fn acquire(
        &self,
        source_id: SourceId,
        events: usize,
        bytes: usize,
    ) -> Result<Permit, StoreError> {
        let load = Arc::clone(&self.load);
        if !load.events.take(source_id, events) {
            return Err(StoreError::Overloaded);
        }
        if !load.bytes.take(source_id, bytes) {
            load.events.release(source_id, events);
            return Err(StoreError::Overloaded);
        }
        Ok(Permit { load, source_id, events, bytes })
    }

    /// Accepts events of one source.
    pub(crate) async fn accept(
        &self,
        source_id: SourceId,
        arrivals: Vec<Arrival>,
    ) -> Result<Vec<Accepted>, StoreError> {
        let bytes = arrivals.iter().map(Arrival::bytes).sum();
        let permit = self.acquire(source_id, arrivals.len(), bytes)?;
        let (answer, given) = oneshot::channel();
        let accept = Accept { arrivals, answer, _permit: permit, bytes };
        if !self.events.push(source_id, accept.rows(), accept) {
            return Err(StoreError::Closed);
        }
        given.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Records attempts.
    pub(crate) async fn record(
        &self,
        records: Arc<Vec<Record>>,
    ) -> Result<Vec<Recorded>, StoreError> {
        let (answer, given) = oneshot::channel();
        send(&self.records, Command::Record(RecordAll { records, answer })).await?;
        given.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Claims due deliveries.
    pub(crate) async fn claim(&self, request: ClaimRequest) -> Result<Leased, StoreError> {
        let (answer, given) = oneshot::channel();
        send(&self.bulk, Command::Claim(ClaimDue { request, answer })).await?;
        given.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Runs a step.
    pub(crate) async fn step<S: Step>(&self, step: S) -> Result<S::Answer, StoreError> {
        let (answer, given) = oneshot::channel();
        let to = if step.bulk_rows() > 0 { &self.bulk } else { &self.commands };
        send(to, Command::Step(Box::new(Pending { step, given: None, answer }))).await?;
        given.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Checkpoints and truncates the WAL, unless the writer is busy.
    pub(crate) async fn checkpoint(&self) -> Result<(), StoreError> {
        let (answer, given) = oneshot::channel();
        send(&self.commands, Command::Checkpoint(answer)).await?;
        given.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Stops the writer once it has committed what is queued. Does not wait for it.
    pub(crate) async fn close(&self) {
        // It may have stopped already.
        let _ = self.commands.send(Command::Close).await;
    }
}

async fn send(to: &mpsc::Sender<Command>, command: Command) -> Result<(), StoreError> {
    to.send(command).await.map_err(|_ended| StoreError::Closed)
}
