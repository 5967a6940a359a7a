//! Batches: one request for several deliveries is kept once, its refusal renews their leases, and it
//! goes with the last of its attempts.

use std::sync::Arc;
use std::time::Duration;

use postrider::domain::attempt::{Batch, NewAttempt, Outcome};
use postrider::domain::delivery::{Reason, State};
use postrider::domain::retry::Next;
use postrider::store::{PruneRequest, Record, Recorded};

use super::world::{LEASE, World};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3_600);

fn batch(world: &World, size: u32) -> Arc<Batch> {
    let attempt = world.attempt(Outcome::Delivered);
    Arc::new(Batch {
        webhook_id: "bat_1".to_owned(),
        size,
        status: Some(207),
        url: attempt.url,
        request_headers: attempt.request_headers,
        body_sha256: [9; 32],
        response_headers: attempt.response_headers,
        response_body: attempt.response_body,
        response_truncated: false,
    })
}

/// What a batch's attempt has of its own.
fn in_batch(mut record: Record, batch: &Arc<Batch>) -> Record {
    let made = &record.attempt;
    record.attempt = NewAttempt {
        duration_us: made.duration_us,
        status: made.status,
        error: made.error.clone(),
        batch: Some(Arc::clone(batch)),
        ..NewAttempt::unsent(made.node_id, made.revision_id, made.started_at, made.outcome)
    };
    record
}

pub(crate) async fn a_batch_is_stored_once_and_returned_with_each_attempt(world: World) {
    // 300 go the long way, 5 with an attempt of their own between the others in one hop.
    for (round, count) in [(1, 300u32), (2, 5)] {
        let mut records = Vec::new();
        let batch = batch(&world, count);
        for number in 0..count {
            let id = world.accept_leased(&format!("m-{round}-{number}"), world.a).await;
            let record = if number == 3 {
                let due_at = world.service_now() + SECOND;
                world.record_of(id, 1, Outcome::ServerError, Next::Retry { due_at })
            } else {
                world.record_of(id, 1, Outcome::Delivered, Next::Delivered)
            };
            records.push(in_batch(record, &batch));
        }
        let alone = world.accept_leased(&format!("m-{round}-alone"), world.a).await;
        records.push(world.record_of(alone, 1, Outcome::Delivered, Next::Delivered));
        let records = Arc::new(records);
        let answers = world.store.record(Arc::clone(&records)).await.expect("recorded");
        assert!(answers.iter().all(|answer| *answer == Recorded::Applied));
        for record in records.iter() {
            let attempts = world.store.attempts_of(record.delivery_id).await.expect("attempts");
            assert_eq!(attempts.len(), 1);
            assert_eq!(attempts[0].result, record.attempt);
        }
        assert_eq!(world.state(records[3].delivery_id).await, State::Pending);
        world.check().await;
    }
}

pub(crate) async fn a_renewed_lease_has_the_next_token(world: World) {
    let ids = [
        world.accept_leased("m-1", world.a).await,
        world.accept_leased("m-2", world.a).await,
        world.accept_leased("m-3", world.a).await,
    ];
    // The lease of the third was lost.
    world.fail(ids[2], 1, SECOND).await;
    world.clock.advance(SECOND);
    let lease_expires_at = world.service_now() + 2 * LEASE;
    let next = Next::Renewed { lease_expires_at };
    let batch = batch(&world, 3);
    let refused = ids.map(|id| in_batch(world.record_of(id, 1, Outcome::Rejected, next), &batch));
    let answers = world.store.record(Arc::new(refused.to_vec())).await.expect("recorded");
    assert_eq!(answers, [Recorded::Applied, Recorded::Applied, Recorded::Late]);
    let row = world.delivery(ids[0]).await;
    assert_eq!((row.state, row.token, row.tried), (State::Leased, 2, 0));
    assert_eq!(
        (row.lease_node_id, row.lease_expires_at),
        (Some(world.node), Some(lease_expires_at))
    );
    assert_eq!((row.last_outcome, row.last_status), (Some(Outcome::Rejected), Some(410)));
    assert_eq!(world.state(ids[2]).await, State::Pending);
    world.check().await;
    assert_eq!(world.deliver(ids[0], 1).await, Recorded::Late, "the token before");
    assert_eq!(world.deliver(ids[0], 2).await, Recorded::Applied);
    world.clock.advance(2 * LEASE);
    let expired = world.store.expired_leases(world.service_now(), 10).await.expect("expired");
    assert_eq!(expired.len(), 1);
    assert_eq!((expired[0].delivery_id, expired[0].token, expired[0].tried), (ids[1], 2, 0));
    world.check().await;
}

pub(crate) async fn pruning_the_last_attempt_of_a_batch_prunes_the_batch(world: World) {
    let batch = batch(&world, 2);
    let ids =
        [world.accept_leased("m-1", world.a).await, world.accept_leased("m-2", world.a).await];
    let [delivered, dead] = [
        (ids[0], Outcome::Delivered, Next::Delivered),
        (ids[1], Outcome::Rejected, Next::Dead { reason: Reason::Rejected }),
    ]
    .map(|(id, outcome, next)| in_batch(world.record_of(id, 1, outcome, next), &batch));
    world.store.record(Arc::new(vec![delivered, dead])).await.expect("recorded");
    world.clock.advance(31 * DAY);
    assert_eq!(prune(&world).await, 1);
    let left = world.store.attempts_of(ids[1]).await.expect("attempts");
    assert_eq!(left[0].result.batch.as_ref(), Some(&batch), "it is still shown whole");
    world.clock.advance(60 * DAY);
    // The examination would find a batch that outlived its attempts.
    assert_eq!(prune(&world).await, 1);
}

/// Removes what is past its retention, 30 days and for dead letters 90; returns how many attempts.
async fn prune(world: &World) -> u64 {
    let now = world.service_now();
    let (settled_before, dead_before) = (now - 30 * DAY, now - 90 * DAY);
    let request = PruneRequest { settled_before, dead_before, limit: 100 };
    let pruned = world.store.prune(request).await.expect("pruned");
    world.check().await;
    pruned.attempts
}
