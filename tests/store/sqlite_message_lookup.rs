//! Events by messageId on SQLite: found by the de-duplication key while it is stored, by a scan after.

use std::sync::Arc;
use std::time::Duration;

use postrider::domain::event::Event;
use postrider::domain::id::{DeliveryId, SourceId};
use postrider::store::{Cursor, DeliveryQuery, EventConditions, EventQuery, NewEvent};

use super::sqlite::SqliteFactory;
use super::world::World;

fn like(message_id: &str) -> EventConditions {
    EventConditions { message_id: Some(message_id.to_owned()), ..EventConditions::default() }
}

fn of(message_id: &str) -> EventQuery {
    EventQuery { event: like(message_id), limit: 5, ..EventQuery::default() }
}

/// What one look finds, and how far it goes where there is more.
async fn look(world: &World, query: EventQuery) -> (Vec<i64>, Option<i64>) {
    let listed = world.store.events(query).await.expect("listed");
    let ids = listed.rows.iter().map(|row| row.id.0).collect();
    (ids, listed.looked_to.map(|cursor| cursor.key))
}

/// SQLite goes by the key alone.
fn below(key: i64) -> Cursor {
    Cursor { at: super::START, key }
}

async fn accept_others(world: &World, numbers: std::ops::Range<u32>) {
    for number in numbers {
        world.clock.advance(Duration::from_secs(1));
        world.accept_pending(&format!("other-{number}"), world.a).await;
    }
}

/// Accepts one message from two sources, and a rejected one between them, all at once: 1, 2 and 3.
async fn accept_wanted(world: &World) -> [DeliveryId; 2] {
    let wanted = || world.event("wanted");
    let rejected = Event { kind: None, rejection: Some("is wrong".to_owned()), ..wanted() };
    let from_app = Event { source_id: world.app, ..wanted() };
    let new =
        |event, deliveries| NewEvent { event: Arc::new(event), deliveries, skips: Vec::new() };
    let arrivals = vec![
        new(wanted(), vec![world.pending(world.b)]),
        new(rejected, Vec::new()),
        new(from_app, vec![world.pending(world.c)]),
    ];
    assert_eq!(world.store.accept(arrivals).await.expect("accepted").len(), 3);
    [DeliveryId(1), DeliveryId(2)]
}

async fn find_wanted(world: &World, [first, second]: [DeliveryId; 2], place: &str) {
    assert_eq!(look(world, of("wanted")).await, (vec![3, 2, 1], None), "{place}");
    let within = |source_id: SourceId| {
        let event = EventConditions { source_id: Some(source_id), ..like("wanted") };
        look(world, EventQuery { event, ..of("wanted") })
    };
    assert_eq!(within(world.app).await, (vec![3], None), "{place}");
    assert_eq!(within(world.web).await, (vec![2, 1], None), "{place}");
    let among = Some(vec![world.app]);
    assert_eq!(look(world, EventQuery { among, ..of("wanted") }).await, (vec![3], None), "{place}");
    for id in [3, 2, 1] {
        let page = EventQuery { before: Some(below(id + 1)), limit: 1, ..of("wanted") };
        assert_eq!(look(world, page).await, (vec![id], None), "{place}");
    }
    assert_eq!(look(world, of("other-7")).await, (vec![11], None), "{place}");
    assert_eq!(look(world, of("never sent")).await, (vec![], None), "{place}");
    let deliveries = async |before, limit| {
        let query = DeliveryQuery { event: like("wanted"), before, limit, ..Default::default() };
        let listed = world.store.deliveries(query).await.expect("listed");
        assert_eq!(listed.looked_to, None, "{place}");
        listed.rows.iter().map(|row| row.delivery.id).collect::<Vec<_>>()
    };
    assert_eq!(deliveries(None, 5).await, [second, first], "{place}");
    assert_eq!(deliveries(None, 1).await, [second], "{place}");
    assert_eq!(deliveries(Some(below(second.0)), 5).await, [first], "{place}");
}

#[tokio::test]
async fn a_message_is_found_by_one_indexed_lookup() {
    let mut world = World::new(SqliteFactory::with_short_scans()).await;
    world.let_hours_pass(1).await;
    let deliveries = accept_wanted(&world).await;
    accept_others(&world, 0..40).await;
    find_wanted(&world, deliveries, "in memory").await;
    world.reopen().await;
    find_wanted(&world, deliveries, "in the log").await;
    world.let_hours_pass(13).await;
    find_wanted(&world, deliveries, "in a table").await;
    world.reopen().await;
    find_wanted(&world, deliveries, "in a table of a file that was opened again").await;
    world.check().await;
}

#[tokio::test]
async fn a_message_whose_key_expired_is_found_by_a_scan() {
    let world = World::new(SqliteFactory::with_short_scans()).await;
    world.let_hours_pass(1).await;
    world.accept_pending("wanted", world.b).await;
    accept_others(&world, 0..10).await;
    world.let_hours_pass(48).await;
    accept_others(&world, 10..30).await;
    let mut before = None;
    for expected in [(vec![], Some(8)), (vec![], Some(4)), (vec![1], None)] {
        let query = EventQuery { before, ..of("wanted") };
        assert_eq!(look(&world, query).await, expected);
        before = expected.1.map(below);
    }
    assert_eq!(look(&world, of("other-15")).await, (vec![17], Some(8)));
    let deliveries = DeliveryQuery { event: like("wanted"), limit: 5, ..Default::default() };
    let listed = world.store.deliveries(deliveries).await.expect("listed");
    assert_eq!((listed.rows.len(), listed.looked_to.map(|cursor| cursor.key)), (0, Some(8)));
}
