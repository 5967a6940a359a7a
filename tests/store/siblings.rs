//! Delivery policy `any`: one success settles the event's other deliveries of the destination.

use std::sync::Arc;
use std::time::Duration;

use postrider::domain::attempt::Outcome;
use postrider::domain::delivery::{Reason, State};
use postrider::domain::destination::DeliveryPolicy;
use postrider::domain::job::{JobAction, JobFilter, NewJob};
use postrider::domain::retry::Next;
use postrider::store::{PruneRequest, Record, Recorded};

use super::world::{World, lease_of};

const DAY: Duration = Duration::from_secs(24 * 3_600);

pub(crate) async fn one_success_settles_the_others_of_its_destination(world: World) {
    let fan_out = vec![
        world.pending(world.c),
        world.leased(world.a),
        world.leased(world.b),
        world.pending(world.b),
        world.leased(world.a),
    ];
    let (_, ids) = world.accept_all("m-1", fan_out).await;
    let other_event = world.accept_pending("m-2", world.b).await;
    let dead = ids[4];
    assert_eq!(world.kill(dead, 1, Reason::Rejected).await, Recorded::Applied);

    let winner = ids[1];
    assert_eq!(world.deliver_for_any(winner, 1).await, Recorded::Applied);
    let won = world.delivery(winner).await;
    assert_eq!((won.state, won.settled_by), (State::Delivered, None));
    for (offset, token, tried) in [(2, 1, 0), (3, 0, 0)] {
        let settled = world.delivery(ids[offset]).await;
        assert_eq!((settled.state, settled.settled_by), (State::Delivered, Some(winner)));
        assert_eq!((settled.settled_at, settled.due_at), (won.settled_at, None));
        assert_eq!((settled.lease_node_id, settled.lease_expires_at), (None, None));
        assert_eq!((settled.token, settled.tried), (token, tried), "it was not tried");
    }
    assert_eq!(world.state(ids[0]).await, State::Pending, "another destination's");
    assert_eq!(world.state(other_event).await, State::Pending, "another event's");
    assert_eq!(world.state(dead).await, State::Dead);
    let ledger = world.store.ledger().await.expect("the ledger");
    assert_eq!((ledger.pending, ledger.leased, ledger.delivered, ledger.dead), (2, 0, 3, 1));
    world.check().await;
}

pub(crate) async fn a_delivery_settled_by_a_sibling_is_not_retried(mut world: World) {
    let fan_out = vec![world.leased(world.a), world.leased(world.b), world.pending(world.b)];
    let (_, ids) = world.accept_all("m-1", fan_out).await;
    world.deliver_for_any(ids[0], 1).await;
    assert!(world.claim(world.b, 10).await.deliveries.is_empty());
    assert_eq!(world.store.next_due(&[world.b.mapping_id]).await.expect("read"), []);
    let given_back = world.store.release(vec![lease_of(ids[1], 1)], world.service_now()).await;
    assert_eq!(given_back.expect("released"), 0);

    // Its attempt was under way: it is on record, and changes nothing.
    let before = (world.delivery(ids[1]).await, world.store.ledger().await.expect("the ledger"));
    assert_eq!(world.fail(ids[1], 1, Duration::ZERO).await, Recorded::Late);
    assert_eq!(world.deliver_for_any(ids[1], 1).await, Recorded::Late);
    assert_eq!(
        (world.delivery(ids[1]).await, world.store.ledger().await.expect("the ledger")),
        before
    );
    let attempts = world.store.attempts_of(ids[1]).await.expect("attempts");
    assert!(attempts.len() == 2 && attempts.iter().all(|attempt| attempt.late));
    world.reopen().await;
    assert_eq!(
        (world.delivery(ids[1]).await, world.store.ledger().await.expect("the ledger")),
        before
    );
    world.check().await;
}

