//! Claim, record, release, expiry: one owner at a time, and stale tokens change nothing.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use postrider::domain::attempt::Outcome;
use postrider::domain::delivery::{Reason, State};
use postrider::domain::id::NodeId;
use postrider::domain::retry::Next;
use postrider::store::{ClaimWant, Recorded};

use super::world::{LEASE, WINDOW, World, lease_of};

const SECOND: Duration = Duration::from_secs(1);

pub(crate) async fn a_claim_leases_what_is_due(world: World) {
    let id = world.accept_pending("m-1", world.a).await;
    let claim = world.claim(world.a, 10).await;
    assert_eq!(claim.deliveries.len(), 1);
    let leased = &claim.deliveries[0];
    assert_eq!((leased.id, leased.token, leased.tried), (id, 1, 0));
    assert_eq!(leased.mapping_id, world.a.mapping_id);
    assert_eq!(leased.event.message_id, "m-1");
    assert_eq!(leased.accepted_at, world.now());
    assert_eq!(leased.deadline_at, world.service_now() + WINDOW);
    assert_eq!(leased.lease_expires_at, world.service_now() + LEASE);
    assert_eq!((claim.next_due.len(), claim.overdue.len()), (0, 0));
    let row = world.delivery(id).await;
    assert_eq!((row.state, row.token, row.lease_node_id), (State::Leased, 1, Some(world.node)));
    assert_eq!(world.store.ledger().await.expect("the ledger").leased, 1);
    assert!(world.claim(world.a, 10).await.deliveries.is_empty());
    world.check().await;
}

pub(crate) async fn a_claim_takes_no_more_than_its_limit(world: World) {
    let mut accepted = Vec::new();
    for number in 0..60 {
        accepted.push(world.accept_pending(&format!("m-{number}"), world.a).await);
        world.clock.advance(SECOND);
    }
    let claim = world.claim(world.a, 40).await;
    let ids: Vec<_> = claim.deliveries.iter().map(|leased| leased.id).collect();
    assert_eq!(ids, accepted[..40], "the longest due come first");
    let due_at = super::STARTED + 40 * SECOND;
    assert_eq!(claim.next_due, [(world.a.mapping_id, due_at)]);
    assert!(world.claim(world.a, 0).await.deliveries.is_empty());
    assert_eq!(world.claim(world.a, 40).await.deliveries.len(), 20);
    world.check().await;
}

/// Beside events it may be given in parts.
pub(crate) async fn a_large_claim_completes_over_several_batches(world: World) {
    let mut accepted = Vec::new();
    for number in 0..300 {
        accepted.push(world.accept_pending(&format!("m-{number}"), world.a).await);
    }
    let mut given = Vec::new();
    loop {
        let claim = world.claim(world.a, 1_000).await;
        given.extend(claim.deliveries.iter().map(|leased| leased.id));
        if claim.next_due.is_empty() {
            break;
        }
        assert!(!claim.deliveries.is_empty(), "something was due");
    }
    given.sort_unstable();
    assert_eq!(given, accepted);
    world.check().await;
}

pub(crate) async fn mappings_are_claimed_independently(world: World) {
    for number in 0..100 {
        world.accept_pending(&format!("flood-{number}"), world.a).await;
    }
    let quiet = world.accept_pending("quiet", world.c).await;
    let wants = vec![world.want(world.a, 5), world.want(world.b, 5), world.want(world.c, 5)];
    let claim = world.store.claim_due(world.request(wants)).await.expect("a claim");
    assert_eq!(claim.deliveries.len(), 6);
    assert!(claim.deliveries.iter().any(|leased| leased.id == quiet));
    assert_eq!(claim.next_due, [(world.a.mapping_id, world.service_now())]);
}

pub(crate) async fn two_claims_never_give_the_same_lease(world: World) {
    for number in 0..300 {
        world.accept_pending(&format!("m-{number}"), world.a).await;
    }
    let claims = (0..20).map(|_| world.claim(world.a, 20));
    let mut seen = HashSet::new();
    for claim in futures_util::future::join_all(claims).await {
        for leased in claim.deliveries {
            assert!(seen.insert(leased.id), "{:?} was leased twice", leased.id);
        }
    }
    assert_eq!(seen.len(), 300);
    world.check().await;
}

