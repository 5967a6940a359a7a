//! Requests that are done once under a key.

use std::time::Duration;

use postrider::domain::id::TokenId;
use postrider::domain::secret::SealedSecret;
use postrider::store::{IdempotencyKey, IdempotencyState};

use super::world::World;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn key(token: i64, key: &str) -> IdempotencyKey {
    IdempotencyKey { token_id: TokenId(token), key: key.to_owned() }
}

async fn begin(world: &World, key: IdempotencyKey, fingerprint: u8) -> IdempotencyState {
    let process = super::START;
    world
        .store
        .begin_request(key, [fingerprint; 32], process, world.service_now())
        .await
        .expect("begun")
}

fn response(world: &World) -> SealedSecret {
    SealedSecret {
        id: [7; 16],
        key_id: "k".to_owned(),
        sealed: vec![1, 2, 3],
        created_at: world.now(),
        retires_at: None,
    }
}

pub(crate) async fn an_idempotency_key_identifies_one_request_for_24_hours(mut world: World) {
    assert_eq!(begin(&world, key(1, "a"), 1).await, IdempotencyState::New);
    assert_eq!(begin(&world, key(1, "a"), 1).await, IdempotencyState::InProgress);
    assert_eq!(begin(&world, key(1, "a"), 2).await, IdempotencyState::Mismatch);
    // Another token's key and another key are others.
    assert_eq!(begin(&world, key(2, "a"), 2).await, IdempotencyState::New);
    assert_eq!(begin(&world, key(1, "b"), 2).await, IdempotencyState::New);
    let kept = response(&world);
    world.store.complete_request(key(1, "a"), Some(kept.clone())).await.expect("kept");
    world.reopen().await;
    assert_eq!(begin(&world, key(1, "a"), 1).await, IdempotencyState::Completed(kept.clone()));
    assert_eq!(begin(&world, key(1, "a"), 2).await, IdempotencyState::Mismatch);
    world.clock.advance(DAY - Duration::from_secs(1));
    assert_eq!(begin(&world, key(1, "a"), 1).await, IdempotencyState::Completed(kept));
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(begin(&world, key(1, "a"), 2).await, IdempotencyState::New);
}

pub(crate) async fn a_released_idempotency_key_can_be_reused(world: World) {
    assert_eq!(begin(&world, key(1, "a"), 1).await, IdempotencyState::New);
    world.store.complete_request(key(1, "a"), None).await.expect("freed");
    assert_eq!(begin(&world, key(1, "a"), 2).await, IdempotencyState::New);
}

pub(crate) async fn a_request_begun_by_another_process_is_interrupted(world: World) {
    assert_eq!(begin(&world, key(1, "a"), 1).await, IdempotencyState::New);
    let later = super::START + Duration::from_secs(1);
    let again = world.store.begin_request(key(1, "a"), [1; 32], later, world.service_now()).await;
    assert_eq!(again.expect("told"), IdempotencyState::Interrupted);
}
