//! The writers: each owns a connection, takes everything queued into one transaction, commits, then answers
//! all. While one waits for its COMMIT, the next batch collects for another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::accept::Arrival;
use super::open::{OpenOptions, Target};
use super::{Shared, error::to_store};
use crate::store::{Accepted, Record, Recorded, StoreError};

mod batch;
mod connection;

use batch::Batch;
pub(super) use batch::Work;
pub(super) use connection::{Done, Writer};

/// Rows of one transaction, about.
const ROWS_AT_ONCE: usize = 4_096;

/// A call that waits for its answer.
enum Command {
    Accept { arrivals: Vec<Arrival>, answer: oneshot::Sender<Result<Vec<Accepted>, StoreError>> },
    Record { records: Arc<Vec<Record>>, answer: oneshot::Sender<Result<Vec<Recorded>, StoreError>> },
}

/// The queue before the writers.
pub(super) struct Queue {
    commands: std::sync::Mutex<Option<mpsc::UnboundedSender<Command>>>,
    bounds: Arc<Bounds>,
    writers: Mutex<Vec<JoinHandle<()>>>,
}

/// How much is queued, and how much may be.
struct Bounds {
    events: AtomicUsize,
    bytes: AtomicUsize,
    most_events: usize,
    most_bytes: usize,
    has_room: AtomicBool,
}

