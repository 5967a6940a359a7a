//! What the store on SQLite promises beyond the others: its file, its lock, crashes, a full disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use postrider::domain::clock::{Clock, ManualClock};
use postrider::domain::event::Event;
use postrider::domain::id::DeliveryId;
use postrider::store::sqlite::{OpenError, OpenOptions, ScanLimits, SqliteStore, schema_version};
use postrider::store::{
    DeliveryQuery, EventConditions, EventQuery, NewEvent, Recorded, Store, StoreError,
};
use postrider::telemetry::metrics::Metrics;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use super::world::World;
use super::{START, StoreFactory};

/// Stores in a directory of their own.
pub(crate) struct SqliteFactory {
    directory: tempfile::TempDir,
    options: fn(OpenOptions) -> OpenOptions,
}

impl SqliteFactory {
    pub(crate) fn new() -> Self {
        Self::with(|options| options)
    }

    /// Whose options are those of others but for some.
    pub(super) fn with(options: fn(OpenOptions) -> OpenOptions) -> Self {
        Self { directory: tempfile::tempdir().expect("a directory"), options }
    }

    /// Whose lists look at few rows at once.
    pub(super) fn short_sighted() -> Self {
        Self::with(|it| OpenOptions { scan_limits: ScanLimits { deliveries: 10, events: 4 }, ..it })
    }
}

/// Few enough that a test can let them be merged several times.
const GATHERED_KEYS: usize = 16_384;

fn options(path: &Path, clock: Arc<ManualClock>) -> OpenOptions {
    OpenOptions::new(path, Arc::new(Metrics::new()), clock)
}

#[async_trait]
impl StoreFactory for SqliteFactory {
    async fn open(&self, clock: Arc<ManualClock>) -> Arc<dyn Store> {
        let options = OpenOptions { gathered_keys: GATHERED_KEYS, ..options(&self.place(), clock) };
        Arc::new(SqliteStore::open((self.options)(options)).await.expect("a store"))
    }

    fn place(&self) -> PathBuf {
        self.directory.path().join("postrider.db")
    }
}

async fn open(path: &Path) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(options(path, Arc::new(ManualClock::new(START)))).await
}

/// Changes the file behind the store's back.
pub(crate) async fn execute(path: &Path, sql: &str) -> Result<(), sqlx::Error> {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut conn = SqliteConnection::connect_with(&options).await?;
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut conn).await;
    conn.close().await?;
    done.map(|_| ())
}

async fn new_database(path: &Path) {
    open(path).await.expect("a store").close().await;
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let error = open(&directory.path().join("no/such.db")).await.expect_err("refused");
    assert!(matches!(error, OpenError::NoDirectory { .. }), "{error}");
    assert!(!error.hint().is_empty());
}

#[tokio::test]
async fn another_file_is_not_a_database() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("notes.txt");
    for text in ["short", "a text that is longer than the head of a database file"] {
        std::fs::write(&path, text).expect("written");
        let error = open(&path).await.expect_err("refused");
        assert!(matches!(error, OpenError::NotADatabase { .. }), "{error}");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), text);
    }
}

#[tokio::test]
async fn a_damaged_head_is_not_a_database() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("postrider.db");
    let mut bytes = b"SQLite format 3\0".to_vec();
    bytes.extend([0xFF; 5_000]);
    std::fs::write(&path, &bytes).expect("written");
    let error = open(&path).await.expect_err("refused");
    assert!(matches!(error, OpenError::NotADatabase { .. }), "{error:?}");
    assert_eq!(std::fs::read(&path).expect("read"), bytes);
}

#[tokio::test]
async fn another_programs_database_is_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("theirs.db");
    std::fs::write(&path, []).expect("written");
    execute(&path, "CREATE TABLE t (a); INSERT INTO t VALUES (1)").await.expect("made");
    let before = std::fs::read(&path).expect("read");
    let error = open(&path).await.expect_err("refused");
    assert!(matches!(error, OpenError::NotOurs { .. }), "{error}");
    assert_eq!(std::fs::read(&path).expect("read"), before);
}

