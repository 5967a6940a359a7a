//! The factory of stores on PostgreSQL, each in a database of its own; what is refused at opening.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postrider::domain::clock::{Clock as _, ManualClock, Moment};
use postrider::domain::delivery::State;
use postrider::store::postgres::{OpenError, OpenOptions, PostgresStore, schema_version};
use postrider::store::{
    Accepted, Engine as _, Maintenance as _, NewEvent, PruneRequest, Pruned, Store,
};
use postrider::telemetry::metrics::Metrics;
use sqlx::{Connection as _, PgConnection};
use tokio::sync::OnceCell;

use super::world::World;
use super::{START, StoreFactory};
use crate::support::postgres::{self, Database};

const HOUR: Duration = Duration::from_secs(3_600);
const HOUR_MICROS: i64 = 3_600_000_000;

/// Stores on PostgreSQL.
#[derive(Clone)]
pub(crate) struct PostgresFactory {
    database: Arc<OnceCell<Database>>,
    large_day: u32,
}

impl PostgresFactory {
    pub(crate) fn new() -> Self {
        Self { database: Arc::new(OnceCell::new()), large_day: 10_000 }
    }

    /// The database, behind the store's back.
    pub(super) fn database(&self) -> &Database {
        self.database.get().expect("a store")
    }
}

fn options(url: String, clock: Arc<ManualClock>) -> OpenOptions {
    OpenOptions::new(url, Arc::new(Metrics::new()), clock)
}

async fn open(url: String) -> Result<PostgresStore, OpenError> {
    PostgresStore::open(options(url, Arc::new(ManualClock::new(START)))).await
}

#[async_trait]
impl StoreFactory for PostgresFactory {
    async fn open(&self, clock: Arc<ManualClock>) -> Arc<dyn Store> {
        let database = self.database.get_or_init(Database::migrated).await;
        let options = OpenOptions { large_day: self.large_day, ..options(database.url(), clock) };
        Arc::new(PostgresStore::open(options).await.expect("a store"))
    }
}

fn refused(opened: Result<PostgresStore, OpenError>) -> OpenError {
    let error = opened.err().expect("refused");
    assert!(!error.hint().is_empty());
    assert!(!format!("{error:?} {error}").contains("secret"), "{error:?}");
    error
}

#[tokio::test]
async fn an_address_without_a_listener_is_unreachable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    drop(listener);
    let error = refused(open(format!("postgres://a:secret@127.0.0.1:{port}/b")).await);
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("the database 127.0.0.1:{port}/b cannot be reached"));
}

#[tokio::test]
async fn a_wrong_password_is_refused() {
    let url = format!("postgres://postrider:wrong@127.0.0.1:{}/postgres", postgres::port());
    let error = refused(open(url).await);
    assert!(matches!(error, OpenError::Refused { .. }), "{error:?}");
}

#[tokio::test]
async fn a_missing_database_is_named() {
    let error = refused(open(postgres::url("missing")).await);
    assert!(matches!(error, OpenError::NoDatabase { .. }), "{error:?}");
}

#[tokio::test]
async fn an_address_of_another_form_is_refused() {
    for url in ["postgres://a:secret@host:port/b", "postgres://host:99999/x", "postgres://[/"] {
        let error = refused(open(url.to_owned()).await);
        assert!(matches!(error, OpenError::Address(_)), "{url}: {error:?}");
    }
}

#[tokio::test]
async fn a_user_without_rights_is_told_which() {
    let database = Database::new().await;
    let url = database.url().replace("postrider:", "limited:");
    let user = "DO $$ BEGIN CREATE ROLE limited LOGIN PASSWORD 'secret';
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$";
    database.execute(user).await.expect("a user");
    let error = refused(open(url.clone()).await);
    assert!(matches!(error, OpenError::NoRight { right: "create", .. }), "{error:?}");
    open(database.url()).await.expect("a store");
    let error = refused(open(url.clone()).await);
    assert!(matches!(error, OpenError::NoRight { right: "use", .. }), "{error:?}");
}

#[tokio::test]
async fn a_read_only_database_is_refused() {
    let database = Database::new().await;
    let name = database.url();
    let name = name.rsplit('/').next().expect("a name");
    let sql = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    database.execute(&sql).await.expect("set");
    let error = refused(open(database.url()).await);
    assert!(matches!(error, OpenError::ReadOnly { .. }), "{error:?}");
}

