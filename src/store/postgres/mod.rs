//! The store on PostgreSQL, for any number of nodes: a few writer connections with group commit for what every
//! event needs, a pool for the rarer steps, and one for queries. The SQL of each noun is in the file of its
//! name; `traits` maps the store's traits to it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, PgPool, Postgres};
use tokio::sync::watch;

use super::StoreError;
use crate::domain::clock::Clock;
use crate::domain::ledger::Ledger;
use crate::domain::service_time::ServiceTime;
use crate::telemetry::metrics::Metrics;

mod accept;
mod alert;
mod attempt_list;
mod audit;
mod backfill;
mod claim;
mod counts;
mod credential;
mod day_drop;
mod dead_letters;
mod dedup;
mod dedup_filter;
mod error;
mod idempotency;
mod inbox;
mod integrity_check;
mod job;
mod job_selection;
mod keys;
mod keyset;
mod lease;
mod ledger;
mod list;
mod low_water;
mod moves;
mod node;
mod open;
mod partition;
mod pause;
mod pipeline;
mod pipeline_audit;
mod pipeline_batch;
mod pipeline_change;
mod pipeline_mapping;
mod pipeline_paths;
mod pipeline_rename;
mod probe;
mod prune;
mod record;
mod removed;
mod repair;
mod rows;
mod scan;
mod server_state;
mod service_time;
mod shared_state;
mod siblings;
mod source_admissions;
mod statement;
mod statistics;
mod test_send;
mod token;
mod token_refresh;
mod traits;
mod transfer;
mod transfer_sql;
mod tx;
mod writer;

pub use crate::store::scan_limits::ScanLimits;
pub use open::{OpenError, OpenOptions, schema_version};
pub use probe::{ServerInfo, ServerProbe};
pub(in crate::store) use transfer::PostgresSide;

use crate::store::failure::Failure;
use counts::Counts;
use dedup_filter::Filters;
use error::{is_retried, shows_outage, to_store};
use keys::{KeyGenerator, SLOTS};
use low_water::LowWater;
use open::Target;
use tx::{Step, Tx};
use writer::{Queue, Writer};

/// Connections for steps.
const WORKERS: u32 = 4;
/// A query of deliveries takes milliseconds.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Writers that a node may have, and one for its steps.
const WRITERS: usize = 8;
/// The number of the steps' rows in the ledger.
const STEPS: u8 = 7;
/// Commits that add to one row of the ledger.
const COMMITS_A_ROW: i64 = 256;
/// The number, among the writers, of the one that takes from the inbox.
const INBOX_TAKER: u8 = 6;
/// How often a step is run again that lost to another.
const RUNS: u32 = 8;

/// The store on a PostgreSQL database. Dropping it without [`super::Engine::close`] loses nothing: what is
/// queued is still committed.
pub struct PostgresStore {
    shared: Arc<Shared>,
    queue: Queue,
    /// Takes from the inbox; none once the store is closed.
    inbox_taker: tokio::sync::Mutex<Option<Writer>>,
    scan_limits: ScanLimits,
    large_day: u32,
    low_water: LowWater,
    /// Where retention's sweep is.
    pruned_to: AtomicI64,
    /// The ledger when the store was closed.
    last_ledger: Mutex<Option<Ledger>>,
}

/// What steps share.
struct Shared {
    readers: PgPool,
    workers: PgPool,
    keys: KeyGenerator,
    filters: Filters,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    /// When there last was no server to write to; none since it was there.
    unreached_at: Mutex<Option<Instant>>,
    /// Commits of each writer, and of steps.
    commits: [AtomicI64; WRITERS],
    /// Whether another node has ended this one.
    ended: watch::Sender<bool>,
}

impl Shared {
    /// The row of the ledger that a writer's next commit adds to; steps have rows beside those of the writers.
    fn ledger_row(&self, writer: u8) -> i64 {
        let commits = self.commits[usize::from(writer) % WRITERS].fetch_add(1, Ordering::Relaxed);
        (commits / COMMITS_A_ROW) * SLOTS * 8 + self.keys.slot() * 8 + i64::from(writer)
    }

    async fn run<S: Step>(&self, step: &S) -> Result<S::Answer, Failure> {
        let mut runs = 1;
        loop {
            match self.run_once(step).await {
                Err(failure) if is_retried(&failure) && runs < RUNS => runs += 1,
                done => {
                    self.note_reached(done.as_ref().err());
                    return done;
                }
            }
        }
    }

    /// Notes by a step's failure, or success, whether there is a server to write to.
    fn note_reached(&self, failure: Option<&Failure>) {
        let unreached_at = failure.is_some_and(shows_outage).then(Instant::now);
        let before = std::mem::replace(&mut *self.unreached_at(), unreached_at);
        match (before, unreached_at) {
            (Some(_), None) => tracing::warn!("the database is reached again"),
            (None, Some(_)) => tracing::error!("the database cannot be reached"),
            (None, None) | (Some(_), Some(_)) => {}
        }
    }

