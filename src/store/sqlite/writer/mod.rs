//! The writer: one thread that owns the one connection that writes. It takes the queued commands up to the
//! limits of a write batch, runs them as one transaction (group commit), then answers all. Events never wait
//! for more events: the next batch gathers during the fsync of this one. Records alone wait up to 2 ms for
//! events to share the commit with.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::dedup::bloom::Filters;
use super::dedup::memtable::Memtable;
use super::error::{Reach, to_store};
use super::file_identity::FileIdentities;
use super::lock::DatabaseLock;
use super::open::OpenOptions;
use super::statistics_log::StatisticsLog;
use crate::store::StoreError;
use crate::store::failure::SqlError;

mod checkpoint;
pub(super) mod connection;
mod event_queue;
mod pacing;
pub(super) mod queue;
pub(super) mod state;
pub(super) mod status;
pub(super) mod step;
mod wal_reset;
mod write_batch;

use checkpoint::Checkpointer;
use connection::Connection;
use pacing::Pacing;
use queue::{Command, Commands, QueuedStep};
use state::WriterState;
use status::WriterStatus;
use step::Tx;
use write_batch::WriteBatch;

/// How long records wait for events to share a commit with.
const PATIENCE: Duration = Duration::from_millis(2);

/// A transaction that was rolled back.
struct RolledBack {
    error: SqlError,
    reach: Reach,
}

/// The writer.
pub(super) struct Writer {
    sqlite: Connection,
    state: WriterState,
    memtable: Memtable,
    filters: Filters,
    statistics: StatisticsLog,
    pacing: Pacing,
    options: OpenOptions,
    status: Arc<WriterStatus>,
    checkpointer: Checkpointer,
    files: FileIdentities,
    commands: Commands,
}

/// Starts the writer on a thread of its own, which the connection never leaves. Returns once the file is
/// open; the receiver resolves when the thread has ended and the lock is released.
pub(super) async fn start(
    options: OpenOptions,
    status: Arc<WriterStatus>,
    commands: Commands,
    lock: DatabaseLock,
) -> Result<oneshot::Receiver<()>, SqlError> {
    let (open, opened) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let work = move || {
        // The receivers may be dropped.
        match Writer::open(options, status, commands, &lock) {
            Ok(writer) => {
                let _ = open.send(Ok(()));
                let _ends = EndOnPanic(Arc::clone(&writer.status));
                writer.run();
                drop(lock);
            }
            Err(error) => {
                drop(lock);
                let _ = open.send(Err(error));
            }
        }
        let _ = end.send(());
    };
    std::thread::Builder::new().name("writer".to_owned()).spawn(work).map_err(sqlx::Error::Io)?;
    opened.await.unwrap_or(Err(SqlError::Sqlx(sqlx::Error::WorkerCrashed)))?;
    Ok(ended)
}

/// A panic of the writer's thread fails the store, which ends the process: nothing could be written any more.
struct EndOnPanic(Arc<WriterStatus>);

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(&"the writer's thread panicked");
        }
    }
}

impl Writer {
    /// Opens the connection and loads the writer's state.
    fn open(
        options: OpenOptions,
        status: Arc<WriterStatus>,
        commands: Commands,
        lock: &DatabaseLock,
    ) -> Result<Self, SqlError> {
        let sqlite = Connection::open(&options)?;
        let state = WriterState::load(&sqlite)?;
        let memtable = Memtable::load(&sqlite, options.memtable_keys)?;
        let statistics = StatisticsLog::load(&sqlite)?;
        let filters = Filters::open(&options.path, state.rotation.filled);
        status.publish(state.ledger);
        let mut checkpointer = Checkpointer::new(&options, Arc::clone(&status), lock);
        checkpointer.checkpoint_recovered(&sqlite)?;
        let files = FileIdentities::of((lock.path(), lock.database()), lock.beside())
            .map_err(sqlx::Error::Io)?;
        let pacing = Pacing::default();
        Ok(Self {
            sqlite,
            state,
            memtable,
            filters,
            statistics,
            pacing,
            options,
            status,
            checkpointer,
            files,
            commands,
        })
    }

    /// Runs until it is closed or every sender is gone, then checkpoints.
    fn run(mut self) {
        while let Some(command) = self.next() {
            if !self.turn(command) {
                break;
            }
        }
        self.commands.close();
        while let Some(command) = self.commands.next() {
            if self.status.has_failed() {
                break;
            }
            self.turn(command);
        }
        // A filter's read transaction would keep the WAL from being truncated.
        drop(self.filters);
        if !self.status.has_failed()
            && let Err(error) = self.checkpointer.checkpoint_all(&self.sqlite)
        {
            tracing::warn!(%error, "the last checkpoint failed; the next start recovers the WAL");
        }
        if self.files.check().is_err() {
            // The last connection to close removes the files at the WAL's path, which may be another's by now.
            self.sqlite.leak();
        } else if let Err(error) = self.sqlite.close() {
            tracing::warn!(%error, "the database was not closed in order; the next start recovers");
        }
    }

    /// The next command; while work is throttled, no claim or record.
    fn next(&mut self) -> Option<Command> {
        if let Some(until) = self.pacing.throttled_until(Instant::now())
            && let Some(command) = self.commands.next_command_until(until)
        {
            return Some(command);
        }
        self.commands.next()
    }

