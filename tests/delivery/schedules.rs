//! Random schedules of the engine: events, slow commits, restarts after a kill, time, receivers that fail,
//! renamed and disabled mappings. After each: every answered attempt is recorded, or was lost to a kill, and the
//! ledger adds up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use postrider::domain::attempt::Outcome;
use postrider::domain::clock::ManualClock;
use postrider::domain::delivery::State;
use postrider::domain::id::DeliveryId;
use postrider::server::AppError;
use postrider::store::DeliveryQuery;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder as RuntimeBuilder, Runtime};

use crate::support::app::{Builder, TestApp, pipeline};
use crate::support::faulty_outbox::Faults;
use crate::support::receiver::{Behaviour, Receiver, by_request};

const SCHEDULES: u64 = 6;
const STEPS: usize = 40;
const MAPPINGS: usize = 3;
/// What the process may have answered and not recorded: the queue of completed attempts, and those in flight.
const MAX_UNRECORDED: usize = 2_048 + 2 * 64;

/// A wait that is longer fails the test.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a receiver does with the next requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Well,
    Failing,
    Garbled,
}

impl Mood {
    fn behaviour(self) -> Behaviour {
        match self {
            Self::Well => Behaviour::ok(),
            Self::Failing => Behaviour::status(503),
            Self::Garbled => Behaviour::Raw(b"no HTTP at all\r\n\r\n".to_vec()),
        }
    }
}

/// One run of the service: ended by `kill` without any of its shutdown.
struct Process {
    runtime: Runtime,
    app: TestApp,
}

struct Run {
    rng: StdRng,
    dir: Arc<TempDir>,
    clock: Arc<ManualClock>,
    faults: Arc<Faults>,
    /// None between two processes.
    process: Option<Process>,
    receiver: Receiver,
    mood: Arc<Mutex<Mood>>,
    accepted: usize,
    kills: usize,
    /// Each mapping's name now and before its last rename, and whether it is enabled.
    mappings: Vec<(String, Option<String>, bool)>,
    log: Vec<String>,
}

