//! The gate's rules: turns, limits, rate, circuit.

use std::sync::{Arc, OnceLock};

use super::*;
use crate::domain::event::Event;
use crate::domain::id::{DeliveryId, EventId, SourceId};

fn at(millis: u64) -> Timestamp {
    Timestamp::from_micros(0) + Duration::from_millis(millis)
}

fn delivery(mapping: i64, id: i64) -> LeasedDelivery {
    LeasedDelivery {
        id: DeliveryId(id),
        event_id: EventId(id),
        event: Arc::new(Event {
            source_id: SourceId(1),
            kind: None,
            message_id: String::new(),
            received_at: at(0),
            name: None,
            user_id: None,
            body: bytes::Bytes::new(),
            envelope: None,
            rejection: None,
            document: OnceLock::new(),
        }),
        mapping_id: MappingId(mapping),
        token: 1,
        tried: 0,
        accepted_at: at(0),
        deadline_at: at(1_000_000),
        lease_expires_at: at(35_000),
    }
}

fn gate(max_in_flight: u32, rate_per_second: Option<u32>, mappings: &[i64]) -> Gate {
    let gate = Gate::new();
    let settings = DestinationSettings { max_in_flight, rate_per_second, ..Default::default() };
    let ids: Vec<_> = mappings.iter().map(|id| MappingId(*id)).collect();
    assert_eq!(gate.set_up(&settings, &ids), []);
    gate
}

fn started(gate: &Gate, now: Timestamp) -> Option<(i64, i64)> {
    match gate.next(now) {
        Turn::Start(it) => Some((it.mapping_id.0, it.id.0)),
        Turn::NotBefore(_) | Turn::Nothing => None,
    }
}

#[test]
fn lanes_take_turns_and_a_slow_one_leaves_a_place_for_the_others() {
    let gate = gate(3, None, &[1, 2]);
    for id in 0..5 {
        assert_eq!(gate.push(delivery(1, id), false), None);
    }
    assert_eq!(started(&gate, at(0)), Some((1, 0)));
    assert_eq!(started(&gate, at(0)), Some((1, 1)));
    assert_eq!(started(&gate, at(0)), None, "the third place is the other lane's");
    assert_eq!(gate.push(delivery(2, 9), false), None);
    assert_eq!(started(&gate, at(0)), Some((2, 9)));
    assert_eq!(gate.in_flight(), 3);
    gate.finish(MappingId(1), Verdict::Up, at(1));
    assert_eq!(started(&gate, at(1)), Some((1, 2)));
}

#[test]
fn a_rate_spaces_the_starts_evenly() {
    let gate = gate(100, Some(10), &[1]);
    for id in 0..3 {
        gate.push(delivery(1, id), false);
    }
    assert_eq!(started(&gate, at(1_000)), Some((1, 0)));
    let Turn::NotBefore(next) = gate.next(at(1_000)) else { panic!("too early") };
    assert_eq!(next, at(1_090));
    assert_eq!(started(&gate, next), Some((1, 1)));
    assert!(matches!(gate.next(at(1_100)), Turn::NotBefore(_)));
}

#[test]
fn room_is_reserved_given_back_and_bounded() {
    let gate = gate(1, None, &[1]);
    assert_eq!(gate.reserve(MappingId(1), LANE_CAPACITY + 5), LANE_CAPACITY);
    assert_eq!(gate.reserve(MappingId(1), 1), 0);
    gate.give_back(MappingId(1), 2);
    assert_eq!(gate.reserve(MappingId(1), 5), 2);
    assert_eq!(gate.push(delivery(1, 1), true), None);
    assert_eq!(gate.reserve(MappingId(1), 5), 0, "what waits takes the room it had reserved");
    assert_eq!(gate.reserve(MappingId(7), 1), 0);
}

#[test]
fn an_open_circuit_gives_up_what_waits_and_admits_one_probe() {
    let gate = gate(64, None, &[1]);
    let id = MappingId(1);
    for n in 0..20 {
        gate.push(delivery(1, n), false);
    }
    let mut given_up = Vec::new();
    for _ in 0..10 {
        assert!(started(&gate, at(0)).is_some());
        given_up.extend(gate.finish(id, Verdict::Down, at(0)).given_up);
    }
    assert_eq!(given_up.len(), 10);
    assert_eq!(gate.reserve(id, 1), 0);
    assert_eq!(gate.open_circuits(), [(id, at(0))]);
    gate.note_due(id, at(0));
    assert_eq!(gate.demands(at(0)), [(id, Demand::At(at(1_000)))]);
    assert_eq!(gate.demands(at(1_000)), [(id, Demand::Now(1))]);
    gate.note_due(id, at(0));
    assert_eq!(gate.demands(at(1_000)), [], "one probe at a time");
    assert_eq!(gate.push(delivery(1, 50), false), None);
    assert!(started(&gate, at(1_000)).is_some());
    assert!(gate.finish(id, Verdict::Up, at(1_001)).closed);
    assert_eq!(gate.demands(at(1_001)), [(id, Demand::Now(LANE_CAPACITY))]);
}

#[test]
fn a_disabled_lane_gives_up_what_waits_and_demands_nothing() {
    let gate = gate(64, None, &[1]);
    gate.push(delivery(1, 1), false);
    gate.note_due(MappingId(1), at(0));
    let given_up = gate.set_up(&DestinationSettings::default(), &[]);
    assert_eq!(given_up, [LeaseRef { delivery_id: DeliveryId(1), token: 1 }]);
    assert_eq!(gate.demands(at(5)), []);
    assert!(gate.push(delivery(1, 2), true).is_some());
    gate.set_up(&DestinationSettings::default(), &[MappingId(1)]);
    assert_eq!(gate.demands(at(5)), [(MappingId(1), Demand::Now(LANE_CAPACITY))]);
}
