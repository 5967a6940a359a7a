//! Accept: events, fan-out, duplicates, rejections.

use std::sync::Arc;

use postrider::domain::clock::Timestamp;
use postrider::domain::delivery::State;
use postrider::domain::event::EventType;
use postrider::domain::id::DeliveryId;
use postrider::domain::ledger::Ledger;
use postrider::store::{Accepted, DeliveryQuery, EventQuery, NewEvent, Skip};

use super::world::{LEASE, WINDOW, World};

pub(crate) async fn an_event_and_its_deliveries_are_written_together(world: World) {
    let mut event = world.event("m-1");
    event.envelope = Some("{\"context\":{}}".to_owned());
    event.body = bytes::Bytes::from_static(b"{ \"odd\":  \xff\x00 }");
    let written = event.clone();
    let deliveries = vec![world.leased(world.a), world.pending(world.c)];
    let Accepted::Stored { event_id, delivery_ids } = world.accept_one(event, deliveries).await
    else {
        panic!("not stored");
    };
    let ids: Vec<_> = delivery_ids.iter().collect();
    let read = world.store.event(event_id).await.expect("read").expect("the event").event;
    assert_eq!(
        (read.source_id, read.kind, &read.message_id, read.received_at),
        (written.source_id, written.kind, &written.message_id, written.received_at)
    );
    assert_eq!(
        (read.name, read.user_id, read.body, read.envelope, read.rejection),
        (written.name, written.user_id, written.body, written.envelope, None)
    );
    let leased = world.delivery(ids[0]).await;
    assert_eq!((leased.state, leased.token, leased.tried), (State::Leased, 1, 0));
    assert_eq!(leased.lease_node_id, Some(world.node));
    assert_eq!(leased.lease_expires_at, Some(world.service_now() + LEASE));
    assert_eq!((leased.due_at, leased.settled_at, leased.reason), (None, None, None));
    assert_eq!(leased.accepted_at, world.now());
    assert_eq!(leased.deadline_at, world.service_now() + WINDOW);
    let pending = world.delivery(ids[1]).await;
    assert_eq!((pending.state, pending.token), (State::Pending, 0));
    assert_eq!(pending.due_at, Some(world.service_now()));
    assert_eq!(pending.mapping_id, world.c.mapping_id);
    assert_eq!(
        world.store.ledger().await.expect("the ledger"),
        Ledger { events_accepted: 1, accepted: 2, pending: 1, leased: 1, ..Ledger::default() }
    );
    world.check().await;
}

pub(crate) async fn delivery_ids_come_in_the_order_of_the_deliveries(world: World) {
    // More than the widest statement takes, of several callers at once.
    let requests = (0..40).map(|request| {
        let events = (0..5)
            .map(|number| NewEvent {
                event: Arc::new(world.event(&format!("m-{request}-{number}"))),
                deliveries: vec![
                    world.pending(world.a),
                    world.pending(world.b),
                    world.leased(world.c),
                ],
                skips: Vec::new(),
            })
            .collect::<Vec<_>>();
        world.store.accept(events)
    });
    for answers in futures_util::future::join_all(requests).await {
        for answer in answers.expect("accepted") {
            let Accepted::Stored { event_id, delivery_ids } = answer else {
                panic!("a duplicate");
            };
            let query =
                DeliveryQuery { event_id: Some(event_id), limit: 10, ..DeliveryQuery::default() };
            let rows = world.store.deliveries(query).await.expect("listed").rows;
            assert_eq!(rows.len(), 3);
            let mapping_of = |id: DeliveryId| {
                let row = rows.iter().find(|row| row.delivery.id == id);
                row.map(|row| row.delivery.mapping_id)
            };
            let targets: Vec<_> = delivery_ids.iter().map(mapping_of).collect();
            assert_eq!(targets, [world.a, world.b, world.c].map(|target| Some(target.mapping_id)));
        }
    }
    assert_eq!(world.store.ledger().await.expect("the ledger").accepted, 600);
    world.check().await;
}

