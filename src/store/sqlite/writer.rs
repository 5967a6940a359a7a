//! The one writer: a thread that owns the one connection that writes. It takes everything queued,
//! runs it as one transaction, commits, then answers all. Events never wait for more to come: the
//! fsync of one commit is what lets the next group gather. Records alone wait a moment for events to
//! come along, for a commit costs the same with both.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::claim::Leased;
use super::direct::{Direct, Held};
use super::disk::Disk;
use super::failure::{Failure, Reach, reach, shared, to_store};
use super::lock::FileLock;
use super::memory::Memory;
use super::open::OpenOptions;
use super::queue::{Accept, ClaimDue, Command, Queued, RecordAll};
use super::recent::Recent;
use super::shared::Shared;
use super::{accept, claim, dedup, record, siblings};
use crate::clock::Clock;
use crate::store::{Accepted, Record, Recorded, StoreError};

/// Rows that one transaction takes at most, and bytes of events.
const GROUP_ROWS: usize = 4_096;
const GROUP_BYTES: usize = 8 << 20;
/// How long records wait for events to be committed with.
const PATIENCE: Duration = Duration::from_millis(2);
/// About what a row costs the log beside its body.
const ROW_BYTES: usize = 512;

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
    pub(super) clock: &'a dyn Clock,
}

/// What one transaction does, and what it gave.
#[derive(Default)]
struct Group {
    accepts: Vec<Accept>,
    records: Vec<RecordAll>,
    claims: Vec<ClaimDue>,
    steps: Vec<Box<dyn Queued>>,
    accepted: Vec<Accepted>,
    recorded: Vec<Recorded>,
    leased: Vec<Leased>,
    rows: usize,
    bytes: usize,
}

impl Group {
    fn is_empty(&self) -> bool {
        self.commands() == 0
    }

    fn commands(&self) -> usize {
        self.accepts.len() + self.records.len() + self.claims.len() + self.steps.len()
    }

    fn is_full(&self) -> bool {
        self.rows >= GROUP_ROWS || self.bytes >= GROUP_BYTES
    }

    /// Whether nobody minds when it waits a moment: an attempt that has been made is done with.
    fn is_patient(&self) -> bool {
        self.commands() == self.records.len() && !self.records.is_empty()
    }

    fn add_accept(&mut self, accept: Accept) {
        self.rows += accept.arrivals.len();
        self.bytes += accept.bytes;
        self.accepts.push(accept);
    }

    fn add_record(&mut self, record: RecordAll) {
        self.rows += record.records.len();
        self.records.push(record);
    }

    fn add_claim(&mut self, claim: ClaimDue) {
        self.rows += claim.rows();
        self.claims.push(claim);
    }

    fn add_step(&mut self, step: Box<dyn Queued>) {
        self.rows += 1;
        self.steps.push(step);
    }

    /// One group for each command, for finding the one that cannot be done.
    fn split(self) -> Vec<Self> {
        let mut alone = Vec::with_capacity(self.commands());
        for accept in self.accepts {
            let mut group = Self::default();
            group.add_accept(accept);
            alone.push(group);
        }
        for record in self.records {
            let mut group = Self::default();
            group.add_record(record);
            alone.push(group);
        }
        for claim in self.claims {
            let mut group = Self::default();
            group.add_claim(claim);
            alone.push(group);
        }
        for step in self.steps {
            let mut group = Self::default();
            group.add_step(step);
            alone.push(group);
        }
        alone
    }

    /// Answers all: committed.
    fn answer(self) {
        let mut accepted = self.accepted.into_iter();
        for accept in self.accepts {
            let given = accepted.by_ref().take(accept.arrivals.len()).collect();
            // Whoever asked may have gone away; likewise below.
            let _ = accept.answer.send(Ok(given));
        }
        let mut recorded = self.recorded.into_iter();
        for record in self.records {
            let given = recorded.by_ref().take(record.records.len()).collect();
            let _ = record.answer.send(Ok(given));
        }
        for (claim, leased) in self.claims.into_iter().zip(self.leased) {
            let _ = claim.answer.send(Ok(leased));
        }
        for step in self.steps {
            step.answer(Ok(()));
        }
    }

