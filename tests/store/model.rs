//! Random steps, the same on the store and on a simple model of it: answers, states and the ledger
//! must agree after each.

use std::sync::Arc;

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use postrider::domain::attempt::Outcome;
use postrider::domain::clock::{Moment, Timestamp};
use postrider::domain::delivery::{Reason, State};
use postrider::domain::destination::DeliveryPolicy;
use postrider::domain::id::DeliveryId;
use postrider::domain::job::{JobAction, JobFilter, JobState, NewJob};
use postrider::domain::ledger::Ledger;
use postrider::domain::retry::Next;
use postrider::domain::service_time::ServiceTime;
use postrider::store::{Accepted, PruneRequest, Record, Recorded};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::world::{LEASE, Target, WINDOW, World, lease_of};
use crate::support::statistics::sums;

const ROUNDS: u32 = 400;
const DAY: Duration = Duration::from_secs(24 * 3_600);

#[derive(Clone, Debug, PartialEq)]
struct Row {
    target: usize,
    event: i64,
    state: State,
    token: u32,
    tried: u32,
    due_at: Option<ServiceTime>,
    deadline_at: ServiceTime,
    expires_at: Option<ServiceTime>,
    settled_at: Option<Timestamp>,
    settled_by: Option<i64>,
    attempts: usize,
}

#[derive(Default)]
struct Model {
    rows: BTreeMap<i64, Row>,
    messages: HashSet<String>,
    pruned: Ledger,
    duplicates: u64,
    /// Steps of the wall clock: since when, and its offset from then on.
    steps: Vec<(ServiceTime, i64)>,
    attempts: u64,
}

impl Model {
    fn ledger(&self) -> Ledger {
        let count = |state| self.rows.values().filter(|row| row.state == state).count() as u64;
        let pruned = self.pruned;
        let sum = pruned.delivered_pruned + pruned.dead_pruned + pruned.discarded_pruned;
        Ledger {
            events_accepted: self.messages.len() as u64,
            events_duplicate: self.duplicates,
            accepted: self.rows.len() as u64 + sum,
            pending: count(State::Pending),
            leased: count(State::Leased),
            delivered: count(State::Delivered) + pruned.delivered_pruned,
            dead: count(State::Dead) + pruned.dead_pruned,
            discarded: count(State::Discarded) + pruned.discarded_pruned,
            ..pruned
        }
    }

    /// A wall time before which whatever is recorded is older than `before`.
    fn wall_before(&self, before: ServiceTime) -> Timestamp {
        let mut lowest = i64::MAX;
        let mut spans = vec![(ServiceTime::from_micros(0), 0)];
        spans.extend(&self.steps);
        for (index, (from, offset)) in spans.iter().enumerate() {
            let is_over = spans.get(index + 1).is_some_and(|(until, _)| *until <= before);
            if !is_over {
                lowest = lowest.min(before.max(*from).as_micros() + offset);
            }
        }
        Timestamp::from_micros(lowest)
    }

    fn in_state(&self, state: State) -> Vec<i64> {
        self.rows.iter().filter(|(_, row)| row.state == state).map(|(id, _)| *id).collect()
    }

    fn settle(&mut self, id: i64, state: State, at: Timestamp) {
        let row = self.rows.get_mut(&id).expect("a row");
        (row.state, row.settled_at) = (state, Some(at));
        (row.due_at, row.expires_at) = (None, None);
    }
}

struct Run {
    world: World,
    model: Model,
    rng: StdRng,
    targets: [Target; 3],
}

