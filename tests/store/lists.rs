//! History and statistics: filters, keyset pagination, single rows.

use std::time::Duration;

use postrider::domain::attempt::Outcome;
use postrider::domain::clock::Timestamp;
use postrider::domain::delivery::{Reason, State};
use postrider::domain::event::EventType;
use postrider::domain::id::{DeliveryId, EventId, MappingId};
use postrider::domain::retry::Next;
use postrider::store::{
    Accepted, AttemptQuery, Cursor, DeliveryQuery, EventConditions, EventQuery, Record, Recorded,
    StatisticsQuery, StatisticsRow, StatusRange, StoreError,
};

use super::world::{WINDOW, World};
use crate::support::statistics::sums;

/// Three events of three mappings: what is dead, retried, leased and delivered.
async fn four_deliveries(world: &World) -> [DeliveryId; 4] {
    let dead = world.dead("m-1", world.a).await;
    let retried = world.accept_leased("m-2", world.b).await;
    world.fail(retried, 1, Duration::ZERO).await;
    world.clock.advance(Duration::from_secs(60));
    let mut event = world.event("m-3");
    event.kind = Some(EventType::Page);
    let two = vec![world.leased(world.c), world.leased(world.c)];
    let Accepted::Stored { delivery_ids, .. } = world.accept_one(event, two).await else {
        panic!("a duplicate");
    };
    let ids: Vec<_> = delivery_ids.iter().collect();
    let (leased, delivered) = (ids[0], ids[1]);
    world.deliver(delivered, 1).await;
    [dead, retried, leased, delivered]
}

pub(crate) async fn attempts_are_filtered_by_every_condition_and_paginated(world: World) {
    let [dead, retried, _, delivered] = four_deliveries(&world).await;
    let all = AttemptQuery { limit: 100, ..AttemptQuery::default() };
    let now = Some(world.now());
    let cases = [
        (all.clone(), vec![delivered, retried, dead]),
        (AttemptQuery { outcome: Some(Outcome::ServerError), ..all.clone() }, vec![retried]),
        (
            AttemptQuery { status: Some(StatusRange { from: 200, to: 299 }), ..all.clone() },
            vec![delivered],
        ),
        (
            AttemptQuery { destination_id: Some(world.a.destination_id), ..all.clone() },
            vec![retried, dead],
        ),
        (
            AttemptQuery { among: Some(vec![world.c.destination_id]), ..all.clone() },
            vec![delivered],
        ),
        (AttemptQuery { among: Some(Vec::new()), ..all.clone() }, vec![]),
        (AttemptQuery { mapping_id: Some(world.b.mapping_id), ..all.clone() }, vec![retried]),
        (AttemptQuery { delivery_id: Some(dead), ..all.clone() }, vec![dead]),
        (AttemptQuery { delivery_id: Some(DeliveryId(999)), ..all.clone() }, vec![]),
        (AttemptQuery { recorded_from: now, ..all.clone() }, vec![delivered]),
        (AttemptQuery { recorded_until: now, ..all.clone() }, vec![retried, dead]),
    ];
    for (query, expected) in cases {
        let rows = world.store.attempts(query.clone()).await.expect("listed").rows;
        let found: Vec<_> = rows.iter().map(|row| row.attempt.delivery_id).collect();
        assert_eq!(found, expected, "{query:?}");
        for row in rows {
            let delivery = world.delivery(row.attempt.delivery_id).await;
            assert_eq!(row.mapping_id, delivery.mapping_id);
            assert_eq!(row.destination_id, delivery.destination_id);
            assert_eq!(row.accepted_at, delivery.accepted_at);
            let own = world.store.attempts_of(delivery.id).await.expect("its own");
            assert_eq!(own, [row.attempt], "as it is shown with its delivery");
        }
    }
    let (mut found, mut before) = (Vec::new(), None);
    loop {
        let page = AttemptQuery { before, limit: 1, ..AttemptQuery::default() };
        let rows = world.store.attempts(page).await.expect("listed").rows;
        let Some(row) = rows.first() else { break };
        found.push(row.attempt.delivery_id);
        before = Some(Cursor { at: row.attempt.recorded_at, key: row.attempt.id.0 });
    }
    assert_eq!(found, [delivered, retried, dead]);
}

