//! The write queue is shared fairly by source.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use postrider::store::sqlite::OpenOptions;
use postrider::store::{NewEvent, StoreError};

use super::sqlite::SqliteFactory;
use super::world::World;

/// A request of so many events of the source `web`, or of `app`.
fn request(world: &World, is_web: bool, name: &str, events: usize) -> Vec<NewEvent> {
    let of = |number| {
        let mut event = world.event(&format!("{name}-{number}"));
        if !is_web {
            event.source_id = world.app;
        }
        NewEvent { event: Arc::new(event), deliveries: Vec::new(), skips: Vec::new() }
    };
    (0..events).map(of).collect()
}

#[tokio::test]
async fn a_calm_source_is_committed_before_the_backlog_of_a_loud_one() {
    let world = World::new(SqliteFactory::new()).await;
    let committed = AtomicUsize::new(0);
    let loud = (0..90).map(|number| {
        let events = request(&world, true, &format!("loud-{number}"), 500);
        let (store, committed) = (&world.store, &committed);
        async move {
            store.accept(events).await.expect("within its share");
            committed.fetch_add(1, Ordering::Relaxed);
        }
    });
    let calm = async {
        world.store.accept(request(&world, false, "calm", 1)).await.expect("its share is free");
        committed.load(Ordering::Relaxed)
    };
    // All of the loud source's requests are queued first.
    let (_, ahead) = tokio::join!(futures_util::future::join_all(loud), calm);
    assert!(ahead < 60, "{ahead} of 90 requests of the loud source were committed before");
    world.check().await;
}

#[tokio::test]
async fn a_loud_source_fills_its_share_of_the_write_queue_and_a_calm_one_gets_in() {
    let few = SqliteFactory::with(|it| OpenOptions { max_queued_events: 100, ..it });
    let world = World::new(few).await;
    let loud = (0..200)
        .map(|number| world.store.accept(request(&world, true, &format!("loud-{number}"), 1)));
    let calm = world.store.accept(request(&world, false, "calm", 5));
    let (loud, calm) = tokio::join!(futures_util::future::join_all(loud), calm);
    assert!(loud.iter().any(|it| matches!(it, Err(StoreError::Overloaded))), "it is full");
    calm.expect("there is room for another source");
}