pub(crate) async fn two_successes_in_one_batch_settle_the_third_once(world: World) {
    let fan_out = vec![world.pending(world.a), world.leased(world.a), world.leased(world.b)];
    let (_, ids) = world.accept_all("m-1", fan_out).await;
    let won = |offset| Record {
        policy: DeliveryPolicy::Any,
        ..world.record_of(ids[offset], 1, Outcome::Delivered, Next::Delivered)
    };
    let answers = world.store.record(Arc::new(vec![won(2), won(1)])).await.expect("recorded");
    assert_eq!(answers, [Recorded::Applied; 2]);
    assert_eq!(world.delivery(ids[0]).await.settled_by, Some(ids[1]));
    for offset in [1, 2] {
        let own = world.delivery(ids[offset]).await;
        assert_eq!((own.state, own.settled_by, own.tried), (State::Delivered, None, 1));
    }
    assert_eq!(world.store.ledger().await.expect("the ledger").delivered, 3);
    world.check().await;
}

pub(crate) async fn a_failure_and_a_success_in_one_batch_end_delivered(world: World) {
    let (_, ids) =
        world.accept_all("m-1", vec![world.leased(world.a), world.leased(world.b)]).await;
    let due_at = world.service_now();
    let failed = world.record_of(ids[1], 1, Outcome::ServerError, Next::Retry { due_at });
    let won = Record {
        policy: DeliveryPolicy::Any,
        ..world.record_of(ids[0], 1, Outcome::Delivered, Next::Delivered)
    };
    let answers = world.store.record(Arc::new(vec![won, failed])).await.expect("recorded");
    assert_eq!(answers, [Recorded::Applied; 2]);
    let settled = world.delivery(ids[1]).await;
    assert_eq!((settled.state, settled.settled_by), (State::Delivered, Some(ids[0])));
    assert_eq!((settled.tried, settled.last_outcome), (1, Some(Outcome::ServerError)));
    world.check().await;
}

pub(crate) async fn a_late_success_settles_no_sibling(world: World) {
    let (_, ids) =
        world.accept_all("m-1", vec![world.leased(world.a), world.pending(world.b)]).await;
    world.fail(ids[0], 1, Duration::ZERO).await;
    assert_eq!(world.deliver_for_any(ids[0], 1).await, Recorded::Late);
    assert_eq!(world.state(ids[1]).await, State::Pending);
    // Nor does a success under the policy `all`.
    world.claim(world.a, 1).await;
    assert_eq!(world.deliver(ids[0], 2).await, Recorded::Applied);
    assert_eq!(world.state(ids[1]).await, State::Pending);
    world.check().await;
}

pub(crate) async fn a_redriven_dead_letter_is_settled_by_a_sibling(world: World) {
    let (_, ids) =
        world.accept_all("m-1", vec![world.leased(world.a), world.leased(world.b)]).await;
    world.kill(ids[0], 1, Reason::Rejected).await;
    world.kill(ids[1], 1, Reason::Rejected).await;
    let filter = JobFilter::default();
    let job = NewJob {
        action: JobAction::Redrive,
        filter,
        rate_per_second: None,
        actor: "test".to_owned(),
        note: None,
    };
    let job = world.store.create_job(job, world.act()).await.expect("made");
    world.store.advance_job(job.id, 10, world.moment()).await.expect("a step");
    world.claim(world.a, 1).await;
    assert_eq!(world.deliver_for_any(ids[0], 2).await, Recorded::Applied);
    assert_eq!(world.delivery(ids[1]).await.settled_by, Some(ids[0]));
    world.check().await;
}

pub(crate) async fn retention_prunes_deliveries_settled_by_a_sibling(world: World) {
    let (event, ids) =
        world.accept_all("m-1", vec![world.leased(world.a), world.leased(world.b)]).await;
    world.deliver_for_any(ids[0], 1).await;
    world.clock.advance(DAY);
    let now = world.service_now();
    let request = PruneRequest { settled_before: now, dead_before: now, limit: 10 };
    assert_eq!(world.store.prune(request).await.expect("pruned").deliveries, 2);
    assert!(world.store.event(event).await.expect("read").is_none());
    assert_eq!(world.store.ledger().await.expect("the ledger").delivered_pruned, 2);
    world.check().await;
}