#[tokio::test]
async fn a_schema_of_another_program_is_left_alone() {
    let database = Database::new().await;
    let sql = "CREATE SCHEMA postrider; CREATE TABLE postrider.theirs (id int)";
    database.execute(sql).await.expect("made");
    let error = refused(open(database.url()).await);
    assert!(matches!(error, OpenError::NotOurs { .. }), "{error:?}");
    database.execute("SELECT * FROM postrider.theirs").await.expect("there");
    database.execute("SELECT * FROM postrider.events").await.expect_err("nothing was made");
}

#[tokio::test]
async fn tables_of_an_application_beside_the_schema_are_welcome() {
    let database = Database::new().await;
    database.execute("CREATE TABLE events (id text)").await.expect("made");
    open(database.url()).await.expect("a store");
    database.execute("INSERT INTO public.events VALUES ('theirs')").await.expect("untouched");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let database = Database::new().await;
    open(database.url()).await.expect("a store");
    let sql = "INSERT INTO postrider._sqlx_migrations
        (version, description, success, checksum, execution_time) VALUES (9000, 'x', true, '', 0)";
    database.execute(sql).await.expect("inserted");
    let error = refused(open(database.url()).await);
    let program = schema_version();
    assert!(
        matches!(error, OpenError::Newer { found: 9_000, program: known, .. } if known == program),
        "{error:?}"
    );
}

#[tokio::test]
async fn service_time_continues_by_the_servers_clock_and_never_runs_backwards() {
    let database = Database::migrated().await;
    let clock = Arc::new(ManualClock::new(START));
    let store = PostgresStore::open(options(database.url(), clock.clone())).await.expect("a store");
    let node = store.register_node("one", clock.moment()).await.expect("a node");
    clock.advance(HOUR);
    store.heartbeat(node, clock.moment()).await.expect("recorded");
    let service = async || store.last_moment().await.expect("read").expect("a moment").service;
    let noted = clock.service_now();
    let shift = async |micros: i64| {
        let sql = format!("UPDATE postrider.service_time SET server_at = server_at + {micros}");
        database.execute(&sql).await.expect("shifted");
    };
    // As if the server's clock had been set back by an hour.
    shift(HOUR_MICROS).await;
    assert_eq!(service().await, noted);
    // As if no node had run for an hour.
    shift(-2 * HOUR_MICROS).await;
    assert!(service().await >= noted + HOUR);
    // An older heartbeat that comes late does not take it back.
    let late = Moment { service: noted - HOUR, ..clock.moment() };
    store.heartbeat(node, late).await.expect("recorded");
    assert!(service().await >= noted);
}

#[tokio::test]
async fn rows_without_their_partition_are_kept_and_moved_into_it() {
    let world = World::new(PostgresFactory::new()).await;
    // Beyond the days that have partitions.
    world.clock.advance(HOUR * 24 * 10);
    let id = world.accept_leased("m-1", world.a).await;
    world.deliver(id, 1).await;
    let found = async || {
        let findings = world.store.check_consistency(world.service_now()).await.expect("checked");
        let of = findings.into_iter().find(|it| it.check == "partitions").expect("the check");
        of.detail
    };
    assert_eq!(found().await, "3 rows in partitions of no day");
    world.run_engine_duties().await;
    assert_eq!(found().await, "0 rows in partitions of no day");
    assert_eq!(world.state(id).await, State::Delivered);
    assert_eq!(world.store.attempts_of(id).await.expect("attempts").len(), 1);
    world.check().await;
}

fn retention(world: &World) -> PruneRequest {
    let (settled, dead) = (HOUR * 24 * 30, HOUR * 24 * 90);
    let now = world.service_now();
    PruneRequest { settled_before: now - settled, dead_before: now - dead, limit: 100 }
}

#[tokio::test]
async fn retention_keeps_what_a_redrive_takes_meanwhile() {
    let factory = PostgresFactory::new();
    let world = World::new(factory.clone()).await;
    let id = world.dead("m-1", world.a).await;
    world.clock.advance(HOUR * 24 * 100);
    let mut redrive = PgConnection::connect(&factory.database().url()).await.expect("the server");
    let take = "BEGIN; SET search_path = postrider;
        WITH taken AS (DELETE FROM dead RETURNING *) INSERT INTO pending (id, event_id, mapping_id,
            destination_id, accepted_at, deadline_at, token, tried, due_at)
        SELECT id, event_id, mapping_id, destination_id, accepted_at, deadline_at, token, 0, 0 FROM taken;
        UPDATE ledger SET dead = dead - 1, pending = pending + 1 WHERE id = (SELECT min(id) FROM ledger)";
    sqlx::raw_sql(take).execute(&mut redrive).await.expect("taken");
    // Within its transaction the redrive sees the activity of one moment only.
    let mut watch = PgConnection::connect(&factory.database().url()).await.expect("the server");
    let (store, request) = (Arc::clone(&world.store), retention(&world));
    let pruning = tokio::spawn(async move { store.prune(request).await });
    let waits = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'
        AND datname = current_database())";
    while !sqlx::query_scalar::<_, bool>(waits).fetch_one(&mut watch).await.expect("activity") {
        tokio::task::yield_now().await;
    }
    sqlx::raw_sql("COMMIT").execute(&mut redrive).await.expect("redriven");
    assert_eq!(pruning.await.expect("no panic").expect("pruned").events, 0);
    assert_eq!(world.state(id).await, State::Pending);
}

