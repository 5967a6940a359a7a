//! The pool: workers that are started when first needed, one call at a time each, shared fairly. One
//! mapping holds at most half of them, and so do all those together whose last call had to be killed:
//! however many functions hang, the others go on.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::child::{Called, End, Limits, RealmKey, Request, Worker};
use super::frame::Task;
use super::run::{Run, lost, silent};
use super::{Failure, Function};
use crate::domain::attempt::Outcome;
use crate::domain::id::MappingId;

/// Mappings that are remembered while nothing of theirs runs.
const MOST_LANES: usize = 4_096;

/// What a pool works with.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// The program to start as a worker: this one.
    pub executable: PathBuf,
    /// Workers at once.
    pub workers: u32,
    /// What one call may take; a batch's events have it each, where they are called one by one.
    pub timeout: Duration,
    /// Memory at which a worker is killed, in bytes.
    pub memory_bytes: usize,
    /// Memory at which the engine itself refuses more, in bytes: below the former.
    pub engine_memory_bytes: usize,
    /// How long a call waits for a worker.
    pub wait: Duration,
    /// What all calls of one run may take together: a batch's, or a call and the one in its place.
    pub run_timeout: Duration,
}

impl PoolOptions {
    /// How long a run can take at most, of one event or of many, waiting included.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.wait + self.run_timeout
    }
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            executable: own_executable(),
            workers: 2,
            timeout: Duration::from_secs(5),
            memory_bytes: 128 * 1024 * 1024,
            engine_memory_bytes: 112 * 1024 * 1024,
            wait: Duration::from_secs(8),
            run_timeout: Duration::from_secs(12),
        }
    }
}

/// This program, even when its file was replaced meanwhile.
fn own_executable() -> PathBuf {
    if cfg!(target_os = "linux") {
        return PathBuf::from("/proc/self/exe");
    }
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("postrider"))
}

/// What came of one event.
#[derive(Debug)]
pub struct Ran {
    /// The event that the function gave, as `JSON.stringify` prints it, or why there is none.
    pub made: Result<Bytes, Failure>,
    /// What it wrote to the console, as far as it is kept; `onBatch` writes for its first event.
    pub console: Option<String>,
    /// How long it took, waiting included; many events take it together.
    pub took: Duration,
}

impl Ran {
    pub(super) fn new(made: Result<Bytes, Failure>, console: String) -> Self {
        let console = (!console.is_empty()).then_some(console);
        Self { made, console, took: Duration::ZERO }
    }
}

/// The pool of function workers.
#[derive(Debug)]
pub struct FunctionPool {
    pub(super) options: PoolOptions,
    idle: Mutex<Vec<Worker>>,
    places: Semaphore,
    suspects: Semaphore,
    lanes: Mutex<HashMap<Option<MappingId>, Arc<Lane>>>,
    stopped: AtomicBool,
}

/// One mapping's share; that of none is for what is not a delivery.
#[derive(Debug)]
struct Lane {
    share: Semaphore,
    /// Its last call had to be killed.
    suspect: AtomicBool,
}

/// The right to one worker.
struct Place<'a> {
    _share: SemaphorePermit<'a>,
    _suspect: Option<SemaphorePermit<'a>>,
    _place: SemaphorePermit<'a>,
}

impl FunctionPool {
    /// A pool without a worker yet.
    #[must_use]
    pub fn new(mut options: PoolOptions) -> Self {
        options.workers = options.workers.max(1);
        let workers = options.workers as usize;
        Self {
            idle: Mutex::default(),
            places: Semaphore::new(workers),
            suspects: Semaphore::new((workers / 2).max(1)),
            lanes: Mutex::default(),
            stopped: AtomicBool::new(false),
            options,
        }
    }

