//! What one commit writes, and what follows from it: deliveries, leases, the hand-over, and that no
//! reserved place is ever lost.

use std::time::Duration;

use postrider::domain::id::{DestinationId, MappingId, NodeId};
use postrider::store::{Lease, Skip};

use super::client::Request;
use super::stage::{FIRST, NOW, OTHER, SECOND, Stage};

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
        assert_eq!(delivery.deadline_at, NOW + WINDOW);
        assert_eq!(delivery.lease, None);
    }
    assert!(events[0].skips.is_empty());
    assert_eq!(*stage.dispatch.hints.lock().expect("not poisoned"), [FIRST, SECOND, OTHER]);
    assert!(stage.dispatch.handed.lock().expect("not poisoned").is_empty());
}

#[tokio::test]
async fn integrations_keep_an_event_from_destinations() {
    let stage = Stage::new().await;
    let (hook, other) =
        (Skip { destination_id: DestinationId(1) }, Skip { destination_id: DestinationId(2) });
    for (integrations, mappings, skips) in [
        (r#"{"All":true}"#, vec![FIRST, SECOND, OTHER], vec![]),
        (r#"{"All":false}"#, vec![], vec![hook, other]),
        (r#"{"Hook":false}"#, vec![OTHER], vec![hook]),
        (r#"{"All":false,"Hook":true}"#, vec![FIRST, SECOND], vec![other]),
        (r#"{"All":false,"Other":{"x":1}}"#, vec![OTHER], vec![hook]),
        // A disabled destination is not kept from: nothing would go there.
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
async fn what_there_is_room_for_is_leased_and_handed_over() {
    let stage = Stage::new().await;
    stage.dispatch.set_room(2);
    let batch = format!("{{\"batch\":[{},{},{}]}}", track("1"), track("2"), track("3"));
    stage.send(&Request::post("/v1/batch", batch)).await.assert_success();
    let events = stage.store.take_events();
    let lease = Lease { node_id: NodeId(42), expires_at: NOW + Duration::from_secs(35) };
    for (new, expected) in events.iter().zip([Some(lease), Some(lease), None]) {
        assert!(new.deliveries.iter().all(|it| it.lease == expected), "{:?}", new.deliveries);
        // What is claimed later is read from the store then: it takes no memory until it is.
        assert_eq!(new.event.document.get().is_some(), expected.is_some());
    }
    let handed = stage.dispatch.handed.lock().expect("not poisoned");
    assert_eq!(handed.len(), 6);
    for (in_hand, mapping_id) in handed.iter().zip([FIRST, SECOND, OTHER].into_iter().cycle()) {
        assert_eq!(in_hand.mapping_id, mapping_id);
        assert_eq!((in_hand.token, in_hand.tried), (1, 0));
        assert_eq!(in_hand.accepted_at, NOW);
        assert_eq!(in_hand.deadline_at, NOW + WINDOW);
        assert_eq!(in_hand.lease_expires_at, lease.expires_at);
        assert!(in_hand.event.document.get().is_some());
    }
    // Ids run on within an event: 1 is the first event's, 2 to 4 its deliveries.
    let ids: Vec<i64> = handed.iter().map(|it| it.id.0).collect();
    assert_eq!(ids[..3], [ids[0], ids[0] + 1, ids[0] + 2]);
    assert_eq!(*stage.dispatch.hints.lock().expect("not poisoned"), [FIRST, SECOND, OTHER]);
    drop(handed);
    assert_eq!(stage.dispatch.lost(), 0);
}

#[tokio::test]
async fn a_duplicate_is_acknowledged_and_its_places_are_given_back() {
    let stage = Stage::new().await;
    stage.dispatch.set_room(10);
    let batch = format!("{{\"batch\":[{},{}]}}", track("1"), track("1"));
    stage.send(&Request::post("/v1/batch", batch)).await.assert_success();
    stage.send(&Request::post("/v1/track", track("1"))).await.assert_success();
    assert_eq!(stage.store.take_events().len(), 1);
    assert_eq!(stage.dispatch.handed.lock().expect("not poisoned").len(), 3);
    assert_eq!(stage.dispatch.lost(), 0);
    assert!(stage.dispatch.hints.lock().expect("not poisoned").is_empty());
}

#[tokio::test]
async fn the_answer_comes_only_after_the_commit() {
    let stage = Stage::new().await;
    let hold = stage.store.hold();
    let mut client = stage.connect().await;
    client.write(Request::post("/v1/track", track("1")).bytes()).await;
    hold.entered().await;
    assert!(stage.dispatch.handed.lock().expect("not poisoned").is_empty());
    hold.release();
    client.answer().await.expect("an answer").assert_success();
    assert_eq!(stage.store.take_events().len(), 1);
}

#[tokio::test]
async fn a_sender_that_goes_away_takes_nothing_with_it() {
    let stage = Stage::new().await;
    stage.dispatch.set_room(10);
    let hold = stage.store.hold();
    let mut client = stage.connect().await;
    client.write(Request::post("/v1/track", track("1")).bytes()).await;
    hold.entered().await;
    drop(client);
    // The request is given up with its connection.
    stage.shutdown.cancel();
    stage.stopped().await;
    hold.release();
    stage.intake.finish().await;
    assert_eq!(stage.store.take_events().len(), 1);
    assert_eq!(stage.dispatch.handed.lock().expect("not poisoned").len(), 3);
    assert_eq!(stage.dispatch.lost(), 0);
}
