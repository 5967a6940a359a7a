//! Tokens: names, the last admin, the token of the machine's file, uses.

use std::time::Duration;

use postrider::domain::auth::{Role, Scope};
use postrider::store::{NewToken, Revocation, StoreError, Token};

use super::world::World;

pub(crate) fn token(name: &str, role: Role, byte: u8) -> NewToken {
    NewToken {
        name: name.to_owned(),
        role,
        scope: Scope::Everything,
        digest: [byte; 32],
        expires_at: None,
    }
}

async fn make(world: &World, token: NewToken) -> Token {
    world.store.create_token(token, world.act()).await.expect("made")
}

async fn names(world: &World) -> Vec<String> {
    let tokens = world.store.tokens().await.expect("tokens").into_iter();
    tokens.map(|token| token.made.name).collect()
}

pub(crate) async fn a_token_reads_back_as_created(mut world: World) {
    let paths = ["web/crm", "app/ä b"].iter().map(|path| path.parse().unwrap());
    let wanted = NewToken {
        scope: Scope::Destinations(paths.collect()),
        expires_at: Some(world.now() + Duration::from_secs(60)),
        ..token("ci", Role::Operator, 1)
    };
    let made = make(&world, wanted.clone()).await;
    assert_eq!((&made.made, made.created_by.as_str()), (&wanted, "ops"));
    world.reopen().await;
    assert_eq!(world.store.tokens().await.expect("tokens"), [made]);
}

pub(crate) async fn a_token_name_is_unique_until_revoked(world: World) {
    make(&world, token("root", Role::Admin, 1)).await;
    make(&world, token("ci", Role::Viewer, 2)).await;
    let again = world.store.create_token(token("ci", Role::Admin, 3), world.act()).await;
    assert!(matches!(again, Err(StoreError::Conflict)));
    let revoked = world.store.revoke_token("ci", world.act()).await.expect("revoked");
    assert_eq!(revoked, Revocation::Revoked);
    assert_eq!(names(&world).await, ["root"]);
    let gone = world.store.revoke_token("ci", world.act()).await.expect("no error");
    assert_eq!(gone, Revocation::Unknown);
    make(&world, token("ci", Role::Viewer, 3)).await;
    assert_eq!(names(&world).await, ["ci", "root"]);
}

pub(crate) async fn the_last_admin_token_cannot_be_revoked(world: World) {
    make(&world, token("root", Role::Admin, 1)).await;
    let limited = Scope::Destinations(["web/crm".parse().unwrap()].into());
    make(&world, NewToken { scope: limited, ..token("limited", Role::Admin, 2) }).await;
    let expires_at = Some(world.now() + Duration::from_secs(60));
    make(&world, NewToken { expires_at, ..token("ends", Role::Admin, 3) }).await;
    let revoke =
        async |name: &str| world.store.revoke_token(name, world.act()).await.expect("told");
    assert_eq!(revoke("root").await, Revocation::LastAdmin);
    make(&world, token("second", Role::Admin, 4)).await;
    assert_eq!(revoke("root").await, Revocation::Revoked);
    assert_eq!(revoke("second").await, Revocation::LastAdmin);
    assert_eq!(names(&world).await, ["ends", "limited", "second"]);
}

pub(crate) async fn a_new_token_file_replaces_the_previous_token(world: World) {
    let admit = async |byte| {
        let token = token("operator", Role::Admin, byte);
        world.store.admit_token(token, world.act()).await.expect("admitted")
    };
    assert!(admit(1).await.is_some());
    assert_eq!(admit(1).await, None, "it is in force already");
    assert!(admit(2).await.is_some());
    let tokens = world.store.tokens().await.expect("tokens");
    assert_eq!(tokens.iter().map(|it| it.made.digest).collect::<Vec<_>>(), [[2; 32]]);
}

pub(crate) async fn a_revoked_file_token_is_restored_only_without_another_admin(world: World) {
    let admit = async || {
        let token = token("operator", Role::Admin, 1);
        world.store.admit_token(token, world.act()).await.expect("admitted")
    };
    admit().await;
    make(&world, token("second", Role::Admin, 2)).await;
    world.store.revoke_token("operator", world.act()).await.expect("revoked");
    assert_eq!(admit().await, None);
    assert_eq!(names(&world).await, ["second"]);
}

pub(crate) async fn last_used_at_never_moves_back(world: World) {
    let id = make(&world, token("ci", Role::Viewer, 1)).await.id;
    let noted = async |seconds| {
        let at = world.now() + Duration::from_secs(seconds);
        world.store.record_token_uses(vec![(id, at)]).await.expect("noted");
        let tokens = world.store.tokens().await.expect("tokens");
        tokens[0].last_used_at.map(|at| at.since(world.now()).as_secs())
    };
    assert_eq!(noted(5).await, Some(5));
    assert_eq!(noted(3).await, Some(5));
    assert_eq!(noted(9).await, Some(9));
}
