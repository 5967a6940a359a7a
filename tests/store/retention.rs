//! Retention: what is past it goes as a whole, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use postrider::domain::delivery::{Reason, State};
use postrider::store::{Accepted, EventQuery, NewEvent, PruneRequest, Pruned, Skip};

use super::world::World;

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// 30 days for what is settled, 90 for the dead.
fn request(world: &World, limit: u32) -> PruneRequest {
    let now = world.service_now();
    PruneRequest { settled_before: now - 30 * DAY, dead_before: now - 90 * DAY, limit }
}

async fn prune(world: &World) -> Pruned {
    let pruned = world.store.prune(request(world, 100)).await.expect("pruned");
    world.check().await;
    pruned
}

async fn events(world: &World) -> usize {
    let query = EventQuery { limit: 1_000, ..EventQuery::default() };
    world.store.events(query).await.expect("listed").rows.len()
}

pub(crate) async fn settled_events_are_pruned_after_their_retention(world: World) {
    let new = NewEvent {
        event: Arc::new(world.event("m-1")),
        deliveries: vec![world.leased(world.a), world.leased(world.c)],
        skips: vec![Skip { destination_id: world.a.destination_id }],
    };
    let answers = world.store.accept(vec![new]).await.expect("accepted");
    let Accepted::Stored { delivery_ids, .. } = &answers[0] else { panic!("a duplicate") };
    let ids: Vec<_> = delivery_ids.iter().collect();
    world.fail(ids[0], 1, Duration::ZERO).await;
    world.claim(world.a, 1).await;
    world.deliver(ids[0], 2).await;
    world.deliver(ids[1], 1).await;
    world.clock.advance(30 * DAY);
    assert_eq!(prune(&world).await, Pruned::default());
    world.clock.advance(Duration::from_secs(1));
    let all = Pruned { events: 1, deliveries: 2, attempts: 3, more: false };
    assert_eq!(prune(&world).await, all);
    assert_eq!(events(&world).await, 0);
    assert!(world.store.attempts_of(ids[0]).await.expect("attempts").is_empty());
    let ledger = world.store.ledger().await.expect("the ledger");
    assert_eq!((ledger.accepted, ledger.delivered, ledger.delivered_pruned), (2, 2, 2));
}

pub(crate) async fn pending_and_leased_deliveries_are_never_pruned(world: World) {
    world.accept_pending("m-1", world.a).await;
    world.accept_leased("m-2", world.a).await;
    world.clock.advance(1_000 * DAY);
    assert_eq!(prune(&world).await, Pruned::default());
    assert_eq!(events(&world).await, 2);
}

pub(crate) async fn dead_letters_have_their_own_retention(world: World) {
    world.dead("m-1", world.a).await;
    world.clock.advance(60 * DAY);
    assert_eq!(prune(&world).await.events, 0);
    world.clock.advance(31 * DAY);
    assert_eq!(prune(&world).await.events, 1);
    assert_eq!(world.store.ledger().await.expect("the ledger").dead_pruned, 1);
}

pub(crate) async fn an_event_is_kept_while_one_delivery_is_within_retention(world: World) {
    let both = vec![world.leased(world.a), world.leased(world.b)];
    let (_, ids) = world.accept_all("m-1", both).await;
    let (first, second) = (ids[0], ids[1]);
    world.deliver(first, 1).await;
    world.clock.advance(60 * DAY);
    world.kill(second, 1, Reason::Rejected).await;
    assert_eq!(prune(&world).await.events, 0);
    assert_eq!(world.state(first).await, State::Delivered);
    world.clock.advance(91 * DAY);
    assert_eq!(prune(&world).await.deliveries, 2);
}

pub(crate) async fn events_without_deliveries_are_pruned_by_age(world: World) {
    world.accept("m-1", Vec::new()).await;
    let mut event = world.event("m-2");
    event.rejection = Some("no".to_owned());
    world.accept_one(event, Vec::new()).await;
    world.clock.advance(29 * DAY);
    world.accept("m-3", Vec::new()).await;
    world.clock.advance(2 * DAY);
    assert_eq!(prune(&world).await.events, 2);
    assert_eq!(events(&world).await, 1);
}

pub(crate) async fn retention_prunes_in_steps(world: World) {
    for number in 0..25 {
        let id = world.accept_leased(&format!("m-{number}"), world.a).await;
        if number % 5 != 0 {
            world.deliver(id, 1).await;
        }
    }
    world.clock.advance(91 * DAY);
    let mut pruned = 0;
    for step in 1.. {
        assert!(step < 10, "the sweep does not end");
        let done = world.store.prune(request(&world, 10)).await.expect("pruned");
        pruned += done.events;
        if !done.more {
            break;
        }
    }
    assert_eq!(pruned, 20);
    assert_eq!(events(&world).await, 5);
    world.check().await;
}

pub(crate) async fn events_with_future_timestamps_do_not_block_retention(world: World) {
    for number in 0..40 {
        let mut event = world.event(&format!("m-{number}"));
        if number < 10 {
            event.received_at = world.now() + 1_000 * DAY;
        }
        world.accept_one(event, Vec::new()).await;
    }
    world.clock.advance(31 * DAY);
    let mut pruned = 0;
    for _ in 0..40 {
        pruned += world.store.prune(request(&world, 2)).await.expect("pruned").events;
    }
    assert_eq!(pruned, 30);
    assert_eq!(events(&world).await, 10);
}

pub(crate) async fn keys_are_not_reused_after_pruning(mut world: World) {
    let (event, delivery) = world.accept("m-1", vec![world.leased(world.a)]).await;
    world.deliver(delivery, 1).await;
    let attempt = world.store.attempts_of(delivery).await.expect("attempts")[0].id;
    world.clock.advance(31 * DAY);
    assert_eq!(prune(&world).await.events, 1);
    world.reopen().await;
    let (later_event, later_delivery) = world.accept("m-2", vec![world.leased(world.a)]).await;
    assert!(later_event > event && later_delivery > delivery);
    world.deliver(later_delivery, 1).await;
    let attempts = world.store.attempts_of(later_delivery).await.expect("attempts");
    assert!(attempts[0].id > attempt);
}