#[tokio::test]
async fn a_day_past_retention_is_dropped_as_a_whole_but_for_what_is_still_named() {
    let factory = PostgresFactory { large_day: 5, ..PostgresFactory::new() };
    let world = World::new(factory.clone()).await;
    // 2026-05-31T23:56:40Z.
    world.clock.advance(HOUR * 24 * 3 + HOUR * 7 / 2);
    world.run_engine_duties().await;
    let mut delivered = Vec::new();
    for number in 0..10 {
        delivered.push(world.accept_leased(&format!("m-{number}"), world.a).await);
    }
    let pending = world.accept_pending("pending", world.b).await;
    let dead = world.dead("dead", world.c).await;
    let both = vec![world.leased(world.a), world.leased(world.b)];
    let (_, partly) = world.accept_all("partly", both).await;
    world.deliver(partly[0], 1).await;
    world.fail(delivered[0], 1, Duration::ZERO).await;
    // Attempts around midnight: the first of a delivery before it, the second after it.
    world.clock.advance(HOUR);
    world.run_engine_duties().await;
    world.claim(world.a, 1).await;
    world.deliver(delivered[0], 2).await;
    for id in &delivered[1..] {
        world.deliver(*id, 1).await;
    }
    world.clock.advance(HOUR * 24 * 29);
    world.run_engine_duties().await;
    let none = world.store.prune(retention(&world)).await.expect("pruned");
    assert_eq!((none.events, none.deliveries), (0, 0));
    world.clock.advance(HOUR * 25);
    world.run_engine_duties().await;
    let pruned = world.store.prune(retention(&world)).await.expect("pruned");
    assert_eq!(pruned, Pruned { events: 10, deliveries: 10, attempts: 11, more: true });
    let day = "SELECT to_regclass('postrider.events_20260531')::text";
    assert_eq!(factory.database().text(day).await, None, "dropped");
    world.check().await;
    assert_eq!(world.state(pending).await, State::Pending);
    assert_eq!(world.state(partly[0]).await, State::Delivered);
    assert_eq!(world.store.attempts_of(dead).await.expect("attempts").len(), 1);
    // What was kept is redriven, delivered and pruned as everything else.
    world.deliver(partly[1], 1).await;
    let pruned = world.store.prune(retention(&world)).await.expect("pruned");
    assert_eq!(pruned.events, 0);
    world.clock.advance(HOUR * 24 * 31);
    let pruned = world.store.prune(retention(&world)).await.expect("pruned");
    assert_eq!((pruned.events, pruned.deliveries, pruned.attempts), (1, 2, 2));
    world.check().await;
}

#[tokio::test]
async fn a_silent_node_is_ended_by_another_and_changes_nothing_any_more() {
    let factory = PostgresFactory::new();
    let world = World::new(factory.clone()).await;
    let id = world.accept_leased("m-1", world.a).await;
    world.clock.advance(Duration::from_secs(29));
    let other = factory.open(Arc::clone(&world.clock)).await;
    let node = other.register_node("two", world.moment()).await.expect("a node");
    let run_duties = async || {
        for duty in Arc::clone(&other).duties() {
            duty.run(world.service_now()).await.expect(duty.name);
        }
    };
    run_duties().await;
    assert!(other.expired_leases(world.service_now(), 10).await.expect("found").is_empty());
    world.clock.advance(Duration::from_secs(2));
    other.heartbeat(node, world.moment()).await.expect("recorded");
    run_duties().await;
    let expired = other.expired_leases(world.service_now(), 10).await.expect("found");
    assert_eq!(
        expired.iter().map(|it| it.delivery_id).collect::<Vec<_>>(),
        [id],
        "before its lease ends"
    );
    // What the ended node still leases is taken over at once.
    let late = world.accept_leased("m-2", world.a).await;
    let expired = other.expired_leases(world.service_now(), 10).await.expect("found");
    assert_eq!(expired.iter().map(|it| it.delivery_id).collect::<Vec<_>>(), [id, late]);
    world.store.heartbeat(world.node, world.moment()).await.expect("asked");
    assert!(world.store.failed().await.contains("another node has ended this one"));
    other.close().await;
}

