//! Schedules in the node's time, which SQLite stores: they follow the clock's steps.

use std::sync::Arc;
use std::time::Duration;

use postrider::domain::clock::Timestamp;

use super::START;
use super::sqlite::SqliteFactory;
use super::world::World;

#[tokio::test]
async fn schedules_shift_with_the_clock() {
    let world = World::new(SqliteFactory::new()).await;
    let schedule = Arc::clone(&world.store).node_time_schedule().expect("SQLite's");
    let pending = world.accept_pending("m-1", world.a).await;
    let leased = world.accept_leased("m-2", world.a).await;
    let dead = world.dead("m-3", world.a).await;
    let settled = world.delivery(dead).await;
    for micros in [3_600_000_000, -7_200_000_000] {
        let before = (world.delivery(pending).await, world.delivery(leased).await);
        schedule.shift(micros).await.expect("shifted");
        let moved = |at: Option<Timestamp>| at.map(|at| at.shifted(micros));
        let after = (world.delivery(pending).await, world.delivery(leased).await);
        assert_eq!(after.0.due_at, moved(before.0.due_at));
        assert_eq!(after.0.deadline_at, before.0.deadline_at.shifted(micros));
        assert_eq!(after.1.lease_expires_at, moved(before.1.lease_expires_at));
        assert_eq!(after.1.deadline_at, before.1.deadline_at.shifted(micros));
    }
    assert_eq!(world.delivery(dead).await, settled);
    world.check().await;
}

#[tokio::test]
async fn the_newest_heartbeat_survives_a_restart() {
    let mut world = World::new(SqliteFactory::new()).await;
    let newest = async |world: &World| {
        let schedule = Arc::clone(&world.store).node_time_schedule().expect("SQLite's");
        schedule.last_heartbeat_at().await.expect("read")
    };
    assert_eq!(newest(&world).await, Some(START));
    world.clock.advance(Duration::from_secs(9));
    world.store.heartbeat(world.node, world.now()).await.expect("noted");
    world.reopen().await;
    assert_eq!(newest(&world).await, Some(world.now()));
}