    /// Runs `first` and the commands queued behind it. False when the writer is to stop.
    fn turn(&mut self, first: Command) -> bool {
        let mut batch = WriteBatch::new(self.pacing.allowance(Instant::now()));
        let mut checkpoints = Vec::new();
        let mut goes_on = true;
        let mut patience = None;
        let mut next = Some(first);
        while let Some(command) = next {
            match command {
                Command::Accept(accept) => batch.add_accept(accept),
                Command::Record(record) => batch.add_record(record),
                Command::Claim(claim) => batch.add_claim(claim),
                Command::Step(step) => batch.add_step(step),
                Command::Checkpoint(answer) => checkpoints.push(answer),
                Command::Close => goes_on = false,
            }
            next = self.commands.try_next(goes_on && batch.takes_events(), batch.takes_work());
            if next.is_none() && batch.is_patient() && goes_on && checkpoints.is_empty() {
                let until = *patience.get_or_insert_with(|| Instant::now() + PATIENCE);
                next = self.commands.next_until(until);
            }
        }
        if !batch.is_empty() {
            self.write(batch);
        }
        for answer in checkpoints {
            let _ = answer.send(self.checkpoint());
        }
        goes_on && !self.status.has_failed()
    }

    /// Writes a batch and answers each of its commands.
    fn write(&mut self, mut batch: WriteBatch) {
        let Err(failed) = self.commit(&mut batch) else {
            return self.committed(batch);
        };
        match failed.reach {
            Reach::Statement if batch.commands() > 1 => {
                for mut alone in batch.split() {
                    match self.commit(&mut alone) {
                        Ok(()) => self.committed(alone),
                        Err(failed) => alone.refuse(failed.error),
                    }
                }
            }
            Reach::Full if batch.has_events() => {
                batch.refuse_accepts();
                self.checkpointer.measure(&self.sqlite);
                if batch.is_empty() {
                    return;
                }
                match self.commit(&mut batch) {
                    Ok(()) => self.committed(batch),
                    Err(failed) => batch.refuse(failed.error),
                }
            }
            Reach::Statement | Reach::Full | Reach::Connection | Reach::File => {
                batch.refuse(failed.error);
            }
        }
    }

    fn committed(&mut self, batch: WriteBatch) {
        let bytes = batch.bytes();
        batch.answer();
        if let Err(error) = self.checkpointer.after_commit(&self.sqlite, bytes) {
            self.recover(&error.into());
        }
    }

    /// One transaction. When it fails, state and connection are as they were before it.
    fn commit(&mut self, batch: &mut WriteBatch) -> Result<(), RolledBack> {
        let began = Instant::now();
        let before = self.state;
        match self.transact(batch) {
            Ok(()) => {
                self.memtable.commit();
                self.statistics.commit();
                self.status.publish(self.state.ledger);
                let now = Instant::now();
                self.pacing.committed(began, now, batch.event_rows(), batch.work_rows());
                let metrics = &self.options.metrics;
                metrics.commit_seconds.observe((now - began).as_secs_f64());
                metrics
                    .commit_rows
                    .observe(f64::from(u32::try_from(batch.rows()).unwrap_or(u32::MAX)));
                Ok(())
            }
            Err(error) => {
                self.state = before;
                self.memtable.roll_back();
                self.statistics.roll_back();
                let reach = self.recover(&error);
                Err(RolledBack { error, reach })
            }
        }
    }

    fn transact(&mut self, batch: &mut WriteBatch) -> Result<(), SqlError> {
        let before = self.state;
        self.filters.poll();
        self.sqlite.execute("BEGIN IMMEDIATE", &[])?;
        let mut tx = Tx {
            sqlite: &self.sqlite,
            state: &mut self.state,
            memtable: &mut self.memtable,
            filters: &mut self.filters,
            statistics: &mut self.statistics,
            clock: &*self.options.clock,
        };
        batch.write(&mut tx)?;
        for step in &mut batch.steps {
            run_step(&mut tx, step.as_mut())?;
        }
        let statistics = self.statistics.save(&self.sqlite, self.options.clock.now())?;
        if self.state != before || statistics.is_some() {
            self.state.save(&self.sqlite, statistics)?;
        }
        let commit = Instant::now();
        self.sqlite.execute("COMMIT", &[])?;
        self.pacing.note_fsync(commit.elapsed());
        Ok(self.files.check()?)
    }

    /// Rolls back or reopens after `error`; where that fails, the store fails for good.
    fn recover(&mut self, error: &SqlError) -> Reach {
        let mut reach = error.reach();
        if reach == Reach::Statement && self.sqlite.execute("ROLLBACK", &[]).is_err() {
            reach = Reach::Connection;
        }
        match reach {
            Reach::Statement => {}
            // SQLite has already rolled back, and the connection must not be used again.
            Reach::Full | Reach::Connection => match Connection::open(&self.options) {
                Ok(fresh) => {
                    let failed = std::mem::replace(&mut self.sqlite, fresh);
                    if let Err(error) = failed.close() {
                        tracing::warn!(%error, "a connection that failed was not closed in order");
                    }
                }
                Err(again) => self.status.fail(&SqlError::from(again)),
            },
            Reach::File => self.status.fail(error),
        }
        reach
    }

    fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.checkpointer.measure(&self.sqlite);
        self.checkpointer.checkpoint_idle(&self.sqlite).map_err(|error| {
            let error = SqlError::from(error);
            self.recover(&error);
            to_store("checkpoint", error)
        })
    }
}

/// Runs a step in a savepoint: when it fails, the rest of the transaction stands.
fn run_step(tx: &mut Tx<'_>, step: &mut dyn QueuedStep) -> Result<(), SqlError> {
    let before = *tx.state;
    let savepoint = tx.statistics.savepoint();
    tx.execute("SAVEPOINT step", &[])?;
    if !step.run(tx)? {
        *tx.state = before;
        tx.statistics.roll_back_to(savepoint);
        tx.execute("ROLLBACK TO step", &[])?;
    }
    tx.execute("RELEASE step", &[])?;
    Ok(())
}
