//! Service time in SQLite: it continues over a restart, and retention does not believe a step of the clock.

use std::time::Duration;

use postrider::domain::clock::Clock as _;
use postrider::store::PruneRequest;

use super::START_MOMENT;
use super::sqlite::SqliteFactory;
use super::world::World;

const DAY: Duration = Duration::from_secs(24 * 3_600);
const DAY_MICROS: i64 = 24 * 3_600 * 1_000_000;

#[tokio::test]
async fn the_last_moment_survives_a_restart() {
    let mut world = World::new(SqliteFactory::new()).await;
    assert_eq!(world.store.last_moment().await.expect("read"), Some(START_MOMENT));
    world.clock.advance(Duration::from_secs(9));
    world.step_clock(-3 * DAY_MICROS).await;
    world.reopen().await;
    let last = world.store.last_moment().await.expect("read").expect("a moment");
    assert_eq!(last, world.moment());
    assert_eq!(last.offset(), -3 * DAY_MICROS);
}

/// How many of the events retention of 30 days removes.
async fn pruned(world: &World) -> u64 {
    let before = world.service_now() - 30 * DAY;
    let request = PruneRequest { settled_before: before, dead_before: before, limit: 100 };
    let mut events = 0;
    loop {
        let pruned = world.store.prune(request).await.expect("pruned");
        events += pruned.events;
        if !pruned.more {
            world.check().await;
            return events;
        }
    }
}

#[tokio::test]
async fn retention_does_not_believe_a_step_of_the_clock() {
    let world = World::new(SqliteFactory::new()).await;
    world.accept("old", Vec::new()).await;
    world.step_clock(400 * DAY_MICROS).await;
    assert_eq!(pruned(&world).await, 0, "it is as young as before");
    world.clock.advance(10 * DAY);
    world.accept("stamped ahead", Vec::new()).await;
    world.step_clock(-500 * DAY_MICROS).await;
    world.accept("stamped behind", Vec::new()).await;
    world.clock.advance(10 * DAY);
    assert_eq!(pruned(&world).await, 0, "none is 30 days old");
    world.clock.advance(11 * DAY);
    assert_eq!(pruned(&world).await, 0, "what the clock stamped since may be as young");
    world.clock.advance(10 * DAY);
    assert_eq!(pruned(&world).await, 1, "the one of the last time");
    assert_eq!(pruned(&world).await, 0);
}

#[tokio::test]
async fn steps_beyond_the_most_are_merged_and_nothing_is_removed_early() {
    let world = World::new(SqliteFactory::new()).await;
    world.step_clock(5 * DAY_MICROS).await;
    world.accept("young", Vec::new()).await;
    for _ in 0..600 {
        world.clock.advance(Duration::from_secs(1));
        world.step_clock(DAY_MICROS).await;
        world.clock.advance(Duration::from_secs(1));
        world.step_clock(-DAY_MICROS).await;
    }
    world.clock.advance(29 * DAY);
    assert_eq!(pruned(&world).await, 0);
    world.clock.advance(2 * DAY);
    assert_eq!(pruned(&world).await, 1);
}