    /// Answers all: nothing was written.
    fn refuse(self, error: sqlx::Error) {
        let error = Arc::new(error);
        for accept in self.accepts {
            let _ = accept.answer.send(Err(shared("accept events", &error)));
        }
        for record in self.records {
            let _ = record.answer.send(Err(shared("record attempts", &error)));
        }
        for claim in self.claims {
            let _ = claim.answer.send(Err(shared("claim due deliveries", &error)));
        }
        for step in self.steps {
            let context = step.context();
            step.answer(Err(shared(context, &error)));
        }
    }

    /// Answers the accepts: no space. What makes room or uses little goes on.
    fn refuse_accepts(&mut self) {
        for accept in self.accepts.drain(..) {
            let _ = accept.answer.send(Err(StoreError::Full));
        }
    }
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
    options: OpenOptions,
    shared: Arc<Shared>,
    disk: Disk,
    commands: mpsc::Receiver<Command>,
    _lock: FileLock,
}

impl Writer {
    /// Opens the connection that writes and reads what it must know.
    pub(super) async fn open(
        options: OpenOptions,
        shared: Arc<Shared>,
        commands: mpsc::Receiver<Command>,
        lock: FileLock,
    ) -> Result<Self, sqlx::Error> {
        let mut direct = Direct::open(&options).await?;
        let memory = Memory::load(direct.sqlx()).await?;
        let recent = Recent::load(direct.sqlx()).await?;
        shared.publish(memory.ledger);
        let mut disk = Disk::new(&options, Arc::clone(&shared)).map_err(sqlx::Error::Io)?;
        disk.look();
        Ok(Self { direct, memory, recent, options, shared, disk, commands, _lock: lock })
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
        while let Some(command) = self.commands.recv().await {
            if !self.turn(command).await {
                break;
            }
        }
        self.commands.close();
        while let Some(command) = self.commands.recv().await {
            if self.shared.has_failed() {
                break;
            }
            self.turn(command).await;
        }
        if !self.shared.has_failed()
            && let Err(error) = self.disk.checkpoint_whole(&mut self.direct).await
        {
            tracing::warn!(%error, "the log was not brought into the database; the next start does");
        }
        if let Err(error) = self.direct.end().await {
            tracing::warn!(%error, "the database was not closed in order; the next start recovers");
        }
    }

    /// Does `first` and what is queued behind it. False when it is time to end.
    async fn turn(&mut self, first: Command) -> bool {
        let mut group = Group::default();
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
            next = if group.is_full() || !goes_on {
                None
            } else if group.is_patient() && tidies.is_empty() {
                self.recv_until(*patience.get_or_insert_with(|| Instant::now() + PATIENCE)).await
            } else {
                self.commands.try_recv().ok()
            };
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

    /// The next command, if one comes until then.
    async fn recv_until(&mut self, until: Instant) -> Option<Command> {
        match self.commands.try_recv() {
            Ok(command) => Some(command),
            Err(_) => tokio::time::timeout_at(until.into(), self.commands.recv()).await.ok()?,
        }
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
            Reach::Full if !group.accepts.is_empty() => {
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
        let bytes = group.bytes.saturating_add(group.rows.saturating_mul(ROW_BYTES));
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
                let metrics = &self.options.metrics;
                metrics.commit_seconds.observe(began.elapsed().as_secs_f64());
                metrics.commit_rows.observe(f64::from(u32::try_from(group.rows).unwrap_or(0)));
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
        let held = self.direct.hold().await?;
        held.change("BEGIN IMMEDIATE", &[])?;
        let mut writing = Writing {
            held: &held,
            memory: &mut self.memory,
            recent: &mut self.recent,
            clock: &*self.options.clock,
        };
        write(&mut writing, group)?;
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

/// Writes what every event takes.
fn write(writing: &mut Writing<'_>, group: &mut Group) -> Result<(), sqlx::Error> {
    let arrivals = group.accepts.iter().flat_map(|accept| &accept.arrivals);
    group.accepted = accept::accept(writing, arrivals)?;
    let records: Vec<&Record> =
        group.records.iter().flat_map(|record| record.records.iter()).collect();
    group.recorded = record::record(writing, &records)?;
    dedup::merge(writing)?;
    siblings::settle(writing, &records, &group.recorded)?;
    group.leased = group
        .claims
        .iter()
        .map(|it| claim::claim(writing, &it.request))
        .collect::<Result<_, _>>()?;
    Ok(())
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