pub(crate) async fn an_empty_request_gives_no_answers(world: World) {
    assert!(world.store.accept(Vec::new()).await.expect("accepted").is_empty());
    assert!(world.store.record(Arc::default()).await.expect("recorded").is_empty());
}

pub(crate) async fn a_message_is_accepted_once(world: World) {
    world.accept("m-1", vec![world.pending(world.a)]).await;
    let before = world.store.ledger().await.expect("the ledger");
    let again = world.accept_one(world.event("m-1"), vec![world.pending(world.a)]).await;
    assert_eq!(again, Accepted::Duplicate);
    assert_eq!(
        world.store.ledger().await.expect("the ledger"),
        Ledger { events_duplicate: 1, ..before }
    );
    let events = world.store.events(EventQuery { limit: 10, ..EventQuery::default() }).await;
    assert_eq!(events.expect("listed").rows.len(), 1);
    world.check().await;
}

pub(crate) async fn a_message_is_accepted_once_within_a_request(world: World) {
    let events = ["x", "y", "x", "z", "y", "x"].map(|id| NewEvent {
        event: Arc::new(world.event(id)),
        deliveries: vec![world.pending(world.a)],
        skips: Vec::new(),
    });
    let answers = world.store.accept(events.to_vec()).await.expect("accepted");
    let is_stored: Vec<bool> =
        answers.iter().map(|answer| matches!(answer, Accepted::Stored { .. })).collect();
    assert_eq!(is_stored, [true, true, false, true, false, false]);
    assert_eq!(world.store.ledger().await.expect("the ledger").events_duplicate, 3);
    assert_eq!(world.store.ledger().await.expect("the ledger").accepted, 3);
    world.check().await;
}

pub(crate) async fn concurrent_copies_of_a_message_are_accepted_once(world: World) {
    let copies = (0..200).map(|copy| {
        let event = world.event(&format!("m-{}", copy % 20));
        world.accept_one(event, vec![world.pending(world.a)])
    });
    let answers = futures_util::future::join_all(copies).await;
    let stored = answers.iter().filter(|answer| matches!(answer, Accepted::Stored { .. })).count();
    assert_eq!(stored, 20);
    assert_eq!(world.store.ledger().await.expect("the ledger").events_duplicate, 180);
    world.check().await;
}

pub(crate) async fn the_same_message_of_another_source_is_another(world: World) {
    world.accept("m-1", Vec::new()).await;
    let mut event = world.event("m-1");
    event.source_id = world.app;
    assert!(matches!(world.accept_one(event, Vec::new()).await, Accepted::Stored { .. }));
}

pub(crate) async fn rejected_events_are_kept_and_never_duplicates(world: World) {
    for _ in 0..2 {
        let mut event = world.event("m-1");
        event.kind = None;
        event.rejection = Some("userId or anonymousId is missing".to_owned());
        assert!(matches!(world.accept_one(event, Vec::new()).await, Accepted::Stored { .. }));
    }
    world.accept("m-1", Vec::new()).await;
    let ledger = world.store.ledger().await.expect("the ledger");
    assert_eq!(
        (ledger.events_rejected, ledger.events_accepted, ledger.events_duplicate),
        (2, 1, 0)
    );
    let query = EventQuery { rejected: true, limit: 10, ..EventQuery::default() };
    let rejected = world.store.events(query).await.expect("listed").rows;
    assert_eq!(rejected.len(), 2);
    assert!(rejected.iter().all(|stored| stored.event.kind.is_none()));
    assert_eq!(rejected[0].event.rejection.as_deref(), Some("userId or anonymousId is missing"));
    world.check().await;
}

