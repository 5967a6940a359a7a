//! SQLite's log: emptied when there is little to do, begun anew while there is much.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use postrider::store::NewEvent;
use postrider::store::sqlite::OpenOptions;
use sqlx::{Connection as _, Row as _, SqliteConnection};

use super::sqlite::SqliteFactory;
use super::world::World;

#[tokio::test]
async fn tidying_empties_the_log() {
    let world = World::new(SqliteFactory::new()).await;
    for number in 0..50 {
        world.accept_pending(&format!("m-{number}"), world.a).await;
    }
    let log = PathBuf::from(format!("{}-wal", world.place().display()));
    assert!(std::fs::metadata(&log).expect("the log").len() > 0);
    world.store.tidy().await.expect("tidied");
    assert_eq!(std::fs::metadata(&log).expect("the log").len(), 0);
    world.check().await;
}

#[tokio::test]
async fn the_log_begins_anew_while_events_go_on_coming_in() {
    let factory = SqliteFactory::with(|it| OpenOptions { log_pages: 32, ..it });
    let world = World::new(factory).await;
    let log = PathBuf::from(format!("{}-wal", world.place().display()));
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
async fn a_log_that_a_reader_kept_from_beginning_anew_does_so_soon_after() {
    const LOG_PAGES: i64 = 4_096;
    const LOG: usize = 8_192 * 4_096;
    let factory = SqliteFactory::with(|it| OpenOptions { log_pages: LOG_PAGES, ..it });
    let world = World::new(factory).await;
    let place = sqlx::sqlite::SqliteConnectOptions::new().filename(world.place());
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
    while write().await.0 < LOG_PAGES * 7 / 8 {}
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
