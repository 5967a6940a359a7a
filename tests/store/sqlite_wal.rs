//! SQLite's WAL: truncated by a checkpoint when idle, reset under load.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use postrider::store::NewEvent;
use postrider::store::sqlite::OpenOptions;
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
