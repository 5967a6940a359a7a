//! The outbox write of a request and its effects: deliveries, leases, dispatch; no reserved slot is
//! leaked.

use std::time::Duration;

use postrider::domain::id::{DestinationId, MappingId, NodeId};
use postrider::store::{Lease, Skip};

use super::client::Request;
use super::stage::{FIRST, NOW, OTHER, SECOND, SERVICE_NOW, Stage};

fn track(id: &str) -> String {
    format!(r#"{{"type":"track","userId":"u","event":"E","messageId":"{id}"}}"#)
}

const WINDOW: Duration = Duration::from_secs(4 * 3600);

#[tokio::test]
async fn every_matching_mapping_gets_a_delivery() {
    let stage = Stage::new().await;
    stage.send(&Request::post("/v1/track", track("1"))).await.assert_success();
    let events = stage.store.take_events();
    let routed: Vec<_> =
        events[0].deliveries.iter().map(|it| (it.mapping_id, it.destination_id)).collect();
    let (hook, other) = (DestinationId(1), DestinationId(2));
    assert_eq!(routed, [(FIRST, hook), (SECOND, hook), (OTHER, other)]);
    for delivery in &events[0].deliveries {
        assert_eq!(delivery.deadline_at, SERVICE_NOW + WINDOW);
        assert_eq!(delivery.lease, None);
    }
    assert!(events[0].skips.is_empty());
    assert_eq!(*stage.dispatch.hints.lock().expect("not poisoned"), [FIRST, SECOND, OTHER]);
    assert!(stage.dispatch.dispatched.lock().expect("not poisoned").is_empty());
}

#[tokio::test]
async fn integrations_exclude_destinations() {
    let stage = Stage::new().await;
    let (hook, other) =
        (Skip { destination_id: DestinationId(1) }, Skip { destination_id: DestinationId(2) });
    for (integrations, mappings, skips) in [
        (r#"{"All":true}"#, vec![FIRST, SECOND, OTHER], vec![]),
        (r#"{"All":false}"#, vec![], vec![hook, other]),
        (r#"{"Hook":false}"#, vec![OTHER], vec![hook]),
        (r#"{"All":false,"Hook":true}"#, vec![FIRST, SECOND], vec![other]),
        (r#"{"All":false,"Other":{"x":1}}"#, vec![OTHER], vec![hook]),
        // A disabled destination is not reported as skipped.
        (r#"{"Off":false}"#, vec![FIRST, SECOND, OTHER], vec![]),
    ] {
        let body = format!("{{\"userId\":\"u\",\"event\":\"E\",\"integrations\":{integrations}}}");
        stage.send(&Request::post("/v1/track", body)).await.assert_success();
        let events = stage.store.take_events();
        let routed: Vec<MappingId> = events[0].deliveries.iter().map(|it| it.mapping_id).collect();
        assert_eq!((routed, &events[0].skips), (mappings, &skips), "{integrations}");
    }
}

#[tokio::test]
async fn deliveries_with_a_slot_are_leased_and_dispatched() {
    let stage = Stage::new().await;
    stage.dispatch.set_room(2);
    let batch = format!("{{\"batch\":[{},{},{}]}}", track("1"), track("2"), track("3"));
    stage.send(&Request::post("/v1/batch", batch)).await.assert_success();
    let events = stage.store.take_events();
    let lease = Lease { node_id: NodeId(42), expires_at: SERVICE_NOW + Duration::from_secs(35) };
    for (new, expected) in events.iter().zip([Some(lease), Some(lease), None]) {
        assert!(new.deliveries.iter().all(|it| it.lease == expected), "{:?}", new.deliveries);
        // Pending deliveries are read from the store when claimed and use no memory until then.
        assert_eq!(new.event.document.get().is_some(), expected.is_some());
    }
    let dispatched = stage.dispatch.dispatched.lock().expect("not poisoned");
    assert_eq!(dispatched.len(), 6);
    for (delivery, mapping_id) in dispatched.iter().zip([FIRST, SECOND, OTHER].into_iter().cycle())
    {
        assert_eq!(delivery.mapping_id, mapping_id);
        assert_eq!((delivery.token, delivery.tried), (1, 0));
        assert_eq!(delivery.accepted_at, NOW);
        assert_eq!(delivery.deadline_at, SERVICE_NOW + WINDOW);
        assert_eq!(delivery.lease_expires_at, lease.expires_at);
        assert!(delivery.event.document.get().is_some());
    }
    // Ids are consecutive within an event: 1 is the first event, 2 to 4 its deliveries.
    let ids: Vec<i64> = dispatched.iter().map(|it| it.id.0).collect();
    assert_eq!(ids[..3], [ids[0], ids[0] + 1, ids[0] + 2]);
    assert_eq!(*stage.dispatch.hints.lock().expect("not poisoned"), [FIRST, SECOND, OTHER]);
    drop(dispatched);
    assert_eq!(stage.dispatch.leaked(), 0);
}

#[tokio::test]
async fn duplicates_are_acknowledged_and_their_slots_released() {
    let stage = Stage::new().await;
    stage.dispatch.set_room(10);
    let batch = format!("{{\"batch\":[{},{}]}}", track("1"), track("1"));
    stage.send(&Request::post("/v1/batch", batch)).await.assert_success();
    stage.send(&Request::post("/v1/track", track("1"))).await.assert_success();
    assert_eq!(stage.store.take_events().len(), 1);
    assert_eq!(stage.dispatch.dispatched.lock().expect("not poisoned").len(), 3);
    assert_eq!(stage.dispatch.leaked(), 0);
    assert!(stage.dispatch.hints.lock().expect("not poisoned").is_empty());
}

#[tokio::test]
async fn the_response_is_sent_after_the_commit() {
    let stage = Stage::new().await;
    let hold = stage.store.hold();
    let mut client = stage.connect().await;
    client.write(Request::post("/v1/track", track("1")).bytes()).await;
    hold.entered().await;
    assert!(stage.dispatch.dispatched.lock().expect("not poisoned").is_empty());
    hold.release();
    client.answer().await.expect("a response").assert_success();
    assert_eq!(stage.store.take_events().len(), 1);
}

#[tokio::test]
async fn a_disconnected_sender_does_not_cancel_the_commit() {
    let stage = Stage::new().await;
    stage.dispatch.set_room(10);
    let hold = stage.store.hold();
    let mut client = stage.connect().await;
    client.write(Request::post("/v1/track", track("1")).bytes()).await;
    hold.entered().await;
    drop(client);
    stage.shutdown.cancel();
    hold.release();
    stage.stopped().await;
    stage.intake.finish().await;
    assert_eq!(stage.store.take_events().len(), 1);
    assert_eq!(stage.dispatch.dispatched.lock().expect("not poisoned").len(), 3);
    assert_eq!(stage.dispatch.leaked(), 0);
}
