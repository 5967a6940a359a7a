//! The one writer: a thread that owns the one connection that writes. It takes what is queued, as far as
//! a group takes it, runs it as one transaction, commits, then answers all. Events never wait for
//! more to come: the fsync of one commit is what lets the next group gather. Records alone wait a moment
//! for events to come along, for a commit costs the same with both.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::direct::{Direct, Held};
use super::disk::Disk;
use super::failure::{Failure, Reach, reach, to_store};
use super::filter::Filters;
use super::group::Group;
use super::lock::FileLock;
use super::memory::Memory;
use super::open::OpenOptions;
use super::pace::Pace;
use super::queue::{Asked, Command, Queued};
use super::recent::Recent;
use super::shared::Shared;
use crate::domain::clock::Clock;

/// How long records wait for events to be committed with.
const PATIENCE: Duration = Duration::from_millis(2);
/// A step that runs within the writer's transaction, in a savepoint of its own.
#[async_trait]
pub(super) trait Step: Send + Sync + 'static {
    /// What it gives.
    type Answer: Send + 'static;
    /// What it is, for errors: "claim due deliveries".
    const CONTEXT: &'static str;
    /// Does it. It may run again when the transaction it ran in was rolled back.
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Answer, Failure>;
}

/// The running transaction, as steps see it.
pub(super) struct Tx<'a> {
    pub(super) conn: &'a mut SqliteConnection,
    pub(super) memory: &'a mut Memory,
    pub(super) recent: &'a mut Recent,
}

impl Tx<'_> {
    /// Whether a rollback to a savepoint undoes what failed with `error`.
    pub(super) fn is_contained(&self, error: &sqlx::Error) -> bool {
        reach(error) == Reach::Statement
    }

    /// Runs a statement that takes and gives nothing.
    pub(super) async fn run(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        sqlx::query(sql).execute(&mut *self.conn).await.map(|_| ())
    }
}

/// The running transaction, as what every event takes sees it.
pub(super) struct Writing<'a> {
    pub(super) held: &'a Held<'a>,
    pub(super) memory: &'a mut Memory,
    pub(super) recent: &'a mut Recent,
    pub(super) filters: &'a mut Filters,
    pub(super) clock: &'a dyn Clock,
}

/// How a transaction ended that was not committed.
struct Failed {
    error: sqlx::Error,
    reach: Reach,
}

/// The writer.
pub(super) struct Writer {
    direct: Direct,
    memory: Memory,
    recent: Recent,
    filters: Filters,
    pace: Pace,
    options: OpenOptions,
    shared: Arc<Shared>,
    disk: Disk,
    asked: Asked,
    _lock: FileLock,
}

impl Writer {
    /// Opens the connection that writes and reads what it must know.
    pub(super) async fn open(
        options: OpenOptions,
        shared: Arc<Shared>,
        asked: Asked,
        lock: FileLock,
    ) -> Result<Self, sqlx::Error> {
        let mut direct = Direct::open(&options).await?;
        let memory = Memory::load(direct.sqlx()).await?;
        let recent = Recent::load(direct.sqlx(), options.gathered_keys).await?;
        let filters = Filters::open(&options.path, memory.slots.filled);
        shared.publish(memory.ledger);
        let mut disk = Disk::new(&options, Arc::clone(&shared)).map_err(sqlx::Error::Io)?;
        disk.look();
        let pace = Pace::default();
        Ok(Self {
            direct,
            memory,
            recent,
            filters,
            pace,
            options,
            shared,
            disk,
            asked,
            _lock: lock,
        })
    }

    /// Works on a thread of its own, which only waits and writes. What is given is told of its end.
    pub(super) fn start(self, runtime: Handle) -> std::io::Result<oneshot::Receiver<()>> {
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new().name("writer".to_owned()).spawn(move || {
            runtime.block_on(self.work());
            // Nobody may be waiting for it.
            let _ = end.send(());
        })?;
        Ok(ended)
    }

    /// Works until it is told to end or nobody is left to ask, then brings the log into the file.
    async fn work(mut self) {
        while let Some(command) = self.next().await {
            if !self.turn(command).await {
                break;
            }
        }
        self.asked.close();
        while let Some(command) = self.asked.next().await {
            if self.shared.has_failed() {
                break;
            }
            self.turn(command).await;
        }
        // What is still read for them would keep the log from being emptied.
        drop(self.filters);
        if !self.shared.has_failed()
            && let Err(error) = self.disk.checkpoint_whole(&mut self.direct).await
        {
            tracing::warn!(%error, "the log was not brought into the database; the next start does");
        }
        if let Err(error) = self.direct.end().await {
            tracing::warn!(%error, "the database was not closed in order; the next start recovers");
        }
    }

    /// What comes next; while work rests, only what somebody waits for.
    async fn next(&mut self) -> Option<Command> {
        if let Some(until) = self.pace.rest(Instant::now())
            && let Ok(Some(command)) = timeout_at(until, self.asked.next_command()).await
        {
            return Some(command);
        }
        self.asked.next().await
    }