#[tokio::test]
async fn a_newer_database_is_refused_and_unchanged() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("postrider.db");
    new_database(&path).await;
    let newer = schema_version() + 7;
    let sql = format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES ({newer}, 'later', 1, x'00', 0)"
    );
    execute(&path, &sql).await.expect("changed");
    let before = std::fs::read(&path).expect("read");
    let error = open(&path).await.expect_err("refused");
    let OpenError::Newer { file, program, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!((*file, *program), (newer, schema_version()));
    assert_eq!(std::fs::read(&path).expect("read"), before);
    // The lock is free again.
    assert!(matches!(open(&path).await, Err(OpenError::Newer { .. })));
}

#[tokio::test]
async fn one_process_at_a_time() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("postrider.db");
    let first = open(&path).await.expect("a store");
    let error = open(&path).await.expect_err("refused");
    let OpenError::InUse { holder, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(*holder, format!("process {}", std::process::id()));
    first.close().await;
    open(&path).await.expect("free again").close().await;
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_reads_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("postrider.db");
    let store = open(&path).await.expect("a store");
    store.register_node("one", START).await.expect("a node");
    for name in ["postrider.db", "postrider.db-wal", "postrider.db-shm"] {
        let found = std::fs::metadata(directory.path().join(name)).expect("the file");
        assert_eq!(found.permissions().mode() & 0o777, 0o600, "{name}");
    }
    store.close().await;
    let log = std::fs::metadata(directory.path().join("postrider.db-wal"));
    assert!(log.is_err(), "the file alone holds everything");
}

#[tokio::test]
async fn a_crash_keeps_what_was_acknowledged() {
    let world = World::new(SqliteFactory::new()).await;
    let leased = world.accept_leased("m-1", world.a).await;
    let delivered = world.accept_leased("m-2", world.a).await;
    world.deliver(delivered, 1).await;
    // What a power loss leaves behind: the files as they are now, the log not brought in.
    let copy = tempfile::tempdir().expect("a directory");
    let path = copy.path().join("postrider.db");
    copy_files(&world, &path);
    let store = open(&path).await.expect("recovered");
    assert_eq!(store.ledger(), world.store.ledger());
    let row = store.delivery(leased).await.expect("read").expect("the delivery");
    assert_eq!(row.delivery, world.delivery(leased).await);
    assert_eq!(store.attempts(delivered).await.expect("attempts").len(), 1);
    for finding in store.examine(START).await.expect("examined") {
        assert!(finding.ok, "{finding:?}");
    }
    store.close().await;
}

fn copy_files(world: &World, to: &Path) {
    let from = world.place();
    for end in ["", "-wal"] {
        let name = |path: &Path| PathBuf::from(format!("{}{end}", path.display()));
        std::fs::copy(name(&from), name(to)).expect("copied");
    }
}

#[tokio::test]
async fn a_full_disk_refuses_events_and_recovers() {
    let factory = SqliteFactory::with(|it| OpenOptions { max_pages: Some(200), ..it });
    let mut world = World::new(factory).await;
    let mut accepted = Vec::new();
    let full = loop {
        let mut event = world.event(&format!("m-{}", accepted.len()));
        event.body = bytes::Bytes::from(vec![b'x'; 8_000]);
        let new = NewEvent {
            event: Arc::new(event),
            deliveries: vec![world.leased(world.a)],
            skips: Vec::new(),
        };
        match world.store.accept(vec![new]).await {
            Ok(answers) => accepted.push(answers[0]),
            Err(error) => break error,
        }
        assert!(accepted.len() < 1_000, "the disk does not fill");
    };
    assert!(matches!(full, StoreError::Full), "{full}");
    assert!(accepted.len() > 10);
    let ledger = world.store.ledger();
    assert_eq!(ledger.accepted, accepted.len() as u64);
    // Small steps go on beside a refused one, and memory agrees with the file.
    world.check().await;
    let mut big = world.event("big");
    big.body = bytes::Bytes::from(vec![b'x'; 100_000]);
    let new = NewEvent { event: Arc::new(big), deliveries: Vec::new(), skips: Vec::new() };
    let (refused, released) = futures_util::future::join(
        world.store.accept(vec![new]),
        world.store.heartbeat(world.node, world.now()),
    )
    .await;
    assert!(matches!(refused, Err(StoreError::Full)));
    released.expect("a heartbeat");
    // With space again everything is as it was, and goes on.
    world.store.close().await;
    let store = open(&world.place()).await.expect("a store");
    assert_eq!(store.ledger(), ledger);
    world.store = Arc::new(store);
    assert_eq!(world.deliver(postrider::domain::id::DeliveryId(1), 1).await, Recorded::Applied);
    world.accept_pending("after", world.a).await;
    world.check().await;
}