pub(crate) async fn each_lease_increments_the_fencing_token(world: World) {
    let id = world.accept_leased("m-1", world.a).await;
    for token in 1..5 {
        assert_eq!(world.fail(id, token, SECOND).await, Recorded::Applied);
        assert_eq!(world.delivery(id).await.tried, token);
        world.clock.advance(SECOND);
        let claim = world.claim(world.a, 1).await;
        assert_eq!((claim.deliveries[0].token, claim.deliveries[0].tried), (token + 1, token));
    }
    let numbers: Vec<_> = world.store.attempts_of(id).await.expect("attempts");
    let numbers: Vec<_> = numbers.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    world.check().await;
}

pub(crate) async fn a_record_with_a_stale_token_is_late_and_changes_no_state(world: World) {
    let id = world.accept_leased("m-1", world.a).await;
    assert_eq!(world.fail(id, 1, Duration::ZERO).await, Recorded::Applied);
    world.claim(world.a, 1).await;
    let before = (world.delivery(id).await, world.store.ledger().await.expect("the ledger"));
    assert_eq!(world.deliver(id, 1).await, Recorded::Late);
    assert_eq!((world.delivery(id).await, world.store.ledger().await.expect("the ledger")), before);
    let attempts = world.store.attempts_of(id).await.expect("attempts");
    let late: Vec<_> = attempts.iter().map(|attempt| (attempt.number, attempt.late)).collect();
    assert_eq!(late, [(1, false), (1, true)]);
    assert_eq!(world.deliver(id, 3).await, Recorded::Late, "a token from the future");
    assert_eq!(world.deliver(id, 2).await, Recorded::Applied);
    world.check().await;
}

pub(crate) async fn a_late_unknown_outcome_is_not_recorded(world: World) {
    let id = world.accept_leased("m-1", world.a).await;
    world.deliver(id, 1).await;
    let next = Next::Retry { due_at: world.service_now() };
    let unknown = world.record_of(id, 1, Outcome::Unknown, next);
    assert_eq!(world.record(unknown).await, Recorded::Late);
    assert_eq!(world.store.attempts_of(id).await.expect("attempts").len(), 1);
    assert_eq!(world.state(id).await, State::Delivered);
    world.check().await;
}

pub(crate) async fn a_record_after_the_expiry_is_late(world: World) {
    let id = world.accept_leased("m-1", world.a).await;
    let next = Next::Retry { due_at: world.service_now() + SECOND };
    let unknown = world.record_of(id, 1, Outcome::Unknown, next);
    assert_eq!(world.record(unknown).await, Recorded::Applied);
    assert_eq!(world.deliver(id, 1).await, Recorded::Late);
    let row = world.delivery(id).await;
    assert_eq!((row.state, row.last_outcome), (State::Pending, Some(Outcome::Unknown)));
    let attempts = world.store.attempts_of(id).await.expect("attempts");
    let late: Vec<_> = attempts.iter().map(|made| (made.result.outcome, made.late)).collect();
    assert_eq!(late, [(Outcome::Unknown, false), (Outcome::Delivered, true)]);
    world.check().await;
}

pub(crate) async fn an_expiry_after_the_record_changes_nothing(world: World) {
    let id = world.accept_leased("m-1", world.a).await;
    world.clock.advance(LEASE);
    let expired = world.store.expired_leases(world.service_now(), 10).await.expect("expired");
    assert_eq!(expired.len(), 1);
    // The outcome comes between the look and the expiry.
    assert_eq!(world.fail(id, 1, SECOND).await, Recorded::Applied);
    let before = world.delivery(id).await;
    let next = Next::Dead { reason: Reason::Deadline };
    let unknown = world.record_of(id, expired[0].token, Outcome::Unknown, next);
    assert_eq!(world.record(unknown).await, Recorded::Late);
    assert_eq!(world.delivery(id).await, before);
    world.check().await;
}

pub(crate) async fn a_record_and_an_expiry_in_one_batch_apply_once(world: World) {
    for round in 0..20 {
        let id = world.accept_leased(&format!("m-{round}"), world.a).await;
        let retry = Next::Retry { due_at: world.service_now() + SECOND };
        let both = vec![
            world.record_of(id, 1, Outcome::Unknown, retry),
            world.record_of(id, 1, Outcome::Delivered, Next::Delivered),
        ];
        let answers = world.store.record(Arc::new(both)).await.expect("recorded");
        assert_eq!(answers, [Recorded::Applied, Recorded::Late]);
        assert_eq!(world.delivery(id).await.tried, 0, "it may never have been sent");
        let other = world.accept_leased(&format!("n-{round}"), world.a).await;
        let expire = world.record(world.record_of(other, 1, Outcome::Unknown, retry));
        let (expired, recorded) = futures_util::future::join(expire, world.deliver(other, 1)).await;
        let applied = [expired, recorded].iter().filter(|one| **one == Recorded::Applied).count();
        assert_eq!(applied, 1);
    }
    world.check().await;
}

