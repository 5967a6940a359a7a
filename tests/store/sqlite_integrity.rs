//! SQLite against a damaged file: CHECK constraints, unknown values, the consistency check.

use postrider::store::StoreError;

use super::sqlite::{SqliteFactory, execute};
use super::world::World;

#[tokio::test]
async fn check_constraints_reject_contradictory_rows() {
    let factory = SqliteFactory::new();
    let path = factory.path();
    let mut world = World::new(factory).await;
    let dead = world.dead("m-1", world.a).await.0;
    world.accept_pending("m-2", world.a).await;
    world.store.close().await;
    let refused = [
        format!("UPDATE deliveries SET due_at = 1 WHERE id = {dead}"),
        format!("UPDATE deliveries SET reason = NULL WHERE id = {dead}"),
        format!("UPDATE deliveries SET reason = 'bored' WHERE id = {dead}"),
        format!("UPDATE deliveries SET settled_at = NULL WHERE id = {dead}"),
        format!("UPDATE deliveries SET state = 'pending' WHERE id = {dead}"),
        format!("UPDATE deliveries SET state = 'lost' WHERE id = {dead}"),
        "UPDATE deliveries SET due_at = NULL WHERE state = 'pending'".to_owned(),
        "UPDATE deliveries SET lease_node_id = 1 WHERE state = 'pending'".to_owned(),
        "UPDATE deliveries SET token = 'one'".to_owned(),
        "UPDATE events SET type = NULL".to_owned(),
        "UPDATE events SET rejection = 'no'".to_owned(),
        "UPDATE attempts SET status = 200".to_owned(),
        "UPDATE mapping_revisions SET number = 5".to_owned(),
        "UPDATE ledger SET pending = pending + 1".to_owned(),
        "UPDATE destinations SET settings = '{}'".to_owned(),
        "INSERT INTO dedup_0 VALUES (x'00', 1)".to_owned(),
        "INSERT INTO dedup_log VALUES (1, x'00')".to_owned(),
    ];
    for sql in &refused {
        assert!(execute(&path, sql).await.is_err(), "{sql}");
    }
    world.reopen().await;
    world.check().await;
}

#[tokio::test]
async fn an_unknown_enum_value_is_an_error() {
    let factory = SqliteFactory::new();
    let path = factory.path();
    let mut world = World::new(factory).await;
    let id = world.dead("m-1", world.a).await;
    world.store.close().await;
    execute(&path, "UPDATE deliveries SET last_outcome = 'later'").await.expect("changed");
    world.reopen().await;
    let error = world.store.delivery(id).await.expect_err("refused");
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
}

#[tokio::test]
async fn headers_with_an_unknown_encoding_are_an_error() {
    let factory = SqliteFactory::new();
    let path = factory.path();
    let mut world = World::new(factory).await;
    let id = world.dead("m-1", world.a).await;
    assert_eq!(world.store.attempts_of(id).await.expect("read").len(), 1);
    world.store.close().await;
    for sql in [
        "DROP TRIGGER attempts_are_append_only",
        "UPDATE attempts SET response_headers = substr(response_headers, 1, 3)",
    ] {
        execute(&path, sql).await.expect("changed");
    }
    world.reopen().await;
    let error = world.store.attempts_of(id).await.expect_err("refused");
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
}

#[tokio::test]
async fn the_integrity_check_finds_damage() {
    let factory = SqliteFactory::new();
    let path = factory.path();
    let mut world = World::new(factory).await;
    world.dead("m-1", world.a).await;
    world.accept_pending("m-2", world.a).await;
    world.store.close().await;
    let harm = "UPDATE ledger SET accepted = accepted + 1, pending = pending + 1;
                DELETE FROM events WHERE id = 2;
                DROP TRIGGER attempts_are_append_only;
                UPDATE attempts SET response_headers = substr(response_headers, 1, 3)";
    execute(&path, harm).await.expect("harmed");
    world.reopen().await;
    let findings = world.store.check_consistency(world.service_now()).await.expect("examined");
    let wrong: Vec<_> =
        findings.iter().filter(|finding| !finding.ok).map(|finding| finding.check).collect();
    assert_eq!(wrong, ["ledger", "orphans", "headers"], "{findings:?}");
    world.store.close().await;
}
