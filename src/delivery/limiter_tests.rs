//! The gate's rules: turns, limits, rate, circuit.

use std::sync::Arc;

use super::super::memory_budget::{Held, bytes_of};
use super::super::queue::{LANE_CAPACITY, LANE_LEAST, LANE_MOST};
use super::*;
use crate::domain::event::{Document, Event};
use crate::domain::id::{DeliveryId, EventId, RevisionId, SourceId};

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
            trace: None,
            document: Document::default(),
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
    let gate = Gate::new(Held::default());
    let settings = DestinationSettings { max_in_flight, rate_per_second, ..Default::default() };
    let ids: Vec<_> = mappings.iter().map(|id| (MappingId(*id), None)).collect();
    assert_eq!(gate.set_up(&settings, &ids), []);
    gate
}

/// The mapping and the first delivery of what may start.
fn started(gate: &Gate, now: Timestamp) -> Option<(i64, i64)> {
    batch(gate, now).map(|(mapping, ids)| (mapping, ids[0]))
}

/// The mapping and the deliveries of what may start.
fn batch(gate: &Gate, now: Timestamp) -> Option<(i64, Vec<i64>)> {
    match gate.next(now) {
        Turn::Start { mapping_id, load, .. } => {
            Some((mapping_id.0, load.into_deliveries().iter().map(|it| it.id.0).collect()))
        }
        Turn::NotBefore(_) | Turn::Nothing => None,
    }
}

/// A gate whose one mapping, 1, batches.
fn batching(size: u32, linger_ms: u32) -> Gate {
    let gate = Gate::new(Held::default());
    let batching = Some(Batching { size, linger_ms });
    assert_eq!(gate.set_up(&DestinationSettings::default(), &[(MappingId(1), batching)]), []);
    gate
}

#[test]
fn lanes_take_turns_and_a_slow_one_leaves_a_place_for_the_others() {
    let gate = gate(3, None, &[1, 2]);
    for id in 0..5 {
        assert_eq!(gate.push(delivery(1, id), false, at(0)), None);
    }
    assert_eq!(started(&gate, at(0)), Some((1, 0)));
    assert_eq!(started(&gate, at(0)), Some((1, 1)));
    assert_eq!(started(&gate, at(0)), None, "the third place is the other lane's");
    assert_eq!(gate.push(delivery(2, 9), false, at(0)), None);
    assert_eq!(started(&gate, at(0)), Some((2, 9)));
    assert_eq!(gate.in_flight(), 3);
    gate.finish(MappingId(1), Verdict::Up, at(1));
    assert_eq!(started(&gate, at(1)), Some((1, 2)));
}

#[test]
fn a_rate_spaces_the_starts_evenly() {
    let gate = gate(100, Some(10), &[1]);
    for id in 0..3 {
        gate.push(delivery(1, id), false, at(0));
    }
    assert_eq!(started(&gate, at(1_000)), Some((1, 0)));
    let Turn::NotBefore(next) = gate.next(at(1_000)) else { panic!("too early") };
    assert_eq!(next, at(1_090));
    assert!(matches!(gate.next(at(1_001)), Turn::Nothing), "somebody was told already");
    gate.woken();
    assert_eq!(started(&gate, next), Some((1, 1)));
    assert!(matches!(gate.next(at(1_100)), Turn::NotBefore(_)));
}

#[test]
fn room_is_reserved_given_back_and_bounded() {
    let gate = gate(1, None, &[1]);
    assert_eq!(gate.reserve(MappingId(1), LANE_MOST + 5), LANE_MOST);
    assert_eq!(gate.reserve(MappingId(1), 1), 0);
    gate.give_back(MappingId(1), 2);
    assert_eq!(gate.reserve(MappingId(1), 5), 2);
    assert_eq!(gate.push(delivery(1, 1), true, at(0)), None);
    assert_eq!(gate.reserve(MappingId(1), 5), 0, "what waits takes the room it had reserved");
    assert_eq!(gate.reserve(MappingId(7), 1), 0);
}

#[test]
fn a_lane_gets_more_than_its_due_only_while_there_is_spare() {
    let gate = Gate::new(Held::without_spare());
    let batching = Batching { size: 4_000, ..Batching::default() };
    let mappings = [(MappingId(1), None), (MappingId(2), Some(batching))];
    gate.set_up(&DestinationSettings::default(), &mappings);
    assert_eq!(gate.reserve(MappingId(1), 10_000), LANE_CAPACITY);
    assert_eq!(gate.reserve(MappingId(2), 10_000), 8_000, "two of its batches");
}