impl Bounds {
    /// Takes room in the queue; false when there is none.
    fn take(&self, events: usize, bytes: usize) -> bool {
        let (queued, queued_bytes) =
            (self.events.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
        // A call alone is always taken.
        if queued > 0
            && (queued + events > self.most_events || queued_bytes + bytes > self.most_bytes)
        {
            return false;
        }
        self.events.fetch_add(events, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        true
    }

    fn release(&self, arrivals: &[Arrival]) {
        self.events.fetch_sub(arrivals.len(), Ordering::Relaxed);
        self.bytes.fetch_sub(arrivals.iter().map(Arrival::bytes).sum(), Ordering::Relaxed);
    }
}

impl Queue {
    /// Starts the writers.
    pub(super) fn start(target: &Arc<Target>, shared: &Arc<Shared>, options: &OpenOptions) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let receiver = Arc::new(Mutex::new(receiver));
        let bounds = Arc::new(Bounds {
            events: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            most_events: options.max_queued_events,
            most_bytes: options.max_queued_bytes,
            has_room: AtomicBool::new(true),
        });
        let writers = (0..options.writers.clamp(1, 4)).map(|number| {
            let number = u8::try_from(number).unwrap_or(0);
            let writer = Writer::new(Arc::clone(target), Arc::clone(shared), number);
            tokio::spawn(run(writer, Arc::clone(&receiver), Arc::clone(&bounds)))
        });
        let writers = Mutex::new(writers.collect());
        Self { commands: std::sync::Mutex::new(Some(sender)), bounds, writers }
    }

    fn send(&self, command: Command) -> Result<(), StoreError> {
        let commands = self.commands.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let sender = commands.as_ref().ok_or(StoreError::Closed)?;
        sender.send(command).map_err(|_closed| StoreError::Closed)
    }

    /// Whether the server last had disk space.
    pub(super) fn has_room(&self) -> bool {
        self.bounds.has_room.load(Ordering::Relaxed)
    }

    /// Accepts events.
    pub(super) async fn accept(&self, arrivals: Vec<Arrival>) -> Result<Vec<Accepted>, StoreError> {
        if !self.bounds.take(arrivals.len(), arrivals.iter().map(Arrival::bytes).sum()) {
            return Err(StoreError::Overloaded);
        }
        let (answer, answered) = oneshot::channel();
        self.send(Command::Accept { arrivals, answer })?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Records attempts.
    pub(super) async fn record(
        &self,
        records: Arc<Vec<Record>>,
    ) -> Result<Vec<Recorded>, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Record { records, answer })?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Commits what is queued and ends the writers.
    pub(super) async fn close(&self) {
        drop(self.commands.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take());
        for writer in self.writers.lock().await.drain(..) {
            if writer.await.is_err() {
                tracing::error!("a writer did not stop in order");
            }
        }
    }
}

type Commands = Mutex<mpsc::UnboundedReceiver<Command>>;

async fn run(mut writer: Writer, commands: Arc<Commands>, bounds: Arc<Bounds>) {
    while let Some(batch) = take(&commands).await {
        for arrivals in batch.accepts.iter().map(|it| &it.0) {
            bounds.release(arrivals);
        }
        write_accepts(&mut writer, batch.accepts, &bounds).await;
        write_records(&mut writer, batch.records).await;
    }
    writer.close().await;
}

/// Everything queued, up to the rows of one transaction; none once the queue is closed and empty.
async fn take(commands: &Commands) -> Option<Batch> {
    let mut commands = commands.lock().await;
    let mut batch = Batch::default();
    batch.add(commands.recv().await?);
    while batch.rows < ROWS_AT_ONCE
        && let Ok(command) = commands.try_recv()
    {
        batch.add(command);
    }
    Some(batch)
}

async fn write_accepts(writer: &mut Writer, accepts: Vec<batch::Accept>, bounds: &Bounds) {
    const CONTEXT: &str = "accept events";
    if accepts.is_empty() {
        return;
    }
    let work = Work::Accept(accepts.iter().flat_map(|(arrivals, _)| arrivals).collect());
    match writer.commit(&work).await {
        Ok(Done::Accepted(mut answers)) => {
            bounds.has_room.store(true, Ordering::Relaxed);
            for (arrivals, answer) in accepts {
                let rest = answers.split_off(arrivals.len().min(answers.len()));
                let _ = answer.send(Ok(std::mem::replace(&mut answers, rest)));
            }
        }
        // Each alone: one of them may be what the server refuses.
        Err(failure) if accepts.len() > 1 && super::error::is_of_statement(&failure) => {
            for accept in accepts {
                Box::pin(write_accepts(writer, vec![accept], bounds)).await;
            }
        }
        Err(failure) => {
            let error = Shares::new(CONTEXT, failure);
            bounds.has_room.store(!error.is_full(), Ordering::Relaxed);
            for (_, answer) in accepts {
                let _ = answer.send(Err(error.share()));
            }
        }
        Ok(Done::Recorded(_)) => {}
    }
}

async fn write_records(writer: &mut Writer, records: Vec<batch::Completed>) {
    const CONTEXT: &str = "record attempts";
    if records.is_empty() {
        return;
    }
    let work = Work::Record(records.iter().flat_map(|(records, _)| records.iter()).collect());
    match writer.commit(&work).await {
        Ok(Done::Recorded(mut answers)) => {
            for (records, answer) in records {
                let rest = answers.split_off(records.len().min(answers.len()));
                let _ = answer.send(Ok(std::mem::replace(&mut answers, rest)));
            }
        }
        Err(failure) if records.len() > 1 && super::error::is_of_statement(&failure) => {
            for one in records {
                Box::pin(write_records(writer, vec![one])).await;
            }
        }
        Err(failure) => {
            let error = Shares::new(CONTEXT, failure);
            for (_, answer) in records {
                let _ = answer.send(Err(error.share()));
            }
        }
        Ok(Done::Accepted(_)) => {}
    }
}

/// One error for each of several callers.
struct Shares {
    context: &'static str,
    error: Arc<StoreError>,
}

impl Shares {
    fn new(context: &'static str, failure: crate::store::failure::Failure) -> Self {
        Self { context, error: Arc::new(to_store(context, failure)) }
    }

    fn is_full(&self) -> bool {
        matches!(*self.error, StoreError::Full)
    }

    fn share(&self) -> StoreError {
        match *self.error {
            StoreError::Full => StoreError::Full,
            StoreError::Closed => StoreError::Closed,
            StoreError::Unreachable { .. } => StoreError::Unreachable {
                context: self.context,
                source: Box::new(Arc::clone(&self.error)),
            },
            StoreError::Conflict
            | StoreError::Overloaded
            | StoreError::Database { .. }
            | StoreError::Foreign { .. } => StoreError::Database {
                context: self.context,
                source: Box::new(Arc::clone(&self.error)),
            },
        }
    }
}
