//! What keeps nodes from disturbing each other on PostgreSQL: each test holds another node's transaction open in
//! front of a step.

use std::sync::Arc;
use std::time::Duration;

use postrider::domain::attempt::Outcome;
use postrider::domain::delivery::State;
use postrider::domain::job::{JobAction, JobFilter, NewJob};
use postrider::domain::retry::Next;
use postrider::domain::service_time::ServiceTime;
use postrider::store::{Accepted, LeaseRef, NewEvent, PipelineChange, Recorded, Store, StoreError};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::task::JoinHandle;

use super::postgres::PostgresFactory;
use super::world::{World, lease_of};
use crate::support::postgres::Database;

const HOUR: Duration = Duration::from_secs(3_600);

/// Another node's transaction.
struct Other(PgConnection);

impl Other {
    async fn begin(database: &Database, sql: &str) -> Self {
        let mut conn = PgConnection::connect(&database.url()).await.expect("the server");
        let sql = format!("BEGIN; SET LOCAL search_path = postrider; {sql}");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await.expect("begun");
        Self(conn)
    }

    async fn commit(mut self) {
        sqlx::raw_sql("COMMIT").execute(&mut self.0).await.expect("committed");
    }
}

/// Runs until the step waits for a lock or has ended; whether it waits.
async fn waits<T>(database: &Database, step: &JoinHandle<T>) -> bool {
    let mut watch = PgConnection::connect(&database.url()).await.expect("the server");
    loop {
        let waits = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'
            AND datname = current_database())";
        if sqlx::query_scalar(waits).fetch_one(&mut watch).await.expect("activity") {
            return true;
        }
        if step.is_finished() {
            return false;
        }
        tokio::task::yield_now().await;
    }
}

async fn world() -> (PostgresFactory, World) {
    let factory = PostgresFactory::new();
    let world = World::new(factory.clone()).await;
    (factory, world)
}

async fn accept(store: &Arc<dyn Store>, world: &World, message_id: &str) -> Accepted {
    let event = Arc::new(world.event(message_id));
    let new = NewEvent { event, deliveries: Vec::new(), skips: Vec::new() };
    store.accept(vec![new]).await.expect("accepted").swap_remove(0)
}

#[tokio::test]
async fn a_slot_is_closed_once_everyone_who_admits_keys_has_committed() {
    let (factory, world) = world().await;
    let Accepted::Stored { event_id, .. } = accept(&world.store, &world, "m-1").await else {
        panic!("a new message");
    };
    // As if another node had admitted it, and not committed yet.
    let id = event_id.0;
    let key = format!("SELECT key::text FROM postrider.dedup WHERE event_id = {id}");
    let key = factory.database().text(&key).await.expect("its key");
    let gone = format!("DELETE FROM postrider.dedup WHERE event_id = {id}");
    factory.database().execute(&gone).await.expect("deleted");
    let admit = format!("SELECT admit(ARRAY['{key}'::uuid], ARRAY[{id}::bigint])");
    let other = Other::begin(factory.database(), &admit).await;
    world.clock.advance(HOUR * 2);
    let (store, now) = (Arc::clone(&world.store), world.service_now());
    let rotation = tokio::spawn(async move {
        for duty in store.duties().iter().filter(|it| it.name == "deduplication") {
            duty.run(now).await.expect("rotated");
        }
    });
    assert!(waits(factory.database(), &rotation).await, "the rotation waits");
    other.commit().await;
    rotation.await.expect("rotated");
    assert_eq!(accept(&world.store, &world, "m-1").await, Accepted::Duplicate);
}

#[tokio::test]
async fn a_claim_skips_what_another_node_is_claiming() {
    let (factory, world) = world().await;
    let first = world.accept_pending("m-1", world.a).await;
    let second = world.accept_pending("m-2", world.a).await;
    let lock = format!("SELECT FROM pending WHERE id = {} FOR UPDATE", first.0);
    let other = Other::begin(factory.database(), &lock).await;
    let (store, request) = (Arc::clone(&world.store), world.request(vec![world.want(world.a, 10)]));
    let claim = tokio::spawn(async move { store.claim_due(request).await });
    assert!(!waits(factory.database(), &claim).await, "the claim does not wait");
    let claimed = claim.await.expect("no panic").expect("a claim").deliveries;
    assert_eq!(claimed.iter().map(|it| it.id).collect::<Vec<_>>(), [second]);
    other.commit().await;
}

#[tokio::test]
async fn a_delivery_that_appears_below_the_low_water_mark_is_claimed_within_30_seconds() {
    let (factory, world) = world().await;
    let late = world.accept_pending("m-1", world.a).await;
    let sql = "CREATE TABLE postrider.late AS SELECT * FROM postrider.pending;
        DELETE FROM postrider.pending";
    factory.database().execute(sql).await.expect("moved");
    let second = Duration::from_secs(1);
    world.clock.advance(second * 10);
    assert!(world.claim(world.a, 10).await.deliveries.is_empty());
    // A transaction took long: what it made due appears now.
    let sql = "INSERT INTO postrider.pending SELECT * FROM postrider.late";
    factory.database().execute(sql).await.expect("moved");
    world.clock.advance(second);
    assert!(world.claim(world.a, 10).await.deliveries.is_empty(), "claims begin at the mark");
    world.clock.advance(second * 29);
    let claimed = world.claim(world.a, 10).await.deliveries;
    assert_eq!(claimed.iter().map(|it| it.id).collect::<Vec<_>>(), [late]);
}