pub(crate) async fn deliveries_are_filtered_by_every_condition(world: World) {
    let [dead, retried, leased, delivered] = four_deliveries(&world).await;
    let event_id = world.delivery(leased).await.event_id;
    let no = EventConditions::default();
    let all = DeliveryQuery { limit: 100, ..DeliveryQuery::default() };
    let cases = [
        (all.clone(), vec![delivered, leased, retried, dead]),
        (DeliveryQuery { state: Some(State::Pending), ..all.clone() }, vec![retried]),
        (DeliveryQuery { state: Some(State::Leased), ..all.clone() }, vec![leased]),
        (DeliveryQuery { state: Some(State::Delivered), ..all.clone() }, vec![delivered]),
        (DeliveryQuery { state: Some(State::Dead), ..all.clone() }, vec![dead]),
        (DeliveryQuery { state: Some(State::Discarded), ..all.clone() }, vec![]),
        (DeliveryQuery { reason: Some(Reason::Rejected), ..all.clone() }, vec![dead]),
        (DeliveryQuery { reason: Some(Reason::Deadline), ..all.clone() }, vec![]),
        (
            DeliveryQuery {
                reason: Some(Reason::Rejected),
                state: Some(State::Pending),
                ..all.clone()
            },
            vec![],
        ),
        (
            DeliveryQuery { destination_id: Some(world.a.destination_id), ..all.clone() },
            vec![retried, dead],
        ),
        (DeliveryQuery { mapping_id: Some(world.b.mapping_id), ..all.clone() }, vec![retried]),
        (DeliveryQuery { event_id: Some(event_id), ..all.clone() }, vec![delivered, leased]),
        (DeliveryQuery { event_id: Some(EventId(999)), ..all.clone() }, vec![]),
        (
            DeliveryQuery {
                event: EventConditions { kind: Some(EventType::Page), ..no.clone() },
                ..all.clone()
            },
            vec![delivered, leased],
        ),
        (DeliveryQuery { outcome: Some(Outcome::ServerError), ..all.clone() }, vec![retried]),
        (
            DeliveryQuery { status: Some(StatusRange { from: 200, to: 299 }), ..all.clone() },
            vec![delivered],
        ),
        (
            DeliveryQuery { accepted_from: Some(world.now()), ..all.clone() },
            vec![delivered, leased],
        ),
        (DeliveryQuery { accepted_until: Some(world.now()), ..all.clone() }, vec![retried, dead]),
        (
            DeliveryQuery { before: Some(world.cursor(leased).await), ..all.clone() },
            vec![retried, dead],
        ),
        (DeliveryQuery { limit: 1, ..all.clone() }, vec![delivered]),
        (DeliveryQuery { limit: 0, ..all }, vec![]),
    ];
    for (query, wanted) in cases {
        let rows = world.store.deliveries(query.clone()).await.expect("listed").rows;
        let found: Vec<_> = rows.iter().map(|row| row.delivery.id).collect();
        assert_eq!(found, wanted, "{query:?}");
    }
    let row = world.store.delivery(leased).await.expect("read").expect("the delivery");
    assert_eq!((row.event_type, row.message_id.as_str()), (Some(EventType::Page), "m-3"));
    assert_eq!(row.event_name.as_deref(), Some("Order Completed"));
}

pub(crate) async fn deliveries_are_filtered_by_event_and_scope(world: World) {
    let [dead, retried, leased, delivered] = four_deliveries(&world).await;
    let no = EventConditions::default();
    let all = DeliveryQuery { limit: 100, ..DeliveryQuery::default() };
    let cases = [
        (DeliveryQuery { status: Some(StatusRange { from: 201, to: 299 }), ..all.clone() }, vec![]),
        (
            DeliveryQuery {
                event: EventConditions { message_id: Some("m-2".to_owned()), ..no.clone() },
                ..all.clone()
            },
            vec![retried],
        ),
        (
            DeliveryQuery {
                event: EventConditions { user_id: Some("nobody".to_owned()), ..no.clone() },
                ..all.clone()
            },
            vec![],
        ),
        (
            DeliveryQuery {
                event: EventConditions {
                    name: Some("Order Completed".to_owned()),
                    source_id: Some(world.web),
                    ..no.clone()
                },
                ..all.clone()
            },
            vec![delivered, leased, retried, dead],
        ),
        (
            DeliveryQuery { among: Some(vec![world.c.destination_id]), ..all.clone() },
            vec![delivered, leased],
        ),
        (DeliveryQuery { among: Some(Vec::new()), ..all.clone() }, vec![]),
    ];
    for (query, wanted) in cases {
        let rows = world.store.deliveries(query.clone()).await.expect("listed").rows;
        let found: Vec<_> = rows.iter().map(|row| row.delivery.id).collect();
        assert_eq!(found, wanted, "{query:?}");
    }
}