#[test]
fn when_memory_is_taken_each_lane_gets_its_least_and_sends_it() {
    let gate = Gate::new(Held::all());
    let batching = Batching { size: 4_000, linger_ms: 1_000 };
    let mappings = [(MappingId(1), None), (MappingId(2), Some(batching))];
    gate.set_up(&DestinationSettings::default(), &mappings);
    assert_eq!(gate.reserve(MappingId(1), 10_000), LANE_LEAST);
    assert_eq!(gate.reserve(MappingId(2), 10_000), LANE_LEAST);
    for id in 0..i64::from(LANE_LEAST) {
        assert_eq!(gate.push(delivery(2, id), true, at(0)), None);
    }
    let (mapping, ids) = batch(&gate, at(0)).expect("waiting for more would be in vain");
    assert_eq!((mapping, ids.len()), (2, 64));
    assert_eq!(gate.reserve(MappingId(2), 1), 1);
    assert_eq!(gate.push(delivery(2, 100), true, at(0)), None);
    assert!(batch(&gate, at(0)).is_none(), "what is under way makes room for more");
}

#[test]
fn what_waits_or_is_under_way_is_held_until_it_is_done() {
    let held = Held::default();
    let gate = Gate::new(held.clone());
    gate.set_up(&DestinationSettings::default(), &[(MappingId(1), None)]);
    let each = bytes_of(&delivery(1, 1));
    for id in 0..5 {
        gate.push(delivery(1, id), false, at(0));
    }
    assert_eq!(held.bytes(), each * 5);
    let Turn::Start { share, .. } = gate.next(at(0)) else { panic!("it may start") };
    assert_eq!(held.bytes(), each * 5);
    drop(share);
    assert_eq!(held.bytes(), each * 4);
    assert_eq!(gate.give_up_expiring(at(35_001)).len(), 4);
    assert_eq!(held.bytes(), 0);
    gate.push(delivery(1, 9), false, at(0));
    assert_eq!(gate.give_up_all().len(), 1);
    assert_eq!(held.bytes(), 0);
}

#[test]
fn an_open_circuit_gives_up_what_waits_and_admits_one_probe() {
    let gate = gate(64, None, &[1]);
    let id = MappingId(1);
    for n in 0..20 {
        gate.push(delivery(1, n), false, at(0));
    }
    let mut given_up = Vec::new();
    for nth in 0..10 {
        assert!(started(&gate, at(0)).is_some());
        given_up.extend(gate.finish(id, Verdict::Down, at(nth * 1_200)).given_up);
    }
    let opened_at = at(10_800);
    assert_eq!(given_up.len(), 10);
    assert_eq!(gate.reserve(id, 1), 0);
    assert_eq!(gate.open_circuits(), [(id, opened_at)]);
    gate.note_due(id, at(0));
    assert_eq!(gate.demands(opened_at), [(id, Demand::At(at(11_800)))]);
    assert_eq!(gate.demands(at(11_800)), [(id, Demand::Now(1))]);
    gate.note_due(id, at(0));
    assert_eq!(gate.demands(at(11_800)), [], "one probe at a time");
    assert_eq!(gate.push(delivery(1, 50), false, at(0)), None);
    assert!(started(&gate, at(11_800)).is_some());
    assert!(gate.finish(id, Verdict::Up, at(11_801)).closed);
    assert_eq!(gate.demands(at(1_001)), [(id, Demand::Now(LANE_MOST))]);
}

#[test]
fn a_disabled_lane_gives_up_what_waits_and_demands_nothing() {
    let gate = gate(64, None, &[1]);
    gate.push(delivery(1, 1), false, at(0));
    gate.note_due(MappingId(1), at(0));
    let given_up = gate.set_up(&DestinationSettings::default(), &[]);
    assert_eq!(given_up, [LeaseRef { delivery_id: DeliveryId(1), token: 1 }]);
    assert_eq!(gate.demands(at(5)), []);
    assert!(gate.push(delivery(1, 2), true, at(0)).is_some());
    gate.set_up(&DestinationSettings::default(), &[(MappingId(1), None)]);
    assert_eq!(gate.demands(at(5)), [(MappingId(1), Demand::Now(LANE_MOST))]);
}