#[tokio::test]
async fn leases_are_released_and_extended_under_their_own_token_only() {
    let (_factory, world) = world().await;
    let id = world.accept_leased("m-1", world.a).await;
    let stale: LeaseRef = lease_of(id, 2);
    let released = world.store.release(vec![stale], world.service_now()).await.expect("released");
    assert_eq!((released, world.state(id).await), (0, State::Leased));
    let before = world.delivery(id).await.lease_expires_at;
    let until: ServiceTime = world.service_now() + HOUR;
    world.store.extend(vec![stale], until).await.expect("extended");
    assert_eq!(world.delivery(id).await.lease_expires_at, before);
    world.store.extend(vec![lease_of(id, 1)], until).await.expect("extended");
    assert_eq!(world.delivery(id).await.lease_expires_at, Some(until));
}

#[tokio::test]
async fn a_lease_is_renewed_under_its_own_token_only() {
    let (_factory, world) = world().await;
    let id = world.accept_leased("m-1", world.a).await;
    let next = Next::Renewed { lease_expires_at: world.service_now() + HOUR };
    let stale = world.record_of(id, 2, Outcome::Rejected, next);
    assert_eq!(world.record(stale).await, Recorded::Late);
    assert_eq!(world.delivery(id).await.token, 1);
    let own = world.record_of(id, 1, Outcome::Rejected, next);
    assert_eq!(world.record(own).await, Recorded::Applied);
    assert_eq!(world.delivery(id).await.token, 2);
}

#[tokio::test]
async fn of_two_pipeline_changes_of_one_version_the_second_conflicts() {
    let (factory, world) = world().await;
    let version = world.store.pipeline().await.expect("read").version;
    let other = Other::begin(factory.database(), "UPDATE pipeline SET version = version + 1").await;
    let (store, act) = (Arc::clone(&world.store), world.act());
    let change = PipelineChange::PutSource { source: "third".to_owned(), enabled: true };
    let change =
        tokio::spawn(async move { store.change_pipeline(version, vec![change], act).await });
    assert!(waits(factory.database(), &change).await, "the change waits");
    other.commit().await;
    assert!(matches!(change.await.expect("no panic"), Err(StoreError::Conflict)));
    let sources = world.store.pipeline().await.expect("read").sources;
    assert!(sources.iter().all(|it| it.name != "third"));
}

#[tokio::test]
async fn audit_entries_of_two_nodes_are_chained_one_after_the_other() {
    let (factory, world) = world().await;
    // Another node appends.
    let lock = "SELECT pg_advisory_xact_lock(107156823700480)";
    let other = Other::begin(factory.database(), lock).await;
    let (store, act) = (Arc::clone(&world.store), world.act());
    let version = world.store.pipeline().await.expect("read").version;
    let change = PipelineChange::PutSource { source: "third".to_owned(), enabled: true };
    let change =
        tokio::spawn(async move { store.change_pipeline(version, vec![change], act).await });
    assert!(waits(factory.database(), &change).await, "the change waits");
    other.commit().await;
    change.await.expect("no panic").expect("changed");
    assert_eq!(world.store.verify_audit().await.expect("verified").broken, None);
}

#[tokio::test]
async fn counts_that_another_node_rolls_up_are_not_counted_twice() {
    let (factory, world) = world().await;
    world.accept_pending("m-1", world.a).await;
    let other = Other::begin(factory.database(), "DELETE FROM statistics_log").await;
    let store = Arc::clone(&world.store);
    let roll_up = tokio::spawn(async move { store.roll_up_statistics(100).await });
    assert!(!waits(factory.database(), &roll_up).await, "the roll-up does not wait");
    assert!(roll_up.await.expect("no panic").expect("rolled up").is_empty());
    other.commit().await;
}

#[tokio::test]
async fn a_job_is_advanced_by_one_node_at_a_time() {
    let (factory, world) = world().await;
    let dead = world.dead("m-1", world.a).await;
    let job = NewJob {
        action: JobAction::Redrive,
        filter: JobFilter::default(),
        rate_per_second: None,
        actor: "operator".to_owned(),
        note: None,
    };
    let job = world.store.create_job(job, world.act()).await.expect("made");
    let (store, id, now) = (Arc::clone(&world.store), job.id, world.moment());
    // Another node is in the middle of a step, which ends the job.
    let step = format!("UPDATE jobs SET cursor = {}, done = 1 WHERE id = {}", dead.0, id.0);
    let other = Other::begin(factory.database(), &step).await;
    let advance = tokio::spawn(async move { store.advance_job(id, 10, now).await });
    assert!(waits(factory.database(), &advance).await, "the step waits");
    other.commit().await;
    let step = advance.await.expect("no panic").expect("advanced").expect("the job");
    assert_eq!((step.job.done, step.due.len()), (1, 0), "the other's step counts once");
    assert_eq!(world.state(dead).await, State::Dead);
}
