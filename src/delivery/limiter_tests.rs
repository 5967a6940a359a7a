//! The limiter's round-robin, limits, rate, batching and circuit breaker.

use std::sync::Arc;

use super::super::memory_budget::{MemoryBudget, delivery_bytes};
use super::super::pacing::Receiver;
use super::super::queue::{CLAIM_SIZE, FAIR_CAPACITY, MAX_CAPACITY, MIN_CAPACITY};
use super::*;
use crate::domain::clock::Timestamp;
use crate::domain::event::{Document, Event};
use crate::domain::id::{DeliveryId, EventId, RevisionId, SourceId};
use crate::domain::mapping::Batching;

fn at(millis: u64) -> ServiceTime {
    ServiceTime::from_micros(0) + Duration::from_millis(millis)
}

fn delivery(mapping: i64, id: i64) -> LeasedDelivery {
    LeasedDelivery {
        id: DeliveryId(id),
        event_id: EventId(id),
        event: Arc::new(Event {
            source_id: SourceId(1),
            kind: None,
            message_id: String::new(),
            received_at: Timestamp::default(),
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
        accepted_at: Timestamp::default(),
        deadline_at: at(1_000_000),
        lease_expires_at: at(35_000),
    }
}

fn unconfigured(budget: MemoryBudget) -> Limiter {
    Limiter::new(DestinationId(1), budget, 7)
}

fn configure(
    limiter: &Limiter,
    settings: &DestinationSettings,
    enabled: &[(MappingId, Option<Batching>)],
) -> Vec<LeaseRef> {
    let enabled: Vec<_> = enabled.iter().map(|it| queue_settings(it.0, it.1)).collect();
    limiter.configure(settings, None, &enabled)
}

fn queue_settings(mapping_id: MappingId, batching: Option<Batching>) -> QueueSettings {
    let receiver = Receiver::Origin("https://example.com".into());
    QueueSettings { mapping_id, batching, receiver, drain: None, wait_until: None }
}

fn limiter(max_in_flight: u32, rate_per_second: Option<u32>, mappings: &[i64]) -> Limiter {
    let limiter = unconfigured(MemoryBudget::default());
    let settings = DestinationSettings { max_in_flight, rate_per_second, ..Default::default() };
    let ids: Vec<_> = mappings.iter().map(|id| (MappingId(*id), None)).collect();
    assert_eq!(configure(&limiter, &settings, &ids), []);
    limiter
}

/// The mapping and the first delivery of what may start.
fn started(limiter: &Limiter, now: ServiceTime) -> Option<(i64, i64)> {
    batch(limiter, now).map(|(mapping, ids)| (mapping, ids[0]))
}

/// The mapping and the deliveries of what may start.
fn batch(limiter: &Limiter, now: ServiceTime) -> Option<(i64, Vec<i64>)> {
    match limiter.next(now, true) {
        NextRequest::Start { mapping_id, dequeued, .. } => {
            Some((mapping_id.0, dequeued.into_deliveries().iter().map(|it| it.id.0).collect()))
        }
        NextRequest::NotBefore(_) | NextRequest::NoWorker(_) | NextRequest::Nothing => None,
    }
}

/// A limiter with one mapping, 1, that batches.
fn batching(size: u32, linger_ms: u32) -> Limiter {
    let limiter = unconfigured(MemoryBudget::default());
    let batching = Some(Batching { size, linger_ms });
    assert_eq!(
        configure(&limiter, &DestinationSettings::default(), &[(MappingId(1), batching)]),
        []
    );
    limiter
}

fn demands(limiter: &Limiter, now: ServiceTime) -> Vec<(MappingId, Demand)> {
    let mut unlimited = u32::MAX;
    limiter.demands(now, &mut unlimited)
}

#[test]
fn queues_are_served_round_robin_and_each_keeps_an_in_flight_slot() {
    let limiter = limiter(3, None, &[1, 2]);
    for id in 0..5 {
        assert_eq!(limiter.push(delivery(1, id), false, at(0)), None);
    }
    assert_eq!(started(&limiter, at(0)), Some((1, 0)));
    assert_eq!(started(&limiter, at(0)), Some((1, 1)));
    assert_eq!(started(&limiter, at(0)), None, "the third slot is the other queue's");
    assert_eq!(limiter.push(delivery(2, 9), false, at(0)), None);
    assert_eq!(started(&limiter, at(0)), Some((2, 9)));
    assert_eq!(limiter.in_flight(), 3);
    limiter.complete(MappingId(1), Verdict::Healthy, at(1));
    assert_eq!(started(&limiter, at(1)), Some((1, 2)));
}

#[test]
fn a_rate_limit_spaces_request_starts_evenly() {
    let limiter = limiter(100, Some(10), &[1]);
    for id in 0..3 {
        limiter.push(delivery(1, id), false, at(0));
    }
    assert_eq!(started(&limiter, at(1_000)), Some((1, 0)));
    let NextRequest::NotBefore(next) = limiter.next(at(1_000), true) else { panic!("too early") };
    assert_eq!(next, at(1_090));
    assert!(
        matches!(limiter.next(at(1_001), true), NextRequest::Nothing),
        "one timer is set already"
    );
    limiter.timer_fired();
    assert_eq!(started(&limiter, next), Some((1, 1)));
    assert!(matches!(limiter.next(at(1_100), true), NextRequest::NotBefore(_)));
}

#[test]
fn reserved_slots_are_bounded_and_released() {
    let limiter = limiter(1, None, &[1]);
    assert_eq!(limiter.reserve(MappingId(1), MAX_CAPACITY + 5), MAX_CAPACITY);
    assert_eq!(limiter.reserve(MappingId(1), 1), 0);
    limiter.release(MappingId(1), 2);
    assert_eq!(limiter.reserve(MappingId(1), 5), 2);
    assert_eq!(limiter.push(delivery(1, 1), true, at(0)), None);
    assert_eq!(limiter.reserve(MappingId(1), 5), 0, "a queued delivery keeps its reserved slot");
    assert_eq!(limiter.reserve(MappingId(7), 1), 0);
}

#[test]
fn a_queue_exceeds_its_fair_share_only_while_the_memory_budget_is_ample() {
    let limiter = unconfigured(MemoryBudget::with_fair_share());
    let batching = Batching { size: 4_000, ..Batching::default() };
    let mappings = [(MappingId(1), None), (MappingId(2), Some(batching))];
    configure(&limiter, &DestinationSettings::default(), &mappings);
    assert_eq!(limiter.reserve(MappingId(1), 10_000), FAIR_CAPACITY);
    assert_eq!(limiter.reserve(MappingId(2), 10_000), 8_000, "two of its batches");
}

#[test]
fn with_an_exhausted_memory_budget_each_queue_makes_progress_at_its_minimum() {
    let limiter = unconfigured(MemoryBudget::exhausted());
    let batching = Batching { size: 4_000, linger_ms: 1_000 };
    let mappings = [(MappingId(1), None), (MappingId(2), Some(batching))];
    configure(&limiter, &DestinationSettings::default(), &mappings);
    assert_eq!(limiter.reserve(MappingId(1), 10_000), MIN_CAPACITY);
    assert_eq!(limiter.reserve(MappingId(2), 10_000), MIN_CAPACITY);
    for id in 0..i64::from(MIN_CAPACITY) {
        assert_eq!(limiter.push(delivery(2, id), true, at(0)), None);
    }
    let (mapping, ids) = batch(&limiter, at(0)).expect("a batch that cannot grow is sent");
    assert_eq!((mapping, ids.len()), (2, 64));
    assert_eq!(limiter.reserve(MappingId(2), 1), 1);
    assert_eq!(limiter.push(delivery(2, 100), true, at(0)), None);
    assert!(batch(&limiter, at(0)).is_none(), "requests in flight will make room");
}

#[test]
fn queued_and_in_flight_deliveries_are_charged_to_the_memory_budget() {
    let budget = MemoryBudget::default();
    let limiter = unconfigured(budget.clone());
    configure(&limiter, &DestinationSettings::default(), &[(MappingId(1), None)]);
    let each = delivery_bytes(&delivery(1, 1));
    for id in 0..5 {
        limiter.push(delivery(1, id), false, at(0));
    }
    assert_eq!(budget.bytes(), each * 5);
    let NextRequest::Start { reservation, .. } = limiter.next(at(0), true) else {
        panic!("a request is ready")
    };
    assert_eq!(budget.bytes(), each * 5);
    drop(reservation);
    assert_eq!(budget.bytes(), each * 4);
    assert_eq!(limiter.drain_expiring(at(35_001)).len(), 4);
    assert_eq!(budget.bytes(), 0);
    limiter.push(delivery(1, 9), false, at(0));
    assert_eq!(limiter.drain().len(), 1);
    assert_eq!(budget.bytes(), 0);
}

#[test]
fn an_open_circuit_drains_its_queue_and_admits_one_probe() {
    let limiter = limiter(64, None, &[1]);
    let id = MappingId(1);
    for n in 0..20 {
        limiter.push(delivery(1, n), false, at(0));
    }
    let mut drained = Vec::new();
    for nth in 0..10 {
        assert!(started(&limiter, at(0)).is_some());
        drained.extend(limiter.complete(id, Verdict::Unhealthy, at(nth * 1_200)).drained);
    }
    let opened_at = at(10_800);
    assert_eq!(drained.len(), 10);
    assert_eq!(limiter.reserve(id, 1), 0);
    assert_eq!(limiter.open_circuits(), [(id, opened_at)]);
    limiter.note_due(id, at(0));
    assert_eq!(demands(&limiter, opened_at), [(id, Demand::At(at(11_800)))]);
    assert_eq!(demands(&limiter, at(11_800)), [(id, Demand::Now(1))]);
    limiter.note_due(id, at(0));
    assert_eq!(demands(&limiter, at(11_800)), [], "a half-open circuit admits a single probe");
    assert_eq!(limiter.push(delivery(1, 50), false, at(0)), None);
    assert!(started(&limiter, at(11_800)).is_some());
    assert!(limiter.complete(id, Verdict::Healthy, at(11_801)).closed);
    assert_eq!(demands(&limiter, at(1_001)), [(id, Demand::Now(CLAIM_SIZE))]);
}

#[test]
fn a_disabled_mapping_drains_its_queue_and_claims_nothing() {
    let limiter = limiter(64, None, &[1]);
    limiter.push(delivery(1, 1), false, at(0));
    limiter.note_due(MappingId(1), at(0));
    let drained = configure(&limiter, &DestinationSettings::default(), &[]);
    assert_eq!(drained, [LeaseRef { delivery_id: DeliveryId(1), token: 1 }]);
    assert_eq!(demands(&limiter, at(5)), []);
    assert!(limiter.push(delivery(1, 2), true, at(0)).is_some());
    configure(&limiter, &DestinationSettings::default(), &[(MappingId(1), None)]);
    // A reload reads the due times of every enabled mapping.
    limiter.note_due(MappingId(1), at(0));
    assert_eq!(demands(&limiter, at(5)), [(MappingId(1), Demand::Now(CLAIM_SIZE))]);
}

#[test]
fn a_mapping_that_was_disabled_with_its_probe_queued_or_claimed_delivers_again() {
    let ten_failures = |limiter: &Limiter| {
        for (number, second) in [0u64, 1, 2, 3, 4, 5, 6, 7, 8, 11].into_iter().enumerate() {
            limiter.push(delivery(1, i64::try_from(number).expect("small")), false, at(0));
            assert!(started(limiter, at(0)).is_some());
            limiter.complete(MappingId(1), Verdict::Unhealthy, at(second * 1_000));
        }
    };
    let enabled = [(MappingId(1), None)];
    for is_queued in [true, false] {
        let limiter = limiter(64, None, &[1]);
        // A reserved slot keeps the queue while its mapping is disabled.
        assert_eq!(limiter.reserve(MappingId(1), 1), 1);
        ten_failures(&limiter);
        limiter.note_due(MappingId(1), at(0));
        assert_eq!(demands(&limiter, at(60_000)), [(MappingId(1), Demand::Now(1))], "the probe");
        if is_queued {
            assert_eq!(limiter.push(delivery(1, 50), false, at(60_000)), None);
        }
        configure(&limiter, &DestinationSettings::default(), &[]);
        if !is_queued {
            assert!(limiter.push(delivery(1, 50), false, at(60_000)).is_some(), "refused");
        }
        limiter.claim_ended(MappingId(1), true);
        configure(&limiter, &DestinationSettings::default(), &enabled);
        limiter.note_due(MappingId(1), at(0));
        let probe = demands(&limiter, at(200_000));
        assert_eq!(probe, [(MappingId(1), Demand::Now(1))], "queued: {is_queued}");
    }
}

#[test]
fn disabled_mappings_reserve_no_in_flight_slots() {
    let ids: Vec<i64> = (1..=64).collect();
    let limiter = limiter(64, None, &ids);
    for id in &ids[1..] {
        limiter.reserve(MappingId(*id), 1);
    }
    configure(&limiter, &DestinationSettings::default(), &[(MappingId(1), None)]);
    for number in 0..70 {
        limiter.push(delivery(1, number), false, at(0));
    }
    let in_flight = (0..70).filter(|_| started(&limiter, at(0)).is_some()).count();
    assert_eq!(in_flight, 64);
}

#[test]
fn a_batch_is_sent_when_it_is_full_or_its_linger_time_is_over() {
    let limiter = batching(3, 1_000);
    for id in 0..7 {
        limiter.push(delivery(1, id), true, at(u64::try_from(id).expect("small")));
    }
    assert_eq!(batch(&limiter, at(10)), Some((1, vec![0, 1, 2])));
    assert_eq!(batch(&limiter, at(10)), Some((1, vec![3, 4, 5])));
    let NextRequest::NotBefore(until) = limiter.next(at(10), true) else {
        panic!("the batch is not full")
    };
    assert_eq!(until, at(1_006), "one second after its first delivery");
    limiter.push(delivery(1, 7), true, at(900));
    assert!(
        matches!(limiter.next(at(900), true), NextRequest::Nothing),
        "one timer is set already"
    );
    limiter.timer_fired();
    assert_eq!(batch(&limiter, until), Some((1, vec![6, 7])));
    assert_eq!(limiter.in_flight(), 3, "requests are counted, not deliveries");
}

#[test]
fn claimed_deliveries_are_sent_when_nothing_more_is_due() {
    let limiter = batching(100, 1_000);
    let id = MappingId(1);
    limiter.note_due(id, at(0));
    assert!(matches!(demands(&limiter, at(0))[..], [(_, Demand::Now(_))]));
    limiter.note_due(id, at(0));
    limiter.push(delivery(1, 1), false, at(0));
    assert_eq!(batch(&limiter, at(0)), None, "the claim is in progress");
    limiter.claim_ended(id, true);
    assert_eq!(batch(&limiter, at(0)), None, "more is due");
    assert!(matches!(demands(&limiter, at(0))[..], [(_, Demand::Now(_))]));
    limiter.note_due(id, at(700));
    limiter.push(delivery(1, 2), false, at(0));
    limiter.claim_ended(id, true);
    assert_eq!(batch(&limiter, at(0)), Some((1, vec![1, 2])));
}

#[test]
fn a_queue_is_bounded_in_bytes() {
    let limiter = batching(1_000, 1_000);
    assert_eq!(limiter.reserve(MappingId(1), 10_000), MAX_CAPACITY);
    limiter.release(MappingId(1), MAX_CAPACITY);
    let large = bytes::Bytes::from(vec![b' '; 1 << 20]);
    for id in 0..16 {
        let mut delivery = delivery(1, id);
        let event = Arc::get_mut(&mut delivery.event).expect("its only owner");
        event.body = large.clone();
        limiter.push(delivery, true, at(0));
    }
    assert_eq!(limiter.reserve(MappingId(1), 1), 0);
    assert_eq!(batch(&limiter, at(0)), Some((1, vec![0, 1, 2])), "four would be over 4 MB");
    assert_eq!(limiter.reserve(MappingId(1), 1), 1);
}

#[test]
fn an_open_circuit_is_probed_with_one_delivery() {
    let limiter = batching(10, 60_000);
    let id = MappingId(1);
    for n in 0..100 {
        limiter.push(delivery(1, n), true, at(0));
    }
    let mut drained = Vec::new();
    for nth in 0..10 {
        // The threshold counts requests, not events.
        assert!(limiter.open_circuits().is_empty());
        for n in 0..10 {
            limiter.push(delivery(1, n), true, at(0));
        }
        assert!(batch(&limiter, at(0)).is_some_and(|(_, ids)| ids.len() == 10));
        drained.extend(limiter.complete(id, Verdict::Unhealthy, at(nth * 1_200)).drained);
    }
    assert_eq!((drained.len(), limiter.open_circuits().len()), (100, 1));
    limiter.note_due(id, at(0));
    assert_eq!(demands(&limiter, at(11_800)), [(id, Demand::Now(1))]);
    limiter.push(delivery(1, 7), false, at(11_800));
    assert_eq!(batch(&limiter, at(11_800)), Some((1, vec![7])), "at once");
}

#[test]
fn split_batches_are_sent_first_and_drained_with_the_queue() {
    let limiter = batching(10, 60_000);
    let id = MappingId(1);
    let rendered_batch = || {
        let rendered = crate::mapping::Rendered {
            method: http::Method::POST,
            url: "https://a.test/".parse().expect("a URL"),
            headers: http::HeaderMap::new(),
            spellings: crate::domain::header_spelling::HeaderSpellings::default(),
            body: bytes::Bytes::from_static(b"{}"),
            signed: None,
        };
        let item =
            super::super::batch::BatchItem { delivery: delivery(1, 5), rendered, console: None };
        Batch::group(RevisionId(1), Some(Batching::default()), smallvec::smallvec![item]).into_vec()
    };
    limiter.push(delivery(1, 1), true, at(0));
    assert_eq!(limiter.push_batches(id, rendered_batch()), []);
    assert_eq!(batch(&limiter, at(0)), Some((1, vec![5])));
    assert_eq!(limiter.push_batches(id, rendered_batch()), []);
    let leases: Vec<_> = limiter.drain().iter().map(|it| it.delivery_id.0).collect();
    assert_eq!(leases, [1, 5]);
    configure(&limiter, &DestinationSettings::default(), &[]);
    assert_eq!(
        limiter.push_batches(id, rendered_batch()).len(),
        1,
        "a disabled queue refuses batches"
    );
}

#[test]
fn the_queues_of_many_mappings_share_a_claim_and_take_turns() {
    let ids: Vec<i64> = (1..=10).collect();
    let limiter = limiter(64, None, &ids);
    let mut served = Vec::new();
    for round in 0..5 {
        ids.iter().for_each(|id| limiter.note_due(MappingId(*id), at(0)));
        let mut allowance = 2 * CLAIM_SIZE;
        let wanted = limiter.demands(at(1), &mut allowance);
        assert_eq!((wanted.len(), allowance), (2, 0), "round {round}");
        for (id, demand) in wanted {
            assert_eq!(demand, Demand::Now(CLAIM_SIZE));
            limiter.claim_ended(id, false);
            served.push(id.0);
        }
    }
    served.sort_unstable();
    assert_eq!(served, ids, "each once");
}

#[test]
fn the_prefetched_deliveries_of_any_number_of_mappings_are_bounded() {
    for budget in [MemoryBudget::with_fair_share(), MemoryBudget::exhausted()] {
        let ids: Vec<i64> = (1..=2_000).collect();
        let limiter = unconfigured(budget);
        let mappings: Vec<_> = ids.iter().map(|id| (MappingId(*id), None)).collect();
        configure(&limiter, &DestinationSettings::default(), &mappings);
        let reserved: Vec<u32> =
            ids.iter().map(|id| limiter.reserve(MappingId(*id), 10_000)).collect();
        assert!(reserved.iter().all(|it| *it >= 4), "each makes progress");
        assert!(reserved.iter().sum::<u32>() <= 32_768, "{}", reserved[0]);
    }
}

/// A limiter with mappings that have a function; at most half of the workers are for one of them.
fn with_functions(workers: u32, mappings: &[i64]) -> Limiter {
    let limiter = limiter(64, None, mappings);
    let options = crate::functions::PoolOptions { workers, ..Default::default() };
    let pool = Arc::new(crate::functions::FunctionPool::new(options));
    let ids: Vec<_> = mappings.iter().map(|id| MappingId(*id)).collect();
    limiter.configure_functions(&ids, &pool);
    limiter
}

#[test]
fn several_waiting_deliveries_go_to_a_function_worker_in_one_call_and_none_without_a_worker() {
    let limiter = with_functions(2, &[1]);
    for id in 0..40 {
        limiter.push(delivery(1, id), false, at(0));
    }
    assert_eq!(limiter.waits_for_worker(), 40);
    let first = limiter.next(at(0), true);
    let NextRequest::Start { dequeued, worker: Some(worker), .. } = first else {
        panic!("a worker is free");
    };
    assert_eq!(dequeued.into_deliveries().len(), 16);
    assert!(matches!(limiter.next(at(0), true), NextRequest::NoWorker(None)));
    assert_eq!((limiter.in_flight(), limiter.waits_for_worker()), (1, 24));
    drop(worker);
    assert!(matches!(limiter.next(at(0), false), NextRequest::NoWorker(None)), "others wait first");
    assert_eq!(batch(&limiter, at(0)).expect("the next call").1.len(), 16);
}

#[test]
fn a_mapping_without_a_worker_holds_up_no_other_of_its_destination() {
    let limiter = with_functions(4, &[1, 2]);
    limiter.push(delivery(1, 1), false, at(0));
    let NextRequest::Start { worker: Some(_one), .. } = limiter.next(at(0), true) else {
        panic!("a worker is free");
    };
    limiter.push(delivery(1, 2), false, at(0));
    let NextRequest::Start { worker: Some(_two), .. } = limiter.next(at(0), true) else {
        panic!("a worker is free");
    };
    limiter.push(delivery(1, 3), false, at(0));
    limiter.push(delivery(2, 4), false, at(0));
    assert_eq!(started(&limiter, at(0)), Some((2, 4)));
    assert!(matches!(limiter.next(at(0), true), NextRequest::NoWorker(None)));
}

#[test]
fn only_what_function_workers_take_soon_is_leased() {
    let limiter = with_functions(2, &[1]);
    assert_eq!(limiter.reserve(MappingId(1), 10_000), 256);
    limiter.release(MappingId(1), 256);
    limiter.note_call(MappingId(1), 10, Duration::from_millis(120));
    assert_eq!(limiter.reserve(MappingId(1), 10_000), 333);
    limiter.release(MappingId(1), 333);
    limiter.note_call(MappingId(1), 1, Duration::from_secs(20));
    assert_eq!(limiter.reserve(MappingId(1), 10_000), MIN_CAPACITY);
}