pub(crate) async fn a_release_makes_no_attempt(world: World) {
    let id = world.accept_leased("m-1", world.a).await;
    let stale = world.accept_leased("m-2", world.a).await;
    let due_at = world.service_now() + 5 * SECOND;
    let leases = vec![lease_of(id, 1), lease_of(id, 1), lease_of(stale, 2)];
    assert_eq!(world.store.release(leases, due_at).await.expect("released"), 1);
    let row = world.delivery(id).await;
    assert_eq!((row.state, row.due_at, row.tried, row.token), (State::Pending, Some(due_at), 0, 1));
    assert_eq!(world.state(stale).await, State::Leased);
    assert!(world.store.attempts_of(id).await.expect("attempts").is_empty());
    assert_eq!(world.deliver(id, 1).await, Recorded::Late);
    world.check().await;
}

pub(crate) async fn a_retry_is_due_again_and_not_before(world: World) {
    let id = world.accept_leased("m-1", world.a).await;
    world.fail(id, 1, 10 * SECOND).await;
    let row = world.delivery(id).await;
    assert_eq!((row.due_at, row.tried), (Some(world.service_now() + 10 * SECOND), 1));
    assert_eq!((row.last_outcome, row.last_status), (Some(Outcome::ServerError), Some(503)));
    world.clock.advance(10 * SECOND - Duration::from_micros(1));
    let claim = world.claim(world.a, 10).await;
    assert!(claim.deliveries.is_empty());
    assert_eq!(claim.next_due, [(world.a.mapping_id, super::STARTED + 10 * SECOND)]);
    world.clock.advance(Duration::from_micros(1));
    assert_eq!(world.claim(world.a, 10).await.deliveries.len(), 1);
}

pub(crate) async fn a_dead_letter_has_its_reason(world: World) {
    for (number, reason) in Reason::ALL.into_iter().enumerate() {
        let id = world.accept_leased(&format!("m-{number}"), world.a).await;
        assert_eq!(world.kill(id, 1, reason).await, Recorded::Applied);
        let row = world.delivery(id).await;
        assert_eq!((row.state, row.reason), (State::Dead, Some(reason)));
        assert_eq!(row.settled_at, Some(world.now() + Duration::from_micros(1_500)));
    }
    assert_eq!(world.store.ledger().await.expect("the ledger").dead, Reason::ALL.len() as u64);
    world.check().await;
}

pub(crate) async fn an_event_dropped_by_its_function_is_discarded(world: World) {
    let id = world.accept_leased("m-1", world.a).await;
    let record = world.record_of(id, 1, Outcome::Dropped, Next::Discarded);
    assert_eq!(world.record(record.clone()).await, Recorded::Applied);
    assert_eq!(world.record(record).await, Recorded::Late);
    let row = world.delivery(id).await;
    assert_eq!((row.state, row.reason), (State::Discarded, None));
    assert_eq!(row.last_outcome, Some(Outcome::Dropped));
    assert!(world.claim(world.a, 10).await.deliveries.is_empty());
    let attempts = world.store.attempts_of(id).await.expect("attempts");
    assert_eq!(attempts[0].result.console.as_deref(), Some("log: not for us"));
    let ledger = world.store.ledger().await.expect("the ledger");
    assert_eq!((ledger.leased, ledger.dead, ledger.discarded), (0, 0, 1));
    world.check().await;
}

pub(crate) async fn attempted_deliveries_past_their_deadline_die(world: World) {
    let claimed = world.accept_leased("m-1", world.a).await;
    let settled = world.accept_leased("m-2", world.b).await;
    world.fail(claimed, 1, SECOND).await;
    world.fail(settled, 1, SECOND).await;
    world.clock.advance(WINDOW);
    let claim = world.claim(world.a, 10).await;
    assert_eq!((claim.deliveries.len(), claim.overdue), (0, vec![(world.a.mapping_id, 1)]));
    let request = world.request(vec![world.want(world.b, 10)]);
    assert_eq!(world.store.bury_overdue(request.clone()).await.expect("settled"), 1);
    assert_eq!(world.store.bury_overdue(request).await.expect("settled"), 0);
    for id in [claimed, settled] {
        let row = world.delivery(id).await;
        assert_eq!((row.state, row.reason), (State::Dead, Some(Reason::Deadline)));
        assert_eq!(row.settled_at, Some(world.now()));
    }
    world.check().await;
}