pub(crate) async fn deliveries_are_paginated_newest_first(world: World) {
    let mut all = Vec::new();
    for number in 0..25 {
        all.insert(0, world.accept_pending(&format!("m-{number}"), world.a).await);
    }
    for state in [None, Some(State::Pending)] {
        let mut found = Vec::new();
        let mut before = None;
        loop {
            let query = DeliveryQuery { state, before, limit: 10, ..DeliveryQuery::default() };
            let rows = world.store.deliveries(query).await.expect("listed").rows;
            let Some(last) = rows.last() else {
                break;
            };
            before = Some(Cursor { at: last.delivery.accepted_at, key: last.delivery.id.0 });
            found.extend(rows.iter().map(|row| row.delivery.id));
        }
        assert_eq!(found, all);
    }
}

pub(crate) async fn events_are_paginated_newest_first(world: World) {
    let mut ids = Vec::new();
    for number in 0..7 {
        let mut event = world.event(&format!("m-{number}"));
        if number % 2 == 1 {
            event.source_id = world.app;
        }
        if number % 3 == 0 {
            event.rejection = Some("no".to_owned());
        }
        let Accepted::Stored { event_id, .. } = world.accept_one(event, Vec::new()).await else {
            panic!("a duplicate");
        };
        ids.push(event_id);
    }
    let before = Some(Cursor { at: world.now(), key: ids[5].0 });
    let all = EventQuery { limit: 100, ..EventQuery::default() };
    let of = |id| EventConditions { source_id: Some(id), ..EventConditions::default() };
    let like = |message_id: &str| EventConditions {
        message_id: Some(message_id.to_owned()),
        ..EventConditions::default()
    };
    let cases = [
        (EventQuery { event: like("m-3"), ..all.clone() }, vec![4]),
        (EventQuery { among: Some(vec![world.app]), ..all.clone() }, vec![6, 4, 2]),
        (EventQuery { accepted_until: Some(world.now()), ..all.clone() }, vec![]),
        (EventQuery { accepted_from: Some(world.now()), limit: 1, ..all.clone() }, vec![7]),
        (all.clone(), vec![7, 6, 5, 4, 3, 2, 1]),
        (EventQuery { limit: 2, ..all.clone() }, vec![7, 6]),
        (EventQuery { before, limit: 2, ..all.clone() }, vec![5, 4]),
        (EventQuery { event: of(world.app), ..all.clone() }, vec![6, 4, 2]),
        (EventQuery { rejected: true, ..all.clone() }, vec![7, 4, 1]),
        (EventQuery { rejected: true, event: of(world.web), ..all.clone() }, vec![7, 1]),
    ];
    for (query, wanted) in cases {
        let found = world.store.events(query.clone()).await.expect("listed").rows;
        let place = |id| ids.iter().position(|it| *it == id).map(|index| index + 1);
        let found: Vec<_> = found.iter().filter_map(|stored| place(stored.id)).collect();
        assert_eq!(found, wanted, "{query:?}");
    }
}

pub(crate) async fn attempts_of_a_delivery_are_in_recorded_order(world: World) {
    let id = world.accept_leased("m-1", world.a).await;
    let next = Next::Retry { due_at: world.service_now() };
    let mut first = world.record_of(id, 1, Outcome::Dns, next);
    first.attempt.status = None;
    first.attempt.body_sha256 = None;
    first.attempt.response_truncated = false;
    world.record(first.clone()).await;
    world.clock.advance(Duration::from_secs(1));
    world.claim(world.a, 1).await;
    let second = world.record_of(id, 2, Outcome::Delivered, Next::Delivered);
    world.record(second.clone()).await;
    let attempts = world.store.attempts_of(id).await.expect("attempts");
    assert_eq!(attempts.len(), 2);
    assert_eq!(attempts[0].result, first.attempt);
    assert_eq!(attempts[1].result, second.attempt);
    assert_eq!((attempts[0].number, attempts[0].delivery_id), (1, id));
    assert_eq!((attempts[0].recorded_at, attempts[1].recorded_at), (super::START, world.now()));
    assert!(attempts[0].id < attempts[1].id);
}

pub(crate) async fn a_missing_row_is_none(world: World) {
    assert!(world.store.event(EventId(5)).await.expect("read").is_none());
    assert!(world.store.delivery(DeliveryId(5)).await.expect("read").is_none());
    assert!(world.store.attempts_of(DeliveryId(5)).await.expect("read").is_empty());
}