fn runtime() -> Runtime {
    RuntimeBuilder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

impl Run {
    fn start(seed: u64, outside: &Runtime) -> Self {
        let mood = Arc::new(Mutex::new(Mood::Well));
        let of_receiver = Arc::clone(&mood);
        let script = by_request(move |_| of_receiver.lock().unwrap().behaviour());
        let receiver = outside.block_on(Receiver::start(script));
        let runtime = runtime();
        let faults = Faults::none();
        let app = runtime.block_on(async { Builder::new().outbox(&faults).start().await });
        let (dir, clock) = (Arc::clone(&app.dir), Arc::clone(&app.clock));
        let mappings = (0..MAPPINGS).map(|number| (format!("m{number}"), None, true)).collect();
        let mut run = Self {
            rng: StdRng::seed_from_u64(seed),
            dir,
            clock,
            faults,
            process: Some(Process { runtime, app }),
            receiver,
            mood,
            accepted: 0,
            kills: 0,
            mappings,
            log: Vec::new(),
        };
        run.apply();
        run
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("it runs")
    }

    fn on<T>(&self, work: impl AsyncFnOnce(&TestApp) -> T) -> T {
        let process = self.process();
        process.runtime.block_on(work(&process.app))
    }

    fn apply(&mut self) {
        let url = self.receiver.url("/");
        let mapping = |(name, before, enabled): &(String, Option<String>, bool)| {
            let mut mapping = json!({"name": name, "url": url, "enabled": enabled});
            if let Some(before) = before {
                mapping["renamed_from"] = json!(before);
            }
            mapping
        };
        let mappings: Vec<Value> = self.mappings.iter().map(mapping).collect();
        let document = pipeline(&[("one", &url, json!({"mappings": mappings}))]);
        self.on(async |app| app.apply(document).await);
        self.mappings.iter_mut().for_each(|mapping| mapping.1 = None);
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..45 => self.accept(),
            45..60 => {
                let seconds = self.rng.random_range(1..30);
                self.log.push(format!("advance {seconds} s"));
                self.clock.advance(Duration::from_secs(seconds));
                let flow = self.faults.records_flow();
                self.on(async |app| {
                    let dispatcher = app.app.dispatcher.clone();
                    // What expires is recorded: while records wait, so does the reaper.
                    let expiring = tokio::spawn(async move { dispatcher.expire_leases().await });
                    if flow {
                        expiring.await.unwrap().unwrap();
                    }
                    app.app.dispatcher.refresh().await.unwrap();
                });
            }
            60..72 => {
                let flow = self.rng.random_bool(0.5);
                self.log.push(format!("records flow: {flow}"));
                self.faults.let_records_flow(flow);
            }
            72..84 => {
                let moods = [Mood::Well, Mood::Well, Mood::Failing, Mood::Garbled];
                let mood = moods[self.rng.random_range(0..moods.len())];
                self.log.push(format!("receiver {mood:?}"));
                *self.mood.lock().unwrap() = mood;
            }
            84..89 => self.rename(),
            89..94 => self.switch(),
            _ => self.kill(),
        }
    }

    fn accept(&mut self) {
        let count = self.rng.random_range(1..15);
        self.log.push(format!("accept {count}"));
        let event = |number| json!({"type": "track", "event": "a", "userId": "u", "messageId": format!("e{number}")});
        let batch: Vec<_> = (self.accepted..self.accepted + count).map(event).collect();
        let status = self.on(async |app| app.send("/v1/batch", &json!({"batch": batch})).await);
        assert_eq!(status, StatusCode::OK);
        self.accepted += count;
    }

    fn rename(&mut self) {
        let at = self.rng.random_range(0..MAPPINGS);
        let new = format!("m{at}-{}", self.log.len());
        self.log.push(format!("rename {} to {new}", self.mappings[at].0));
        let old = std::mem::replace(&mut self.mappings[at].0, new);
        self.mappings[at].1 = Some(old);
        self.apply();
    }

    fn switch(&mut self) {
        let at = self.rng.random_range(0..MAPPINGS);
        self.mappings[at].2 = !self.mappings[at].2;
        self.log.push(format!("{} enabled: {}", self.mappings[at].0, self.mappings[at].2));
        self.apply();
    }

    /// Ends the process without a shutdown, and starts another on its files.
    fn kill(&mut self) {
        self.log.push("kill".to_owned());
        let Process { runtime, app } = self.process.take().expect("it runs");
        {
            let _context = runtime.enter();
            drop(app);
        }
        // Every task ends where it waits: what it would have written is never written.
        runtime.shutdown_timeout(PATIENCE);
        self.kills += 1;
        self.faults.let_records_flow(true);
        let runtime = self::runtime();
        let started = async {
            loop {
                let builder = Builder::after(Arc::clone(&self.dir), Arc::clone(&self.clock));
                match builder.outbox(&self.faults).try_start().await {
                    Ok(app) => return app,
                    // The writer's thread of the process before has not ended yet.
                    Err(AppError::Open(_)) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error}"),
                }
            }
        };
        let started = async { tokio::time::timeout(PATIENCE, started).await };
        let app = runtime.block_on(started).expect("it starts");
        self.process = Some(Process { runtime, app });
    }

    /// Lets everything go on until every delivery is settled.
    fn settle(&mut self) {
        self.faults.let_records_flow(true);
        *self.mood.lock().unwrap() = Mood::Well;
        self.mappings.iter_mut().for_each(|mapping| mapping.2 = true);
        self.apply();
        let clock = Arc::clone(&self.clock);
        self.on(async |app| {
            let going_on = async {
                loop {
                    let ledger = app.app.store.ledger().await.unwrap();
                    if ledger.pending + ledger.leased == 0 {
                        return;
                    }
                    // The time stands still while anything is under way.
                    if ledger.leased == 0 {
                        clock.advance(Duration::from_secs(2));
                        app.app.dispatcher.refresh().await.unwrap();
                    }
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(PATIENCE, going_on).await.expect("it settles");
        });
    }

    fn check(&self) {
        let (ledger, rows) = self.on(async |app| (app.ledger().await, all_deliveries(app).await));
        assert_eq!(ledger.accepted, rows.len() as u64);
        assert_eq!(ledger.leased + ledger.pending, 0);
        let (mut recorded, mut unknown) = (0_usize, 0_usize);
        for (id, state) in rows {
            assert_eq!(state, State::Delivered);
            let attempts = self.on(async |app| app.attempts(id).await);
            let lost = attempts.iter().filter(|it| it.result.outcome == Outcome::Unknown).count();
            recorded += attempts.len() - lost;
            unknown += lost;
        }
        // A delivery: its webhook-id, the same in every attempt.
        let mut by_delivery: HashMap<String, usize> = HashMap::new();
        for request in self.receiver.requests() {
            *by_delivery.entry(request.header("webhook-id").unwrap().to_owned()).or_default() += 1;
        }
        let sent: usize = by_delivery.values().sum();
        let lost = sent.checked_sub(recorded).expect("each recorded attempt was sent");
        assert!(
            lost <= unknown,
            "{lost} requests have no record of their own, {unknown} attempts are unknown"
        );
        assert!(lost <= self.kills * MAX_UNRECORDED, "{lost} after {} kills", self.kills);
        if self.kills == 0 {
            assert_eq!(
                (lost, unknown),
                (0, 0),
                "no attempt is repeated because the store was slow"
            );
        }
        let in_flight = self.on(async |app| {
            app.app.dispatcher.observe();
            app.app.metrics.in_flight.get()
        });
        assert_eq!(in_flight, 0, "every place is given back");
    }
}

/// The id and state of every delivery.
async fn all_deliveries(app: &TestApp) -> Vec<(DeliveryId, State)> {
    let query = DeliveryQuery { limit: 100_000, ..Default::default() };
    let rows = app.app.store.deliveries(query).await.unwrap().rows;
    rows.iter().map(|row| (row.delivery.id, row.delivery.state)).collect()
}

#[test]
fn after_any_schedule_each_answered_attempt_is_recorded_or_was_lost_to_a_kill() {
    let seed = std::env::var("SEED").ok().and_then(|it| it.parse().ok());
    let seeds = seed.map_or(0..SCHEDULES, |seed: u64| seed..seed + 1);
    for seed in seeds {
        let outside = runtime();
        let mut run = Run::start(seed, &outside);
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..STEPS {
                run.step();
            }
            run.settle();
            run.check();
        }));
        // The panic's own message is printed before.
        assert!(checked.is_ok(), "SEED={seed} repeats this schedule: {:#?}", run.log);
        if let Some(Process { runtime, app }) = run.process.take() {
            runtime.block_on(app.stop());
        }
    }
}