pub(crate) async fn random_steps_agree_with_a_simple_model(world: World) {
    let seed = std::env::var("POSTRIDER_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or(20_26);
    let targets = [world.a, world.b, world.c];
    let rng = StdRng::seed_from_u64(seed);
    let mut run = Run { world, model: Model::default(), rng, targets };
    for round in 0..ROUNDS {
        let what = run.step().await;
        assert_eq!(
            run.world.store.ledger().await.expect("the ledger"),
            run.model.ledger(),
            "round {round}, {what}; POSTRIDER_TEST_SEED={seed}"
        );
        if round % 40 == 0 {
            run.compare(round, seed).await;
        }
    }
    run.compare(ROUNDS, seed).await;
}

impl Run {
    async fn step(&mut self) -> &'static str {
        let span = Duration::from_millis(self.rng.random_range(0..20_000));
        self.world.clock.advance(span);
        match self.rng.random_range(0..100) {
            0..30 => self.accept().await,
            30..50 => self.claim().await,
            50..75 => self.record().await,
            75..80 => self.release().await,
            80..86 => self.expire().await,
            86..90 => self.job(JobAction::Redrive).await,
            90..92 => self.job(JobAction::Discard).await,
            92..94 => self.step_clock().await,
            94..96 => self.prune().await,
            96..98 => self.long_pause().await,
            98 => {
                let limit = self.rng.random_range(1..4);
                self.world.store.roll_up_statistics(limit).await.expect("rolled up");
                "roll up"
            }
            _ => {
                self.restart().await;
                "restart"
            }
        }
    }

    async fn accept(&mut self) -> &'static str {
        let message = format!("m-{}", self.rng.random_range(0..600));
        let mut deliveries = Vec::new();
        let mut chosen = Vec::new();
        for (index, target) in self.targets.into_iter().enumerate() {
            if self.rng.random_bool(0.6) {
                let leased = self.rng.random_bool(0.5);
                chosen.push((index, leased));
                deliveries.push(if leased {
                    self.world.leased(target)
                } else {
                    self.world.pending(target)
                });
            }
        }
        match self.world.accept_one(self.world.event(&message), deliveries).await {
            Accepted::Duplicate => {
                assert!(self.model.messages.contains(&message), "{message} is new");
                self.model.duplicates += 1;
            }
            Accepted::Stored { event_id, delivery_ids } => {
                assert!(self.model.messages.insert(message), "a duplicate was stored");
                let now = self.world.service_now();
                for (DeliveryId(id), (target, leased)) in delivery_ids.iter().zip(chosen) {
                    let row = Row {
                        target,
                        event: event_id.0,
                        state: if leased { State::Leased } else { State::Pending },
                        token: u32::from(leased),
                        tried: 0,
                        due_at: (!leased).then_some(now),
                        deadline_at: now + WINDOW,
                        expires_at: leased.then_some(now + LEASE),
                        settled_at: None,
                        settled_by: None,
                        attempts: 0,
                    };
                    assert!(self.model.rows.insert(id, row).is_none(), "{id} was used before");
                }
            }
        }
        "accept"
    }

    async fn claim(&mut self) -> &'static str {
        let Moment { wall, service: now } = self.world.moment();
        let limit = self.rng.random_range(0..6);
        let wants = self.targets.map(|target| self.world.want(target, limit)).to_vec();
        let claim = self.world.store.claim_due(self.world.request(wants)).await.expect("a claim");
        let mut overdue = 0;
        for target in 0..3 {
            let mut due: Vec<(ServiceTime, i64)> = self
                .model
                .rows
                .iter()
                .filter(|(_, row)| row.target == target && row.state == State::Pending)
                .filter_map(|(id, row)| Some((row.due_at?, *id)))
                .filter(|(at, _)| *at <= now)
                .collect();
            due.sort_unstable();
            let mapping_id = self.targets[target].mapping_id;
            let got: Vec<_> =
                claim.deliveries.iter().filter(|one| one.mapping_id == mapping_id).collect();
            let mut fit = Vec::new();
            for (due_at, id) in due {
                let row = &self.model.rows[&id];
                if fit.len() == limit as usize {
                    break;
                } else if row.tried > 0 && row.deadline_at <= now {
                    self.model.settle(id, State::Dead, wall);
                    overdue += 1;
                } else {
                    fit.push(due_at);
                }
            }
            assert_eq!(got.len(), fit.len());
            for (leased, due_at) in got.into_iter().zip(fit) {
                let row = self.model.rows.get_mut(&leased.id.0).expect("a row");
                assert_eq!(row.due_at, Some(due_at), "not the longest due");
                row.token += 1;
                (row.state, row.due_at) = (State::Leased, None);
                row.expires_at = Some(now + LEASE);
                assert_eq!((leased.token, leased.tried), (row.token, row.tried));
                assert_eq!(leased.event_id.0, row.event);
            }
        }
        assert_eq!(claim.overdue.iter().map(|it| it.1).sum::<u64>(), overdue);
        "claim"
    }

    async fn record(&mut self) -> &'static str {
        let now = self.world.service_now();
        let mut records = Vec::new();
        for _ in 0..self.rng.random_range(1..8) {
            let Some((id, row)) = self.any_row() else {
                continue;
            };
            // Mostly the token in force, now and then one before it.
            let back = u32::from(self.rng.random_bool(0.1));
            let token = row.token.saturating_sub(back).max(1);
            let (outcome, next) = match self.rng.random_range(0..10) {
                0..4 => (Outcome::Delivered, Next::Delivered),
                4 | 5 => {
                    let wait = Duration::from_secs(self.rng.random_range(0..3_000));
                    (Outcome::ServerError, Next::Retry { due_at: now + wait })
                }
                6 => (Outcome::Dropped, Next::Discarded),
                7 => (Outcome::Rejected, Next::Renewed { lease_expires_at: now + LEASE }),
                _ => (Outcome::Rejected, Next::Dead { reason: Reason::Rejected }),
            };
            let policy =
                if self.rng.random_bool(0.3) { DeliveryPolicy::Any } else { DeliveryPolicy::All };
            let record = self.world.record_of(DeliveryId(id), token, outcome, next);
            records.push(Record { policy, ..record });
        }
        let answers = self.world.store.record(Arc::new(records.clone())).await.expect("recorded");
        let mut winners = Vec::new();
        for (record, answer) in records.iter().zip(answers) {
            self.apply(record.delivery_id.0, record.token, record.next, answer, true);
            let is_enough = record.policy == DeliveryPolicy::Any && record.next == Next::Delivered;
            if is_enough && answer == Recorded::Applied {
                winners.push(record.delivery_id.0);
            }
        }
        winners.sort_unstable();
        for winner in winners {
            self.settle_others(winner);
        }
        "record"
    }

    fn settle_others(&mut self, winner: i64) {
        let won = self.model.rows[&winner].clone();
        let destination = |target: usize| self.targets[target].destination_id;
        let others: Vec<i64> = self
            .model
            .rows
            .iter()
            .filter(|(_, row)| row.event == won.event)
            .filter(|(_, row)| destination(row.target) == destination(won.target))
            .filter(|(_, row)| matches!(row.state, State::Pending | State::Leased))
            .map(|(id, _)| *id)
            .collect();
        for id in others {
            self.model.settle(id, State::Delivered, won.settled_at.expect("settled"));
            self.model.rows.get_mut(&id).expect("a row").settled_by = Some(winner);
        }
    }

    fn any_row(&mut self) -> Option<(i64, Row)> {
        let leased = self.model.in_state(State::Leased);
        let ids: Vec<i64> = if leased.is_empty() || self.rng.random_bool(0.15) {
            self.model.rows.keys().copied().collect()
        } else {
            leased
        };
        if ids.is_empty() {
            return None;
        }
        let id = ids[self.rng.random_range(0..ids.len())];
        Some((id, self.model.rows[&id].clone()))
    }

    fn apply(&mut self, id: i64, token: u32, next: Next, answer: Recorded, is_kept: bool) {
        let ended_at = self.world.now() + Duration::from_micros(1_500);
        let row = self.model.rows.get_mut(&id).expect("a row");
        let applies = row.state == State::Leased && row.token == token;
        assert_eq!(answer == Recorded::Applied, applies);
        row.attempts += usize::from(applies || is_kept);
        self.model.attempts += u64::from(applies || is_kept);
        if !applies {
            return;
        }
        // What is not kept when it is late is of unknown outcome.
        row.tried += u32::from(is_kept && !matches!(next, Next::Renewed { .. }));
        match next {
            Next::Delivered => self.model.settle(id, State::Delivered, ended_at),
            Next::Discarded => self.model.settle(id, State::Discarded, ended_at),
            Next::Dead { .. } => self.model.settle(id, State::Dead, ended_at),
            Next::Retry { due_at } => {
                (row.state, row.due_at, row.expires_at) = (State::Pending, Some(due_at), None);
            }
            Next::Renewed { lease_expires_at } => {
                row.token += 1;
                row.expires_at = Some(lease_expires_at);
            }
        }
    }

    async fn release(&mut self) -> &'static str {
        let now = self.world.service_now();
        let ids: Vec<i64> = self.model.in_state(State::Leased).into_iter().take(3).collect();
        let leases =
            ids.iter().map(|id| lease_of(DeliveryId(*id), self.model.rows[id].token)).collect();
        let released = self.world.store.release(leases, now).await.expect("released");
        assert_eq!(released, ids.len() as u64);
        for id in ids {
            let row = self.model.rows.get_mut(&id).expect("a row");
            (row.state, row.due_at, row.expires_at) = (State::Pending, Some(now), None);
        }
        "release"
    }

    async fn expire(&mut self) -> &'static str {
        let now = self.world.service_now();
        self.record_expired(|row| row.expires_at.is_some_and(|at| at <= now)).await;
        "expire"
    }

    /// The node of the process before has ended, and with it its leases.
    async fn restart(&mut self) {
        self.world.reopen().await;
        let node = self.world.store.register_node("one", self.world.moment()).await;
        self.world.node = node.expect("a node");
        self.record_expired(|row| row.expires_at.is_some()).await;
    }

    async fn record_expired(&mut self, is_expired: impl Fn(&Row) -> bool) {
        let now = self.world.service_now();
        let found = self.world.store.expired_leases(now, 1_000).await.expect("found");
        let mut ids: Vec<i64> = found.iter().map(|lease| lease.delivery_id.0).collect();
        ids.sort_unstable();
        let expired: Vec<i64> =
            self.model.rows.iter().filter(|(_, row)| is_expired(row)).map(|(id, _)| *id).collect();
        assert_eq!(ids, expired);
        for lease in found {
            let next = Next::Retry { due_at: now };
            let id = lease.delivery_id;
            let record = self.world.record_of(id, lease.token, Outcome::Unknown, next);
            let answer = self.world.record(record).await;
            self.apply(id.0, lease.token, next, answer, false);
        }
    }

    async fn job(&mut self, action: JobAction) -> &'static str {
        let now = self.world.moment();
        let target = self.rng.random_range(0..3);
        let filter =
            JobFilter { mapping_id: Some(self.targets[target].mapping_id), ..JobFilter::default() };
        let actor = "model".to_owned();
        let job = NewJob { action, filter, rate_per_second: None, actor, note: None };
        let mut job = self.world.store.create_job(job, self.world.act()).await.expect("made");
        while job.state == JobState::Running {
            let step = self.world.store.advance_job(job.id, 7, now).await.expect("a step");
            job = step.expect("the job").job;
        }
        let mut done = 0;
        let ids: Vec<i64> = self.model.rows.keys().copied().collect();
        for id in ids {
            let row = self.model.rows.get_mut(&id).expect("a row");
            if row.target != target || !action.takes(row.state) {
                continue;
            }
            done += 1;
            match action {
                JobAction::Discard => self.model.settle(id, State::Discarded, now.wall),
                JobAction::Redrive => {
                    (row.state, row.due_at, row.tried) = (State::Pending, Some(now.service), 0);
                    (row.settled_at, row.deadline_at) = (None, now.service + WINDOW);
                }
                JobAction::Backfill => unreachable!("it takes no delivery"),
            }
        }
        assert_eq!((job.matched, job.done), (done, done));
        "job"
    }

    async fn step_clock(&mut self) -> &'static str {
        let micros = self.rng.random_range(-3_600_000_000i64..3_600_000_000);
        self.world.step_clock(micros).await;
        let Moment { service, .. } = self.world.moment();
        self.model.steps.push((service, self.world.moment().offset()));
        "step of the clock"
    }

    async fn long_pause(&mut self) -> &'static str {
        // Short enough that no message is forgotten over a whole run: none is rotated out.
        self.world.clock.advance(WINDOW / 2);
        "long pause"
    }

    async fn prune(&mut self) -> &'static str {
        let now = self.world.service_now();
        let (settled_before, dead_before) = (now - DAY / 8, now - DAY / 4);
        loop {
            let request = PruneRequest { settled_before, dead_before, limit: 10_000 };
            let pruned = self.world.store.prune(request).await.expect("pruned");
            if !pruned.more {
                break;
            }
        }
        let (settled_before, dead_before) =
            (self.model.wall_before(settled_before), self.model.wall_before(dead_before));
        let is_past = |row: &Row| match row.state {
            State::Pending | State::Leased => false,
            State::Delivered | State::Discarded => row.settled_at < Some(settled_before),
            State::Dead => row.settled_at < Some(dead_before),
        };
        let kept: HashSet<i64> =
            self.model.rows.values().filter(|row| !is_past(row)).map(|row| row.event).collect();
        let pruned = &mut self.model.pruned;
        self.model.rows.retain(|_, row| {
            if kept.contains(&row.event) {
                return true;
            }
            match row.state {
                State::Delivered => pruned.delivered_pruned += 1,
                State::Dead => pruned.dead_pruned += 1,
                State::Discarded => pruned.discarded_pruned += 1,
                State::Pending | State::Leased => unreachable!("kept"),
            }
            false
        });
        "prune"
    }

    /// Every row, and what the store says of itself.
    async fn compare(&self, round: u32, seed: u64) {
        let place = format!("round {round}; POSTRIDER_TEST_SEED={seed}");
        self.world.check().await;
        for sum in sums(&*self.world.store).await {
            assert_eq!(sum.attempts, self.model.attempts, "{place}");
        }
        for (id, row) in &self.model.rows {
            let found = self.world.store.delivery(DeliveryId(*id)).await.expect("read");
            let found = found.unwrap_or_else(|| panic!("{id} is gone; {place}")).delivery;
            let attempts = self.world.store.attempts_of(DeliveryId(*id)).await.expect("attempts");
            let read = Row {
                target: row.target,
                event: found.event_id.0,
                state: found.state,
                token: found.token,
                tried: found.tried,
                due_at: found.due_at,
                deadline_at: found.deadline_at,
                expires_at: found.lease_expires_at,
                settled_at: found.settled_at,
                settled_by: found.settled_by.map(|by| by.0),
                attempts: attempts.len(),
            };
            assert_eq!(&read, row, "delivery {id}; {place}");
            assert_eq!(found.mapping_id, self.targets[row.target].mapping_id);
        }
    }
}