    /// Does `first` and what is queued behind it. False when it is time to end.
    async fn turn(&mut self, first: Command) -> bool {
        let mut group = Group::new(self.pace.allowance(Instant::now()));
        let mut tidies = Vec::new();
        let mut goes_on = true;
        let mut patience = None;
        let mut next = Some(first);
        while let Some(command) = next {
            match command {
                Command::Accept(accept) => group.add_accept(accept),
                Command::Record(record) => group.add_record(record),
                Command::Claim(claim) => group.add_claim(claim),
                Command::Step(step) => group.add_step(step),
                Command::Tidy(answer) => tidies.push(answer),
                Command::Close => goes_on = false,
            }
            next = self.asked.try_next(goes_on && group.takes_events(), group.takes_work());
            if next.is_none() && group.is_patient() && goes_on && tidies.is_empty() {
                let until = *patience.get_or_insert_with(|| Instant::now() + PATIENCE);
                next = timeout_at(until, self.asked.next()).await.unwrap_or(None);
            }
        }
        if !group.is_empty() {
            self.run(group).await;
        }
        for answer in tidies {
            let done = self.tidy().await.map_err(|error| to_store("tidy", Failure::Sql(error)));
            let _ = answer.send(done);
        }
        goes_on && !self.shared.has_failed()
    }

    /// Runs a group to its end, whatever that is for each command in it.
    async fn run(&mut self, mut group: Group) {
        let Err(failed) = self.commit(&mut group).await else {
            return self.done(group).await;
        };
        match failed.reach {
            Reach::Statement if group.commands() > 1 => {
                for mut alone in group.split() {
                    match self.commit(&mut alone).await {
                        Ok(()) => self.done(alone).await,
                        Err(failed) => alone.refuse(failed.error),
                    }
                }
            }
            Reach::Full if group.has_events() => {
                group.refuse_accepts();
                self.disk.look();
                if group.is_empty() {
                    return;
                }
                match self.commit(&mut group).await {
                    Ok(()) => self.done(group).await,
                    Err(failed) => group.refuse(failed.error),
                }
            }
            Reach::Statement | Reach::Full | Reach::Connection | Reach::File => {
                group.refuse(failed.error);
            }
        }
    }

    async fn done(&mut self, group: Group) {
        let bytes = group.bytes();
        group.answer();
        if let Err(error) = self.disk.after_commit(&mut self.direct, bytes).await {
            self.recover(&error).await;
        }
    }

    /// One transaction. When it fails, memory and connection are as they were before it.
    async fn commit(&mut self, group: &mut Group) -> Result<(), Failed> {
        let began = Instant::now();
        let before = self.memory;
        match self.transact(group).await {
            Ok(()) => {
                self.recent.keep();
                self.shared.publish(self.memory.ledger);
                let now = Instant::now();
                self.pace.ended(began, now, group.event_rows(), group.work_rows());
                let metrics = &self.options.metrics;
                metrics.commit_seconds.observe((now - began).as_secs_f64());
                metrics
                    .commit_rows
                    .observe(f64::from(u32::try_from(group.rows()).unwrap_or(u32::MAX)));
                Ok(())
            }
            Err(error) => {
                self.memory = before;
                self.recent.undo();
                let reach = self.recover(&error).await;
                Err(Failed { error, reach })
            }
        }
    }

    async fn transact(&mut self, group: &mut Group) -> Result<(), sqlx::Error> {
        let before = self.memory;
        self.filters.look();
        let held = self.direct.hold().await?;
        held.change("BEGIN IMMEDIATE", &[])?;
        let mut writing = Writing {
            held: &held,
            memory: &mut self.memory,
            recent: &mut self.recent,
            filters: &mut self.filters,
            clock: &*self.options.clock,
        };
        group.write(&mut writing)?;
        if group.steps.is_empty() {
            return commit(&held, &self.memory, &before);
        }
        let mut tx =
            Tx { conn: self.direct.sqlx(), memory: &mut self.memory, recent: &mut self.recent };
        for step in &mut group.steps {
            step_within(&mut tx, step.as_mut()).await?;
        }
        commit(&self.direct.hold().await?, &self.memory, &before)
    }

    /// Makes the connection sound again after `error`; a failure to do so ends the store.
    async fn recover(&mut self, error: &sqlx::Error) -> Reach {
        let mut reach = reach(error);
        if reach == Reach::Statement
            && sqlx::query("ROLLBACK").execute(self.direct.sqlx()).await.is_err()
        {
            reach = Reach::Connection;
        }
        match reach {
            Reach::Statement => {}
            // After these SQLite has rolled back by itself, and the connection is not to be used.
            Reach::Full | Reach::Connection => match Direct::open(&self.options).await {
                Ok(fresh) => {
                    let spoilt = std::mem::replace(&mut self.direct, fresh);
                    if let Err(error) = spoilt.end().await {
                        tracing::warn!(%error, "a connection that failed was not closed in order");
                    }
                }
                Err(again) => self.shared.fail(&again),
            },
            Reach::File => self.shared.fail(error),
        }
        reach
    }

    async fn tidy(&mut self) -> Result<(), sqlx::Error> {
        self.disk.look();
        let done = self.disk.checkpoint_idle(&mut self.direct).await;
        if let Err(error) = &done {
            self.recover(error).await;
        }
        done
    }
}

/// Commits, with the counters and totals where they changed.
fn commit(held: &Held<'_>, memory: &Memory, before: &Memory) -> Result<(), sqlx::Error> {
    if memory != before {
        memory.write(held)?;
    }
    held.change("COMMIT", &[]).map(|_| ())
}

/// Runs a step so that, when it fails, the others in the transaction do not.
async fn step_within(tx: &mut Tx<'_>, step: &mut dyn Queued) -> Result<(), sqlx::Error> {
    let before = *tx.memory;
    tx.run("SAVEPOINT step").await?;
    if !step.run(tx).await? {
        *tx.memory = before;
        tx.run("ROLLBACK TO step").await?;
    }
    tx.run("RELEASE step").await
}