    fn unreached_at(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.unreached_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn refresh_filters(&self) -> Result<(), StoreError> {
        const CONTEXT: &str = "read the de-duplication slots";
        let mut conn = self.readers.acquire().await.map_err(|error| to_store(CONTEXT, error))?;
        self.filters.refresh(&mut conn).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn run_once<S: Step>(&self, step: &S) -> Result<S::Answer, Failure> {
        let mut conn = self.workers.acquire().await?;
        match tokio::time::timeout(S::TIMEOUT, self.run_on(&mut conn, step)).await {
            Ok(done) => done,
            Err(late) => {
                // Closed, not returned: nothing answers on it.
                drop(conn.detach());
                Err(sqlx::Error::Io(std::io::Error::other(late)).into())
            }
        }
    }

    async fn run_on<S: Step>(
        &self,
        conn: &mut PgConnection,
        step: &S,
    ) -> Result<S::Answer, Failure> {
        let mut transaction = conn.begin().await?;
        let mut tx = Tx {
            conn: &mut transaction,
            counts: Counts::default(),
            keys: &self.keys,
            clock: &*self.clock,
        };
        let answer = step.run(&mut tx).await?;
        let counts = tx.counts;
        counts.write(&mut transaction, self.ledger_row(STEPS), self.clock.now()).await?;
        transaction.commit().await?;
        Ok(answer)
    }
}

impl PostgresStore {
    /// Connects, checks server and schema, and migrates the schema.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong; nothing was changed then.
    pub async fn open(options: OpenOptions) -> Result<Self, OpenError> {
        let target = Target::parse(&options.url)?;
        let slot = target.prepare().await?;
        target.check_moves().await?;
        let shared = Arc::new(Shared {
            readers: target.readers(options.readers),
            workers: target.workers(WORKERS),
            keys: KeyGenerator::new(Arc::clone(&options.clock), slot),
            filters: Filters::default(),
            clock: Arc::clone(&options.clock),
            metrics: Arc::clone(&options.metrics),
            unreached_at: Mutex::new(None),
            commits: Default::default(),
            ended: watch::Sender::new(false),
        });
        let target = Arc::new(target);
        let queue = Queue::start(&target, &shared, &options);
        let inbox_taker = Some(Writer::new(target, Arc::clone(&shared), INBOX_TAKER)).into();
        let store = Self {
            shared,
            queue,
            inbox_taker,
            scan_limits: options.scan_limits,
            large_day: options.large_day,
            low_water: LowWater::default(),
            pruned_to: AtomicI64::new(0),
            last_ledger: Mutex::new(None),
        };
        store.prepare_partitions(store.shared.clock.service_now()).await;
        store.begin_filters();
        Ok(store)
    }

    async fn reader(&self, context: &'static str) -> Result<PoolConnection<Postgres>, StoreError> {
        self.shared.readers.acquire().await.map_err(|error| to_store(context, error))
    }

    /// Runs a query that deliveries depend on. A server that does not answer in time is unreachable.
    async fn read<T: Send>(
        &self,
        context: &'static str,
        query: impl for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, Failure>> + Send,
    ) -> Result<T, StoreError> {
        let read = async {
            let mut conn = self.shared.readers.acquire().await?;
            if let Ok(done) = tokio::time::timeout(READ_TIMEOUT, query(&mut conn)).await {
                return done;
            }
            // Closed, not returned: nothing answers on it.
            drop(conn.detach());
            Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()).into())
        };
        let read = read.await;
        self.shared.note_reached(read.as_ref().err());
        read.map_err(|error| to_store(context, error))
    }

    /// A connection for one statement over hot tables.
    async fn worker(&self, context: &'static str) -> Result<PoolConnection<Postgres>, StoreError> {
        self.shared.workers.acquire().await.map_err(|error| to_store(context, error))
    }

    /// Runs a step. It runs to its end although its caller is gone: a transaction that is dropped while it
    /// begins would leave its connection within it.
    async fn step<S: Step>(&self, step: S) -> Result<S::Answer, StoreError> {
        let shared = Arc::clone(&self.shared);
        let run = tokio::spawn(async move { shared.run(&step).await });
        match run.await {
            Ok(done) => done.map_err(|failure| to_store(S::CONTEXT, failure)),
            Err(_ended) => Err(StoreError::Closed),
        }
    }

    /// Makes partitions where they are missing. Without them rows go to the default partitions.
    async fn prepare_partitions(&self, now: ServiceTime) {
        if let Err(error) = self.make_partitions(now).await {
            tracing::warn!(%error, "partitions are missing");
        }
    }

    async fn make_partitions(&self, now: ServiceTime) -> Result<(), StoreError> {
        self.step(partition::MakePartitions { now }).await
    }

    /// Reads the slots that take no more keys, beside everything else: until then they are looked at for every key.
    fn begin_filters(&self) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            if let Err(error) = shared.refresh_filters().await {
                tracing::warn!(%error, "no filters yet: every de-duplication slot is looked at");
            }
        });
    }

    fn pruned_to(&self) -> i64 {
        self.pruned_to.load(Ordering::Relaxed)
    }

    fn set_pruned_to(&self, event_id: i64) {
        self.pruned_to.store(event_id, Ordering::Relaxed);
    }

    fn last_ledger(&self) -> std::sync::MutexGuard<'_, Option<Ledger>> {
        self.last_ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
