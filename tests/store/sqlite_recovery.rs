//! SQLite under failure: crashes, a full disk, a full write queue.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use postrider::domain::clock::{Clock as _, ManualClock};
use postrider::store::sqlite::{OpenOptions, SqliteStore};
use postrider::store::{
    Capacity as _, ConsistencyCheck as _, Engine as _, History as _, Maintenance as _, NewEvent,
    Recorded, Statistics as _, StoreError,
};

use super::START;
use super::sqlite::{SqliteFactory, open, options};
use super::world::World;

#[tokio::test]
async fn a_crash_keeps_what_was_acknowledged() {
    let factory = SqliteFactory::new();
    let factory_path = factory.path();
    let world = World::new(factory).await;
    let leased = world.accept_leased("m-1", world.a).await;
    let delivered = world.accept_leased("m-2", world.a).await;
    world.deliver(delivered, 1).await;
    // What a power loss leaves behind: the files as they are now, the WAL not checkpointed.
    let copy = tempfile::tempdir().expect("a directory");
    let path = copy.path().join("postrider.db");
    copy_files(&factory_path, &path);
    let store = open(&path).await.expect("recovered");
    assert_eq!(
        store.ledger().await.expect("the ledger"),
        world.store.ledger().await.expect("the ledger")
    );
    let row = store.delivery(leased).await.expect("read").expect("the delivery");
    assert_eq!(row.delivery, world.delivery(leased).await);
    assert_eq!(store.attempts_of(delivered).await.expect("attempts").len(), 1);
    for finding in store.check_consistency(super::STARTED).await.expect("examined") {
        assert!(finding.ok, "{finding:?}");
    }
    store.close().await;
}

fn copy_files(from: &Path, to: &Path) {
    for end in ["", "-wal"] {
        let name = |path: &Path| PathBuf::from(format!("{}{end}", path.display()));
        std::fs::copy(name(from), name(to)).expect("copied");
    }
}

#[tokio::test]
async fn a_full_disk_refuses_events_and_recovers() {
    let factory = SqliteFactory::with(|it| OpenOptions { max_pages: Some(200), ..it });
    let path = factory.path();
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
            Ok(answers) => accepted.extend(answers),
            Err(error) => break error,
        }
        assert!(accepted.len() < 1_000, "the disk does not fill");
    };
    assert!(matches!(full, StoreError::Full), "{full}");
    assert!(accepted.len() > 10);
    let ledger = world.store.ledger().await.expect("the ledger");
    assert_eq!(ledger.accepted, accepted.len() as u64);
    // Small steps go on beside a refused one, and memory agrees with the file.
    world.check().await;
    let mut big = world.event("big");
    big.body = bytes::Bytes::from(vec![b'x'; 100_000]);
    let new = NewEvent { event: Arc::new(big), deliveries: Vec::new(), skips: Vec::new() };
    let (refused, released) = futures_util::future::join(
        world.store.accept(vec![new]),
        world.store.heartbeat(world.node, world.moment()),
    )
    .await;
    assert!(matches!(refused, Err(StoreError::Full)));
    released.expect("a heartbeat");
    // With space again everything is as it was, and goes on.
    world.store.close().await;
    let store = open(&path).await.expect("a store");
    assert_eq!(store.ledger().await.expect("the ledger"), ledger);
    world.store = Arc::new(store);
    assert_eq!(world.deliver(postrider::domain::id::DeliveryId(1), 1).await, Recorded::Applied);
    world.accept_pending("after", world.a).await;
    world.check().await;
}

#[tokio::test]
async fn below_the_disk_floor_there_is_no_capacity() {
    let factory = SqliteFactory::new();
    let clock = Arc::new(ManualClock::new(START));
    let options = OpenOptions {
        min_free_disk_bytes: u64::MAX,
        ..options(&factory.path(), Arc::clone(&clock))
    };
    let store = SqliteStore::open(options).await.expect("a store");
    assert!(!store.has_room());
    let node = store.register_node("one", clock.moment()).await.expect("others go on");
    store.heartbeat(node, clock.moment()).await.expect("others go on");
    store.close().await;
    let world = World::new(factory).await;
    assert!(world.store.has_room());
}

#[tokio::test]
async fn a_full_write_queue_refuses_events() {
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
    assert_eq!(world.store.ledger().await.expect("the ledger").events_accepted, taken.len() as u64);
    // The queue space was released.
    world.accept("again", Vec::new()).await;
}