#[tokio::test]
async fn below_the_floor_there_is_no_room() {
    let factory = SqliteFactory::new();
    let clock = Arc::new(ManualClock::new(START));
    let options = OpenOptions {
        min_free_disk_bytes: u64::MAX,
        ..options(&factory.place(), Arc::clone(&clock))
    };
    let store = SqliteStore::open(options).await.expect("a store");
    assert!(!store.has_room());
    let node = store.register_node("one", clock.now()).await.expect("others go on");
    store.heartbeat(node, clock.now()).await.expect("others go on");
    store.close().await;
    let world = World::new(factory).await;
    assert!(world.store.has_room());
}

#[tokio::test]
async fn too_much_in_the_queue_is_refused() {
    let few = SqliteFactory::with(|it| OpenOptions { max_queued_events: 10, ..it });
    let world = World::new(few).await;
    let accepts = (0..100).map(|number| {
        let event = Arc::new(world.event(&format!("m-{number}")));
        world.store.accept(vec![NewEvent { event, deliveries: Vec::new(), skips: Vec::new() }])
    });
    let answers = futures_util::future::join_all(accepts).await;
    let (taken, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert!(!taken.is_empty() && !refused.is_empty());
    assert!(refused.iter().all(|one| matches!(one, Err(StoreError::Overloaded))));
    assert_eq!(world.store.ledger().events_accepted, taken.len() as u64);
    // The room was given back.
    world.accept("again", Vec::new()).await;
}

#[tokio::test]
async fn contradictions_are_refused_by_the_schema() {
    let mut world = World::new(SqliteFactory::new()).await;
    let dead = world.dead("m-1", world.a).await.0;
    world.accept_pending("m-2", world.a).await;
    world.store.close().await;
    let path = world.place();
    let refused = [
        format!("UPDATE deliveries SET due_at = 1 WHERE id = {dead}"),
        format!("UPDATE deliveries SET reason = NULL WHERE id = {dead}"),
        format!("UPDATE deliveries SET reason = 'bored' WHERE id = {dead}"),
        format!("UPDATE deliveries SET settled_at = NULL WHERE id = {dead}"),
        format!("UPDATE deliveries SET state = 'pending' WHERE id = {dead}"),
        format!("UPDATE deliveries SET state = 'lost' WHERE id = {dead}"),
        "UPDATE deliveries SET due_at = NULL WHERE state = 'pending'".to_owned(),
        "UPDATE deliveries SET lease_node_id = 1 WHERE state = 'pending'".to_owned(),
        "UPDATE deliveries SET token = 'one'".to_owned(),
        "UPDATE events SET type = NULL".to_owned(),
        "UPDATE events SET rejection = 'no'".to_owned(),
        "UPDATE attempts SET status = 200".to_owned(),
        "UPDATE mapping_revisions SET number = 5".to_owned(),
        "UPDATE ledger SET pending = pending + 1".to_owned(),
        "UPDATE destinations SET settings = '{}'".to_owned(),
        "INSERT INTO dedup_0 VALUES (x'00', 1)".to_owned(),
        "INSERT INTO dedup_log VALUES (1, x'00')".to_owned(),
    ];
    for sql in &refused {
        assert!(execute(&path, sql).await.is_err(), "{sql}");
    }
    world.reopen().await;
    world.check().await;
}

#[tokio::test]
async fn an_unknown_word_is_foreign_not_a_guess() {
    let mut world = World::new(SqliteFactory::new()).await;
    let id = world.dead("m-1", world.a).await;
    world.store.close().await;
    execute(&world.place(), "UPDATE deliveries SET last_outcome = 'later'").await.expect("changed");
    world.reopen().await;
    let error = world.store.delivery(id).await.expect_err("refused");
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
}

#[tokio::test]
async fn headers_that_nobody_packs_so_are_foreign_not_a_guess() {
    let mut world = World::new(SqliteFactory::new()).await;
    let id = world.dead("m-1", world.a).await;
    assert_eq!(world.store.attempts(id).await.expect("read").len(), 1);
    world.store.close().await;
    for sql in [
        "DROP TRIGGER attempts_are_append_only",
        "UPDATE attempts SET response_headers = substr(response_headers, 1, 3)",
    ] {
        execute(&world.place(), sql).await.expect("changed");
    }
    world.reopen().await;
    let error = world.store.attempts(id).await.expect_err("refused");
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
}

#[tokio::test]
async fn examination_finds_what_is_wrong() {
    let mut world = World::new(SqliteFactory::new()).await;
    world.dead("m-1", world.a).await;
    world.accept_pending("m-2", world.a).await;
    world.store.close().await;
    let harm = "UPDATE ledger SET accepted = accepted + 1, pending = pending + 1;
                DELETE FROM events WHERE id = 2;
                DROP TRIGGER attempts_are_append_only;
                UPDATE attempts SET response_headers = substr(response_headers, 1, 3)";
    execute(&world.place(), harm).await.expect("harmed");
    world.reopen().await;
    let findings = world.store.examine(world.now()).await.expect("examined");
    let wrong: Vec<_> =
        findings.iter().filter(|finding| !finding.ok).map(|finding| finding.check).collect();
    assert_eq!(wrong, ["ledger", "orphans", "headers"], "{findings:?}");
    world.store.close().await;
}

#[tokio::test]
async fn a_look_goes_over_a_bounded_number_of_rows_and_says_how_far_it_came() {
    let world = World::new(SqliteFactory::short_sighted()).await;
    let wanted = Event { user_id: Some("wanted".to_owned()), ..world.event("wanted") };
    world.accept_one(wanted, vec![world.pending(world.b)]).await;
    let first = DeliveryId(1);
    for number in 0..35 {
        world.clock.advance(std::time::Duration::from_secs(1));
        world.accept_pending(&format!("other-{number}"), world.a).await;
    }
    let by_mapping =
        DeliveryQuery { mapping_id: Some(world.b.mapping_id), ..DeliveryQuery::default() };
    let like = EventConditions { user_id: Some("wanted".to_owned()), ..EventConditions::default() };
    let by_event = DeliveryQuery { event: like.clone(), ..DeliveryQuery::default() };
    for (query, looks) in [(by_mapping, 4), (by_event, 9)] {
        let mut query = DeliveryQuery { limit: 5, ..query };
        for look in 1..=looks {
            let listed = world.store.deliveries(query.clone()).await.expect("listed");
            let found: Vec<_> = listed.rows.iter().map(|row| row.delivery.id).collect();
            if look == looks {
                assert_eq!((found, listed.looked_to), (vec![first], None), "the end is told");
                break;
            }
            assert_eq!(found, [], "look {look}");
            let (key, at) = listed.looked_to.expect("there is more");
            let row = world.delivery(DeliveryId(key)).await;
            assert_eq!(row.accepted_at, at);
            query.before = Some(DeliveryId(key));
        }
    }
    let query = EventQuery { event: like, limit: 5, ..EventQuery::default() };
    let listed = world.store.events(query).await.expect("listed");
    assert_eq!((listed.rows.len(), listed.looked_to.map(|(key, _)| key)), (0, Some(33)));
    let full = DeliveryQuery { limit: 3, ..DeliveryQuery::default() };
    let listed = world.store.deliveries(full).await.expect("listed");
    assert_eq!((listed.rows.len(), listed.looked_to), (3, None), "as many as were asked for");
}

#[tokio::test]
async fn a_range_of_times_is_looked_at_where_it_lies() {
    let world = World::new(SqliteFactory::short_sighted()).await;
    let mut times = Vec::new();
    for number in 0..60 {
        world.clock.advance(std::time::Duration::from_secs(300));
        times.push((world.now(), world.accept_pending(&format!("m-{number}"), world.a).await));
    }
    let query = DeliveryQuery {
        accepted_from: Some(times[20].0),
        accepted_until: Some(times[23].0),
        limit: 10,
        ..DeliveryQuery::default()
    };
    let listed = world.store.deliveries(query).await.expect("listed");
    let found: Vec<_> = listed.rows.iter().map(|row| row.delivery.id).collect();
    assert_eq!(found, [times[22].1, times[21].1, times[20].1], "far down, in one look");
    assert_eq!(listed.looked_to, None, "and no further");
}
