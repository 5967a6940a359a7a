//! Requests that are done once under a key.

use std::time::Duration;

use postrider::domain::id::TokenId;
use postrider::store::{Repeat, RepeatKey, SealedSecret};

use super::world::World;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn key(token: i64, key: &str) -> RepeatKey {
    RepeatKey { token_id: TokenId(token), key: key.to_owned() }
}

async fn begin(world: &World, key: RepeatKey, fingerprint: u8) -> Repeat {
    let process = super::START;
    world.store.begin_once(key, [fingerprint; 32], process, world.now()).await.expect("begun")
}

fn answer(world: &World) -> SealedSecret {
    SealedSecret {
        id: [7; 16],
        key_id: "k".to_owned(),
        sealed: vec![1, 2, 3],
        created_at: world.now(),
        retires_at: None,
    }
}

pub(crate) async fn a_key_stands_for_one_request_for_a_day(mut world: World) {
    assert_eq!(begin(&world, key(1, "a"), 1).await, Repeat::First);
    assert_eq!(begin(&world, key(1, "a"), 1).await, Repeat::UnderWay);
    assert_eq!(begin(&world, key(1, "a"), 2).await, Repeat::Other);
    // Another token's key and another key are others.
    assert_eq!(begin(&world, key(2, "a"), 2).await, Repeat::First);
    assert_eq!(begin(&world, key(1, "b"), 2).await, Repeat::First);
    let kept = answer(&world);
    world.store.end_once(key(1, "a"), Some(kept.clone())).await.expect("kept");
    world.reopen().await;
    assert_eq!(begin(&world, key(1, "a"), 1).await, Repeat::Answered(kept.clone()));
    assert_eq!(begin(&world, key(1, "a"), 2).await, Repeat::Other);
    world.clock.advance(DAY - Duration::from_secs(1));
    assert_eq!(begin(&world, key(1, "a"), 1).await, Repeat::Answered(kept));
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(begin(&world, key(1, "a"), 2).await, Repeat::First);
}

pub(crate) async fn a_key_that_is_freed_is_free(world: World) {
    assert_eq!(begin(&world, key(1, "a"), 1).await, Repeat::First);
    world.store.end_once(key(1, "a"), None).await.expect("freed");
    assert_eq!(begin(&world, key(1, "a"), 2).await, Repeat::First);
}

pub(crate) async fn what_another_process_began_is_interrupted(world: World) {
    assert_eq!(begin(&world, key(1, "a"), 1).await, Repeat::First);
    let later = super::START + Duration::from_secs(1);
    let again = world.store.begin_once(key(1, "a"), [1; 32], later, world.now()).await;
    assert_eq!(again.expect("told"), Repeat::Interrupted);
}