pub(crate) async fn unattempted_deliveries_past_their_deadline_are_leased(world: World) {
    let id = world.accept_pending("m-1", world.a).await;
    world.clock.advance(2 * WINDOW);
    let request = world.request(vec![world.want(world.a, 10)]);
    assert_eq!(world.store.bury_overdue(request).await.expect("settled"), 0);
    let claim = world.claim(world.a, 10).await;
    assert_eq!((claim.deliveries[0].id, claim.overdue), (id, Vec::new()));
}

pub(crate) async fn a_resumed_mapping_gives_a_fresh_window(world: World) {
    let tried = world.accept_leased("m-1", world.a).await;
    world.fail(tried, 1, SECOND).await;
    world.clock.advance(2 * WINDOW);
    let young = world.accept_leased("m-2", world.a).await;
    world.fail(young, 1, Duration::ZERO).await;
    let resumed_deadline_at = world.service_now() + WINDOW / 2;
    let want = ClaimWant { resumed_deadline_at, ..world.want(world.a, 10) };
    let request = world.request(vec![want]);
    assert_eq!(world.store.bury_overdue(request.clone()).await.expect("settled"), 0);
    let claim = world.store.claim_due(request).await.expect("a claim");
    let windows: Vec<_> = claim
        .deliveries
        .iter()
        .map(|leased| (leased.id, leased.deadline_at, leased.tried))
        .collect();
    let untouched = world.service_now() + WINDOW;
    assert_eq!(windows, [(tried, resumed_deadline_at, 0), (young, untouched, 1)]);
    assert_eq!(world.delivery(tried).await.deadline_at, resumed_deadline_at);
    world.check().await;
}

pub(crate) async fn expired_leases_are_found_oldest_first(world: World) {
    let first = world.accept_leased("m-1", world.a).await;
    world.clock.advance(SECOND);
    let second = world.accept_leased("m-2", world.b).await;
    world.clock.advance(SECOND);
    world.accept_leased("m-3", world.b).await;
    let at = super::STARTED + LEASE + SECOND;
    let found = world.store.expired_leases(at, 10).await.expect("found");
    let ids: Vec<_> = found.iter().map(|lease| lease.delivery_id).collect();
    assert_eq!(ids, [first, second]);
    let lease = found[0];
    assert_eq!((lease.token, lease.tried, lease.node_id), (1, 0, world.node));
    assert_eq!(lease.expires_at, super::STARTED + LEASE);
    assert_eq!(
        (lease.mapping_id, lease.deadline_at),
        (world.a.mapping_id, super::STARTED + WINDOW)
    );
    let found = world.store.expired_leases(at, 1).await.expect("found");
    assert_eq!(found.len(), 1);
}

pub(crate) async fn leases_of_ended_nodes_expire_at_once(mut world: World) {
    let old = world.accept_leased("m-1", world.a).await;
    world.reopen().await;
    let dead_node: NodeId = world.node;
    world.node = world.store.register_node("one", world.moment()).await.expect("a node");
    assert_ne!(world.node, dead_node);
    world.accept_leased("m-2", world.a).await;
    let found = world.store.expired_leases(world.service_now(), 10).await.expect("found");
    let found: Vec<_> = found.iter().map(|lease| (lease.delivery_id, lease.node_id)).collect();
    assert_eq!(found, [(old, dead_node)]);
}

pub(crate) async fn next_due_is_the_earliest_due_time_per_mapping(world: World) {
    let mappings = [world.a, world.b, world.c].map(|target| target.mapping_id);
    assert!(world.store.next_due(&mappings).await.expect("told").is_empty());
    world.accept_pending("m-1", world.a).await;
    world.clock.advance(SECOND);
    world.accept_pending("m-2", world.a).await;
    world.accept_pending("m-3", world.c).await;
    let next = world.store.next_due(&mappings).await.expect("told");
    assert_eq!(
        next,
        [(world.a.mapping_id, super::STARTED), (world.c.mapping_id, world.service_now())]
    );
}

pub(crate) async fn claimed_deliveries_of_one_event_share_its_memory(world: World) {
    world.accept("m-1", vec![world.pending(world.a), world.pending(world.b)]).await;
    let wants = vec![world.want(world.a, 1), world.want(world.b, 1)];
    let claim = world.store.claim_due(world.request(wants)).await.expect("a claim");
    assert!(Arc::ptr_eq(&claim.deliveries[0].event, &claim.deliveries[1].event));
}