pub(crate) async fn statistics_add_up(mut world: World) {
    let minute = Duration::from_secs(60);
    let [a, b] = [world.a.mapping_id, world.b.mapping_id];
    for number in 0..2 {
        let id = world.accept_leased(&format!("m-{number}"), world.a).await;
        world.deliver(id, 1).await;
    }
    world.clock.advance(minute);
    let dies = world.accept_leased("m-2", world.b).await;
    let next = Next::Dead { reason: Reason::Rejected };
    let death = world.record_of(dies, 1, Outcome::Rejected, next);
    world.record(Record { mapping_id: b, ..death }).await;
    let ask = async |world: &World, mappings: &[MappingId], until, hours| {
        let from = super::START - Duration::from_secs(3_600);
        let query = StatisticsQuery { from, until, mappings: mappings.to_vec(), hours };
        world.store.statistics(query).await.expect("read")
    };
    let end = world.now() + minute;
    let told = |it: &StatisticsRow| [it.accepted, it.attempts, it.delivered, it.dead, it.failed];
    // Before and after a roll-up, in one step or several, and a restart.
    for limit in [0, 1, 10] {
        if limit > 0 {
            let rolled_up = world.store.roll_up_statistics(limit).await.expect("rolled up");
            assert_eq!(rolled_up.len(), 1, "one of two, then the other");
        }
        let minutes = ask(&world, &[a, b], end, false).await;
        let expected = [[2, 2, 2, 0, 0], [1, 1, 0, 1, 1]];
        assert_eq!(minutes.iter().map(told).collect::<Vec<_>>(), expected, "a row a minute");
        assert_eq!((minutes[0].latencies[0], minutes[0].attempt_us), (2, 3_000));
        assert_eq!(ask(&world, &[b], end, false).await.len(), 1, "of these mappings only");
        let before = minutes[1].minute_at;
        assert_eq!(ask(&world, &[a, b], before, false).await.len(), 1, "before the end");
        let from = super::START - minute;
        let mappings = vec![a, b, world.c.mapping_id];
        let query = StatisticsQuery { from, until: end, mappings, hours: false };
        let each = world.store.statistics_by_mapping(query).await.expect("read");
        let each: Vec<_> = each.iter().map(|it| (it.mapping_id, told(it))).collect();
        assert_eq!(each, [(a.0, expected[0]), (b.0, expected[1])], "a row a mapping");
        let hours = ask(&world, &[a, b], end, true).await;
        assert_eq!(hours.iter().map(|it| it.accepted).sum::<u64>(), 3);
        world.check().await;
        world.reopen().await;
    }
    assert_eq!(world.store.roll_up_statistics(10).await.expect("rolled up"), []);
    let rolled_up = world.store.rolled_up_statistics(super::START).await.expect("read");
    assert_eq!(
        rolled_up.iter().map(|it| (it.mapping_id, it.dead)).collect::<Vec<_>>(),
        [(a.0, 0), (b.0, 1)]
    );
    let hours = ask(&world, &[a, b], end, true).await;
    let old = Duration::from_secs(30 * 24 * 3_600);
    world.clock.advance(old);
    world.store.prune_statistics().await.expect("pruned");
    assert_eq!(ask(&world, &[a, b], end, false).await, [], "minutes are kept for days");
    assert_eq!(ask(&world, &[a, b], end, true).await, hours, "hours for longer");
}

pub(crate) async fn late_and_unknown_attempts_are_counted_once(world: World) {
    let id = world.accept_leased("m-1", world.a).await;
    let unknown =
        world.record_of(id, 1, Outcome::Unknown, Next::Retry { due_at: world.service_now() });
    assert_eq!(world.record(unknown.clone()).await, Recorded::Applied);
    assert_eq!(world.record(unknown).await, Recorded::Late, "not stored");
    assert_eq!(world.deliver(id, 1).await, Recorded::Late, "its lease was lost");
    world.claim(world.a, 1).await;
    assert_eq!(world.deliver(id, 2).await, Recorded::Applied);
    for sum in sums(&*world.store).await {
        assert_eq!((sum.accepted, sum.attempts, sum.delivered, sum.failed), (1, 3, 1, 1));
        assert_eq!(sum.latencies.iter().sum::<u64>(), 2, "an unknown end has no latency");
    }
    world.check().await;
}