#[test]
fn a_batch_goes_when_it_is_full_or_its_first_has_waited() {
    let gate = batching(3, 1_000);
    for id in 0..7 {
        gate.push(delivery(1, id), true, at(u64::try_from(id).expect("small")));
    }
    assert_eq!(batch(&gate, at(10)), Some((1, vec![0, 1, 2])));
    assert_eq!(batch(&gate, at(10)), Some((1, vec![3, 4, 5])));
    let Turn::NotBefore(until) = gate.next(at(10)) else { panic!("it is not full") };
    assert_eq!(until, at(1_006), "a second after it came");
    gate.push(delivery(1, 7), true, at(900));
    assert!(matches!(gate.next(at(900)), Turn::Nothing), "somebody was told already");
    gate.woken();
    assert_eq!(batch(&gate, until), Some((1, vec![6, 7])));
    assert_eq!(gate.in_flight(), 3, "requests are counted, not deliveries");
}

#[test]
fn what_is_claimed_goes_when_nothing_more_is_due() {
    let gate = batching(100, 1_000);
    let id = MappingId(1);
    gate.note_due(id, at(0));
    assert!(matches!(gate.demands(at(0))[..], [(_, Demand::Now(_))]));
    gate.note_due(id, at(0));
    gate.push(delivery(1, 1), false, at(0));
    assert_eq!(batch(&gate, at(0)), None, "the claim goes on");
    gate.claim_ended(id, true);
    assert_eq!(batch(&gate, at(0)), None, "more is due");
    assert!(matches!(gate.demands(at(0))[..], [(_, Demand::Now(_))]));
    gate.note_due(id, at(700));
    gate.push(delivery(1, 2), false, at(0));
    gate.claim_ended(id, true);
    assert_eq!(batch(&gate, at(0)), Some((1, vec![1, 2])));
}

#[test]
fn a_lane_holds_no_more_bytes_than_it_may() {
    let gate = batching(1_000, 1_000);
    assert_eq!(gate.reserve(MappingId(1), 10_000), LANE_MOST);
    gate.give_back(MappingId(1), LANE_MOST);
    let large = bytes::Bytes::from(vec![b' '; 1 << 20]);
    for id in 0..16 {
        let mut delivery = delivery(1, id);
        let event = Arc::get_mut(&mut delivery.event).expect("its only owner");
        event.body = large.clone();
        gate.push(delivery, true, at(0));
    }
    assert_eq!(gate.reserve(MappingId(1), 1), 0);
    assert_eq!(batch(&gate, at(0)), Some((1, vec![0, 1, 2])), "four would be over 4 MB");
    assert_eq!(gate.reserve(MappingId(1), 1), 1);
}

#[test]
fn an_open_circuit_is_probed_with_one_event() {
    let gate = batching(10, 60_000);
    let id = MappingId(1);
    for n in 0..100 {
        gate.push(delivery(1, n), true, at(0));
    }
    let mut given_up = Vec::new();
    for nth in 0..10 {
        // Ten requests fail, not ten events.
        assert!(gate.open_circuits().is_empty());
        for n in 0..10 {
            gate.push(delivery(1, n), true, at(0));
        }
        assert!(batch(&gate, at(0)).is_some_and(|(_, ids)| ids.len() == 10));
        given_up.extend(gate.finish(id, Verdict::Down, at(nth * 1_200)).given_up);
    }
    assert_eq!((given_up.len(), gate.open_circuits().len()), (100, 1));
    gate.note_due(id, at(0));
    assert_eq!(gate.demands(at(11_800)), [(id, Demand::Now(1))]);
    gate.push(delivery(1, 7), false, at(11_800));
    assert_eq!(batch(&gate, at(11_800)), Some((1, vec![7])), "at once");
}

#[test]
fn packs_go_first_and_alone_and_are_given_up_like_what_waits() {
    let gate = batching(10, 60_000);
    let id = MappingId(1);
    let pack = || {
        let rendered = crate::mapping::Rendered {
            method: http::Method::POST,
            url: "https://a.test/".parse().expect("a URL"),
            headers: http::HeaderMap::new(),
            body: bytes::Bytes::from_static(b"{}"),
        };
        let item = super::super::batch::Item { delivery: delivery(1, 5), rendered, console: None };
        Pack::sort(RevisionId(1), Some(Batching::default()), smallvec::smallvec![item]).into_vec()
    };
    gate.push(delivery(1, 1), true, at(0));
    assert_eq!(gate.push_packs(id, pack()), []);
    assert_eq!(batch(&gate, at(0)), Some((1, vec![5])));
    assert_eq!(gate.push_packs(id, pack()), []);
    let leases: Vec<_> = gate.give_up_all().iter().map(|it| it.delivery_id.0).collect();
    assert_eq!(leases, [1, 5]);
    gate.set_up(&DestinationSettings::default(), &[]);
    assert_eq!(gate.push_packs(id, pack()).len(), 1, "a disabled lane takes none");
}