/// More than are ever kept in memory, so that some are merged, some are being merged, and the last
/// have only just come.
pub(crate) async fn a_duplicate_is_detected_after_any_number_of_events(mut world: World) {
    const PART: u64 = 3_000;
    const PARTS: u64 = 26;
    let part = |world: &World, number: u64, step: usize| {
        let messages = (number * PART..(number + 1) * PART).step_by(step);
        let new = |message: u64| NewEvent {
            event: Arc::new(world.event(&format!("m-{message}"))),
            deliveries: Vec::new(),
            skips: Vec::new(),
        };
        messages.map(new).collect::<Vec<_>>()
    };
    for number in 0..PARTS {
        let answers = world.store.accept(part(&world, number, 1)).await.expect("accepted");
        assert!(answers.iter().all(|answer| matches!(answer, Accepted::Stored { .. })));
        if number + 4 > PARTS {
            for earlier in 0..=number {
                let again = world.store.accept(part(&world, earlier, 150)).await.expect("accepted");
                assert_eq!(again, vec![Accepted::Duplicate; 20], "{earlier} after {number}");
            }
            world.reopen().await;
        }
    }
}

pub(crate) async fn deduplication_survives_a_restart(mut world: World) {
    world.accept("m-1", Vec::new()).await;
    world.reopen().await;
    let again = world.accept_one(world.event("m-1"), Vec::new()).await;
    assert_eq!(again, Accepted::Duplicate);
}

pub(crate) async fn deduplication_lasts_24_hours(mut world: World) {
    world.run_engine_duties().await;
    // Keys of every hour of a table's turn, so that none is forgotten early.
    for hour in 0..30 {
        let name = format!("m-{hour}");
        assert!(matches!(
            world.accept_one(world.event(&name), Vec::new()).await,
            Accepted::Stored { .. }
        ));
        for earlier in hour.max(24) - 24..=hour {
            let again = world.accept_one(world.event(&format!("m-{earlier}")), Vec::new()).await;
            assert_eq!(again, Accepted::Duplicate, "m-{earlier} at hour {hour}");
        }
        world.let_hours_pass(1).await;
        if hour % 7 == 0 {
            world.reopen().await;
        }
    }
    world.let_hours_pass(48).await;
    for hour in 0..30 {
        let event = world.event(&format!("m-{hour}"));
        assert!(matches!(world.accept_one(event, Vec::new()).await, Accepted::Stored { .. }));
    }
    world.check().await;
}

pub(crate) async fn deduplication_survives_clock_steps(world: World) {
    world.run_engine_duties().await;
    world.accept("m-1", Vec::new()).await;
    for days in [3, -2, 5] {
        let micros = days * 24 * 3_600 * 1_000_000;
        world.step_clock(micros).await;
        world.let_hours_pass(6).await;
        let again = world.accept_one(world.event("m-1"), Vec::new()).await;
        assert_eq!(again, Accepted::Duplicate, "after a jump of {days} days");
    }
}

pub(crate) async fn skips_are_written_with_their_event(world: World) {
    let new = NewEvent {
        event: Arc::new(world.event("m-1")),
        deliveries: vec![world.pending(world.c)],
        skips: vec![Skip { destination_id: world.a.destination_id }],
    };
    let answers = world.store.accept(vec![new]).await.expect("accepted");
    assert!(matches!(answers[..], [Accepted::Stored { .. }]));
    world.check().await;
}

pub(crate) async fn a_cancelled_caller_does_not_affect_its_write_batch(world: World) {
    let mut kept = Vec::new();
    for number in 0..50 {
        let event = world.event(&format!("m-{number}"));
        let mut accept = Box::pin(world.accept_one(event, vec![world.pending(world.a)]));
        // Polled once: handed in, perhaps, and then dropped.
        let _ = futures_util::poll!(&mut accept);
        if number % 2 == 0 {
            drop(accept);
        } else {
            kept.push(accept);
        }
    }
    for answer in futures_util::future::join_all(kept).await {
        assert!(matches!(answer, Accepted::Stored { .. }));
    }
    let ledger = world.store.ledger().await.expect("the ledger");
    assert!((25..=50).contains(&ledger.accepted), "{ledger:?}");
    assert_eq!(ledger.accepted, ledger.events_accepted);
    let kinds = world.store.events(EventQuery { limit: 100, ..EventQuery::default() }).await;
    assert!(
        kinds
            .expect("listed")
            .rows
            .iter()
            .all(|stored| stored.event.kind == Some(EventType::Track))
    );
    assert_eq!(world.now(), Timestamp::from_micros(super::START.as_micros()));
    world.check().await;
}