pub(crate) async fn a_step_that_fails_counts_nothing(world: World) {
    let overdue = world.accept_pending("m-1", world.a).await;
    assert_eq!(world.claim(world.a, 1).await.deliveries.len(), 1);
    world.fail(overdue, 1, Duration::ZERO).await;
    world.clock.advance(WINDOW * 2);
    let request = world.request(vec![world.want(world.a, 10)]);
    assert_eq!(world.store.bury_overdue(request).await.expect("buried"), 1);
    for sum in sums(&*world.store).await {
        assert_eq!((sum.dead, sum.delivered), (1, 0));
    }
    // In one transaction with steps that fail.
    let stale = world.act();
    let (refused, rolled_up) = futures_util::future::join(
        world.store.change_pipeline(-1, Vec::new(), stale),
        world.store.roll_up_statistics(10),
    )
    .await;
    assert!(refused.is_err());
    assert_eq!(rolled_up.expect("rolled up").len(), 2, "two minutes");
    world.check().await;
}

pub(crate) async fn the_backlog_is_recorded_for_the_minutes_in_which_it_changed(world: World) {
    let minute = Duration::from_secs(60);
    let start = Timestamp::from_micros((super::START.as_micros() / 60_000_000 + 1) * 60_000_000);
    let at = |minutes: u32| start + minute * minutes;
    let told = async |from, until, step| {
        let levels = world.store.backlog(from..until, step).await.expect("read");
        levels.iter().map(|it| (it.at, it.waiting, it.dead)).collect::<Vec<_>>()
    };
    assert_eq!(told(start, at(9), minute).await, []);
    world.accept_pending("m-1", world.a).await;
    world.store.record_backlog(at(0)).await.expect("noted");
    world.accept_pending("m-2", world.a).await;
    world.store.record_backlog(at(0)).await.expect("noted");
    world.store.record_backlog(at(1)).await.expect("nothing new to note");
    world.dead("m-3", world.a).await;
    world.store.record_backlog(at(2)).await.expect("noted");
    world.accept_pending("m-4", world.a).await;
    world.store.record_backlog(at(3)).await.expect("noted");
    let all = [(at(0), 2, 0), (at(2), 2, 1), (at(3), 3, 1)];
    assert_eq!(told(start, at(9), minute).await, all);
    assert_eq!(told(at(1), at(3), minute).await, all[..2], "the first tells how it stood before");
    assert_eq!(told(at(9), at(12), minute).await, all[2..]);
    let hour = Duration::from_secs(3_600);
    let steps = told(start, at(9), hour).await;
    assert_eq!(steps.last().map(|it| (it.1, it.2)), Some((3, 1)), "as it stood at the end");
    world.clock.advance(minute * 60 * 24 * 41);
    world.store.record_backlog(world.now()).await.expect("noted");
    assert_eq!(told(start, at(9), minute).await, all[2..], "what is old goes, but for the last");
    world.check().await;
}

pub(crate) async fn dead_letters_are_grouped_by_destination_and_reason(world: World) {
    assert_eq!(world.store.dead_letter_groups().await.expect("grouped"), []);
    world.dead("m-1", world.a).await;
    world.clock.advance(Duration::from_secs(60));
    world.dead("m-2", world.a).await;
    world.dead("m-3", world.c).await;
    world.accept_pending("m-4", world.a).await;
    let groups = world.store.dead_letter_groups().await.expect("grouped");
    let told: Vec<_> = groups.iter().map(|it| (it.destination_id, it.reason, it.count)).collect();
    let mut expected = [
        (world.a.destination_id, Reason::Rejected, 2),
        (world.c.destination_id, Reason::Rejected, 1),
    ];
    expected.sort_unstable_by_key(|it| it.0.0);
    assert_eq!(told, expected);
    let first = groups.iter().find(|it| it.destination_id == world.a.destination_id);
    let first = first.expect("the first group");
    assert_eq!(first.newest_at.since(first.oldest_at), Duration::from_secs(60));
    assert!(!first.more);
}

pub(crate) async fn a_closed_store_returns_closed(world: World) {
    world.accept_pending("m-1", world.a).await;
    world.store.close().await;
    world.store.close().await;
    let accept = world.store.accept(vec![postrider::store::NewEvent {
        event: std::sync::Arc::new(world.event("m-2")),
        deliveries: Vec::new(),
        skips: Vec::new(),
    }]);
    assert!(matches!(accept.await, Err(StoreError::Closed)));
    assert!(matches!(world.store.pipeline().await, Err(StoreError::Closed)));
    for duty in std::sync::Arc::clone(&world.store).duties() {
        assert!(
            matches!(duty.run(world.service_now()).await, Err(StoreError::Closed)),
            "{}",
            duty.name
        );
    }
    assert_eq!(world.store.ledger().await.expect("the ledger").accepted, 1);
}
