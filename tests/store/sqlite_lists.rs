//! Keyset pagination on SQLite: how many rows one query scans.

use postrider::domain::event::Event;
use postrider::domain::id::DeliveryId;
use postrider::store::{DeliveryQuery, EventConditions, EventQuery};

use super::sqlite::SqliteFactory;
use super::world::World;

#[tokio::test]
async fn a_query_scans_a_bounded_number_of_rows_and_returns_its_end() {
    let world = World::new(SqliteFactory::with_short_scans()).await;
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
                assert_eq!((found, listed.looked_to), (vec![first], None), "the end is reached");
                break;
            }
            assert_eq!(found, [], "look {look}");
            let end = listed.looked_to.expect("there is more");
            let row = world.delivery(DeliveryId(end.key)).await;
            assert_eq!(row.accepted_at, end.at);
            query.before = Some(end);
        }
    }
    let query = EventQuery { event: like, limit: 5, ..EventQuery::default() };
    let listed = world.store.events(query).await.expect("listed");
    assert_eq!((listed.rows.len(), listed.looked_to.map(|end| end.key)), (0, Some(33)));
    let full = DeliveryQuery { limit: 3, ..DeliveryQuery::default() };
    let listed = world.store.deliveries(full).await.expect("listed");
    assert_eq!((listed.rows.len(), listed.looked_to), (3, None), "as many as were asked for");
}

#[tokio::test]
async fn a_time_range_is_found_by_binary_search() {
    let world = World::new(SqliteFactory::with_short_scans()).await;
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
    assert_eq!(found, [times[22].1, times[21].1, times[20].1], "far down, in one query");
    assert_eq!(listed.looked_to, None, "and no further");
}