async fn rotate_slots(store: &Arc<dyn Store>, world: &World) {
    for duty in Arc::clone(store).duties().iter().filter(|it| it.name == "deduplication") {
        duty.run(world.service_now()).await.expect("rotated");
    }
}

async fn accept_on(store: &Arc<dyn Store>, world: &World, message_id: &str) -> Accepted {
    let event = Arc::new(world.event(message_id));
    let new = NewEvent { event, deliveries: Vec::new(), skips: Vec::new() };
    store.accept(vec![new]).await.expect("accepted").swap_remove(0)
}

#[tokio::test]
async fn a_message_is_accepted_once_by_all_nodes_across_rotations() {
    let factory = PostgresFactory::new();
    let world = World::new(factory.clone()).await;
    let (one, two) = (Arc::clone(&world.store), factory.open(Arc::clone(&world.clock)).await);
    let nodes = [&one, &two];
    let is_known = async |node: &Arc<dyn Store>, message_id: &str| {
        accept_on(node, &world, message_id).await == Accepted::Duplicate
    };
    for turn in 0..6 {
        let message_id = format!("m-{turn}");
        assert!(!is_known(nodes[turn % 2], &message_id).await);
        world.clock.advance(HOUR * 2);
        // The node that rotates has the filter of the slot that it closed; the other does not know of it.
        rotate_slots(nodes[turn % 2], &world).await;
        for node in nodes {
            for turn in 0..=turn {
                assert!(is_known(node, &format!("m-{turn}")).await, "{turn}");
            }
        }
    }
    // Filters of slots that were truncated and filled again are dropped.
    world.clock.advance(HOUR * 26);
    rotate_slots(&one, &world).await;
    for message_id in ["m-0", "m-1"] {
        assert!(!is_known(&two, message_id).await, "{message_id} has expired");
        assert!(is_known(&one, message_id).await);
    }
    two.close().await;
}

#[tokio::test]
async fn closed_slots_are_not_looked_at_for_what_their_filters_deny() {
    let factory = PostgresFactory::new();
    let world = World::new(factory.clone()).await;
    assert!(matches!(accept_on(&world.store, &world, "m-1").await, Accepted::Stored { .. }));
    world.clock.advance(HOUR * 2);
    rotate_slots(&world.store, &world).await;
    let Accepted::Stored { event_id, .. } = accept_on(&world.store, &world, "m-2").await else {
        panic!("a new message");
    };
    assert_eq!(accept_on(&world.store, &world, "m-2").await, Accepted::Duplicate);
    // Into the closed slot, which takes no keys: the filter, which was read before, denies it.
    let id = event_id.0;
    let sql = format!("UPDATE postrider.dedup SET slot = 0 WHERE event_id = {id}");
    factory.database().execute(&sql).await.expect("moved");
    assert!(matches!(accept_on(&world.store, &world, "m-2").await, Accepted::Stored { .. }));
    assert_eq!(accept_on(&world.store, &world, "m-1").await, Accepted::Duplicate);
}

#[tokio::test]
async fn a_row_of_the_ledger_takes_a_bounded_number_of_commits() {
    let factory = PostgresFactory::new();
    let world = World::new(factory.clone()).await;
    for number in 0..600 {
        accept_on(&world.store, &world, &format!("m-{number}")).await;
    }
    let rows = "SELECT count(*)::text FROM postrider.ledger WHERE id >= 8192";
    assert_ne!(factory.database().text(rows).await.as_deref(), Some("0"), "a writer began another");
    let before = world.store.ledger().await.expect("the ledger");
    assert_eq!(before.events_accepted, 600);
    world.store.roll_up_statistics(100).await.expect("rolled up");
    let rows = "SELECT string_agg(id::text, ',') FROM postrider.ledger";
    assert_eq!(factory.database().text(rows).await.as_deref(), Some("-1"), "folded");
    assert_eq!(world.store.ledger().await.expect("the ledger"), before);
    accept_on(&world.store, &world, "another").await;
    world.store.roll_up_statistics(100).await.expect("rolled up");
    assert_eq!(world.store.ledger().await.expect("the ledger").events_accepted, 601);
}