    /// How long a run can take at most, of one event or of many, waiting included.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.options.longest()
    }

    /// One event of this mapping through its function.
    pub async fn run(&self, mapping: MappingId, function: &Function, event: Bytes) -> Ran {
        let mut ran = self.run_all(mapping, function, Task::Each, &[event]).await;
        ran.pop().unwrap_or_else(|| Ran::new(Err(silent()), String::new()))
    }

    /// Many events of this mapping through its function: all at once where it has `onBatch`, else one
    /// by one. What came of each, by position.
    pub async fn run_batch(
        &self,
        mapping: MappingId,
        function: &Function,
        events: &[Bytes],
    ) -> Vec<Ran> {
        self.run_all(mapping, function, Task::Batch, events).await
    }

    /// Whether a function loads and has a handler; why not, if not.
    ///
    /// # Errors
    /// What is wrong with it, in words, with line and column where there are any.
    pub async fn check(&self, function: &Function) -> Result<(), String> {
        let lane = self.lane(None);
        let _place = self.place(&lane).await.map_err(|failure| failure.words)?;
        let mut worker = self.worker(None).map_err(|failure| failure.words)?;
        let ends_at = Instant::now() + self.options.run_timeout;
        let request = Request {
            realm: None,
            function,
            task: Task::Check,
            events: &[],
            limits: self.limits(ends_at),
        };
        let Called { made, handlers, end, .. } = worker.call(&request).await;
        match end {
            End::Done { again } => self.put_back(worker, again),
            End::Time => return Err(self.too_long()),
            End::Memory => return Err(self.too_much()),
            End::Lost(how) | End::Crashed(how) => return Err(lost(&how)),
        }
        match made.into_iter().next().map(|(made, _)| made) {
            Some(Err(fault)) => Err(fault.words),
            Some(Ok(_)) | None if handlers.is_empty() => {
                Err("defines no handler: onTrack, onIdentify, onPage, onScreen, onGroup, onAlias, \
                     onDelete or onBatch"
                    .to_owned())
            }
            Some(Ok(_)) | None => Ok(()),
        }
    }

    /// Ends the workers that wait; those that are called end when their call does.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.idle().clear();
    }

    async fn run_all(
        &self,
        mapping: MappingId,
        function: &Function,
        task: Task,
        events: &[Bytes],
    ) -> Vec<Ran> {
        let started = Instant::now();
        let lane = self.lane(Some(mapping));
        let mut ran = match self.place(&lane).await {
            Ok(_place) => {
                let realm = RealmKey { mapping: mapping.0, digest: function.digest };
                let run = Run { pool: self, suspect: &lane.suspect, realm, function, task, events };
                run.to_end().await
            }
            Err(failure) => {
                let failed = |_| Ran::new(Err(failure.clone()), String::new());
                events.iter().map(failed).collect()
            }
        };
        let took = started.elapsed();
        ran.iter_mut().for_each(|it| it.took = took);
        ran
    }

    pub(super) fn limits(&self, ends_at: Instant) -> Limits {
        Limits {
            time: self.options.timeout,
            ends_at,
            memory_bytes: self.options.memory_bytes,
            engine_bytes: self.options.engine_memory_bytes,
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Worker>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lane(&self, mapping: Option<MappingId>) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.len() > MOST_LANES {
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        }
        let share = (self.options.workers as usize / 2).max(1);
        let lane = lanes.entry(mapping).or_insert_with(|| {
            Arc::new(Lane { share: Semaphore::new(share), suspect: AtomicBool::new(false) })
        });
        Arc::clone(lane)
    }

    async fn place<'a>(&'a self, lane: &'a Lane) -> Result<Place<'a>, Failure> {
        let waiting = async {
            let share = lane.share.acquire().await?;
            let suspect = if lane.suspect.load(Ordering::SeqCst) {
                Some(self.suspects.acquire().await?)
            } else {
                None
            };
            let place = self.places.acquire().await?;
            Ok::<_, tokio::sync::AcquireError>(Place {
                _share: share,
                _suspect: suspect,
                _place: place,
            })
        };
        match tokio::time::timeout(self.options.wait, waiting).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(Failure {
                outcome: Outcome::FunctionTimeout,
                words: format!(
                    "no function worker was free within {} s",
                    self.options.wait.as_secs_f64()
                ),
            }),
        }
    }

    /// A worker that waits, one that holds the realm if there is one; else a new one.
    pub(super) fn worker(&self, realm: Option<RealmKey>) -> Result<Worker, Failure> {
        {
            let mut idle = self.idle();
            let holds = |worker: &Worker| realm.is_some_and(|realm| worker.holds(realm));
            let at = idle.iter().position(holds).or_else(|| idle.len().checked_sub(1));
            if let Some(at) = at {
                return Ok(idle.swap_remove(at));
            }
        }
        Worker::start(&self.options.executable).map_err(|error| {
            tracing::error!(%error, "a function worker cannot be started");
            Failure {
                outcome: Outcome::FunctionTimeout,
                words: format!("a function worker cannot be started: {error}"),
            }
        })
    }

    pub(super) fn put_back(&self, worker: Worker, again: bool) {
        if again && !self.stopped.load(Ordering::SeqCst) {
            self.idle().push(worker);
        }
    }

    pub(super) fn too_long(&self) -> String {
        format!("the function took longer than {} s", self.options.timeout.as_secs_f64())
    }

    pub(super) fn too_much(&self) -> String {
        format!("the function took more than {} MiB of memory", self.options.memory_bytes >> 20)
    }
}
