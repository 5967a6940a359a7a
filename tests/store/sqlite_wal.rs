//! SQLite's WAL: truncated by a checkpoint when idle, reset under load.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider::store::sqlite::OpenOptions;
use postrider::store::{DeliveryQuery, NewEvent, PruneRequest};
use sqlx::{Connection as _, Row as _, SqliteConnection};

use super::sqlite::SqliteFactory;
use super::world::World;

#[tokio::test]
async fn an_idle_checkpoint_truncates_the_wal() {
    let factory = SqliteFactory::new();
    let path = factory.path();
    let world = World::new(factory).await;
    for number in 0..50 {
        world.accept_pending(&format!("m-{number}"), world.a).await;
    }
    let log = PathBuf::from(format!("{}-wal", path.display()));
    assert!(std::fs::metadata(&log).expect("the log").len() > 0);
    // Alone: the rotation of de-duplication tables, which is another duty, writes.
    for duty in Arc::clone(&world.store).duties().into_iter().filter(|it| it.name == "tidy") {
        duty.run(world.service_now()).await.expect(duty.name);
    }
    assert_eq!(std::fs::metadata(&log).expect("the log").len(), 0);
    world.check().await;
}

#[tokio::test]
async fn the_wal_is_reset_under_load() {
    let factory = SqliteFactory::with(|it| OpenOptions { checkpoint_pages: 32, ..it });
    let path = factory.path();
    let world = World::new(factory).await;
    let log = PathBuf::from(format!("{}-wal", path.display()));
    let (mut longest, mut sum) = (0, 0);
    while sum < 32 << 20 {
        let mut event = world.event(&format!("m-{sum}"));
        event.body = Bytes::from(vec![b' '; 1 << 16]);
        sum += event.body.len();
        let event = Arc::new(event);
        let new = NewEvent { event, deliveries: Vec::new(), skips: Vec::new() };
        world.store.accept(vec![new]).await.expect("accepted");
        longest = longest.max(std::fs::metadata(&log).expect("the log").len());
    }
    assert!(longest < 8 << 20, "{longest}");
    world.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wal_is_reset_while_ten_clients_list_without_a_pause() {
    const CHECKPOINT_PAGES: i64 = 128;
    // Many times the size at which the WAL is to be reset.
    const MOST: usize = 40 * 4 * 128 * 8_192;
    let factory =
        SqliteFactory::with(|it| OpenOptions { checkpoint_pages: CHECKPOINT_PAGES, ..it });
    let path = factory.path();
    let world = World::new(factory).await;
    for number in 0..500 {
        world.accept_pending(&format!("listed-{number}"), world.a).await;
    }
    let stopping = tokio_util::sync::CancellationToken::new();
    let clients: Vec<_> = (0..10)
        .map(|_| {
            let (store, stopping) = (Arc::clone(&world.store), stopping.clone());
            tokio::spawn(async move {
                let mut pages = 0;
                while !stopping.is_cancelled() {
                    let query = DeliveryQuery { limit: 100, ..DeliveryQuery::default() };
                    let page = store.deliveries(query).await.expect("read");
                    pages += u64::from(!page.rows.is_empty());
                }
                pages
            })
        })
        .collect();
    let place = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let mut outside = SqliteConnection::connect_with(&place).await.expect("open");
    let (mut resets, mut frames, mut sum) = (0, 0, 0);
    while resets < 3 {
        assert!(sum < MOST, "{resets} resets, {frames} frames in the WAL");
        let mut event = world.event(&format!("m-{sum}"));
        event.body = Bytes::from(vec![b' '; 1 << 16]);
        sum += event.body.len();
        let new = NewEvent { event: Arc::new(event), deliveries: Vec::new(), skips: Vec::new() };
        world.store.accept(vec![new]).await.expect("accepted");
        let noop = sqlx::query("PRAGMA wal_checkpoint(NOOP)");
        let found: i64 = noop.fetch_one(&mut outside).await.expect("told").get(1);
        resets += u32::from(found < frames);
        frames = found;
    }
    stopping.cancel();
    for client in clients {
        assert!(client.await.expect("ended") > 0, "it goes on listing");
    }
    outside.close().await.expect("closed");
    world.check().await;
}

#[tokio::test]
async fn free_pages_go_back_to_the_file_system_until_few_are_left() {
    let factory = SqliteFactory::new();
    let path = factory.path();
    let world = World::new(factory).await;
    for number in 0..500 {
        let mut event = world.event(&format!("m-{number}"));
        event.body = Bytes::from(vec![b' '; 1 << 16]);
        let new = NewEvent { event: Arc::new(event), deliveries: Vec::new(), skips: Vec::new() };
        world.store.accept(vec![new]).await.expect("accepted");
    }
    let run = async |name: &str| {
        for duty in Arc::clone(&world.store).duties().into_iter().filter(|it| it.name == name) {
            duty.run(world.service_now()).await.expect(duty.name);
        }
    };
    let length = || std::fs::metadata(&path).expect("the database").len();
    // The first run after many writes leaves the WAL to the load.
    run("tidy").await;
    run("tidy").await;
    let full = length();
    assert!(full > 30 << 20, "{full}");
    run("vacuum").await;
    run("tidy").await;
    assert_eq!(length(), full, "nothing is free");
    world.clock.advance(Duration::from_secs(40 * 24 * 3_600));
    let before = world.service_now() - Duration::from_secs(1);
    let request = PruneRequest { settled_before: before, dead_before: before, limit: 64 };
    while world.store.prune(request).await.expect("pruned").more {}
    run("vacuum").await;
    run("tidy").await;
    run("tidy").await;
    let kept = length();
    assert!((7 << 20..12 << 20).contains(&kept), "{kept}: a few are kept for the next events");
    world.check().await;
}

#[tokio::test]
async fn a_wal_reset_blocked_by_a_reader_follows_soon_after() {
    const CHECKPOINT_PAGES: i64 = 4_096;
    const LOG: usize = 8_192 * 4_096;
    let factory =
        SqliteFactory::with(|it| OpenOptions { checkpoint_pages: CHECKPOINT_PAGES, ..it });
    let path = factory.path();
    let world = World::new(factory).await;
    let place = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let connect = || SqliteConnection::connect_with(&place);
    let (mut outside, mut reader) =
        (connect().await.expect("open"), connect().await.expect("open"));
    let mut number = 0;
    let mut write = async || {
        number += 1;
        let mut event = world.event(&format!("m-{number}"));
        event.body = Bytes::from(vec![b' '; 1 << 16]);
        let new = NewEvent { event: Arc::new(event), deliveries: Vec::new(), skips: Vec::new() };
        world.store.accept(vec![new]).await.expect("accepted");
        let noop = sqlx::query("PRAGMA wal_checkpoint(NOOP)");
        let frames = noop.fetch_one(&mut outside).await.expect("told");
        (frames.get::<i64, _>(1), frames.get::<i64, _>(2))
    };
    while write().await.0 < CHECKPOINT_PAGES * 7 / 8 {}
    let read = "BEGIN; SELECT count(*) FROM events";
    sqlx::raw_sql(read).execute(&mut reader).await.expect("read");
    while write().await.1 == 0 {}
    // What is done beside the writer has ended by then, as far as the reader lets it come.
    for _ in 0..LOG / (4 << 16) {
        write().await;
    }
    sqlx::raw_sql("COMMIT").execute(&mut reader).await.expect("ended");
    let mut written = 0;
    while write().await.1 > 0 {
        written += 1 << 16;
        assert!(written < LOG / 4, "it waits for another whole log");
    }
    reader.close().await.expect("closed");
    outside.close().await.expect("closed");
    world.check().await;
}
