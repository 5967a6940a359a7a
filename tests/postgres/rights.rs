//! Least rights, and the server's state.

use std::sync::Arc;
use std::time::Duration;

use postrider::domain::clock::Clock as _;
use serde_json::json;

use super::serve;
use crate::support::postgres::Database;

#[tokio::test]
async fn a_role_that_owns_its_schema_and_nothing_else_runs_the_service() {
    let database = Database::new().await;
    let role = format!("service_{}", std::process::id());
    database
        .execute(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'secret'; CREATE SCHEMA postrider AUTHORIZATION {role};
             REVOKE ALL ON SCHEMA public FROM PUBLIC"
        ))
        .await
        .unwrap();
    let url = database.url().replace("postrider:secret", &format!("{role}:secret"));
    let (app, _receiver) = serve(&url).await;
    for name in ["m-1", "m-2"] {
        app.track(name).await;
    }
    app.until_settled(2).await;
    app.ledger().await;
    // Every duty, days later: partitions are made, slots of de-duplication truncated, tables analyzed, days dropped.
    for hours in [0, 3, 30, 24 * 40] {
        app.clock.advance(Duration::from_secs(hours * 3_600));
        for duty in Arc::clone(&app.app.store).duties() {
            let run = duty.run(app.clock.service_now()).await;
            assert!(run.is_ok(), "{}: {run:?}", duty.name);
        }
    }
    let (status, pruned) = app.client.post("/api/v1/prune", &json!({})).await.unwrap();
    assert!(status.is_success(), "{pruned}");
    app.app.stop().await;
    database.execute(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}")).await.unwrap();
}

#[tokio::test]
async fn the_doctor_and_metrics_show_the_servers_state() {
    let database = Database::new().await;
    let (app, _receiver) = serve(&database.url()).await;
    let findings = async || {
        let (_, findings) = app.client.post("/api/v1/doctor", &json!({})).await.unwrap();
        move |check: &str| {
            let found = findings.as_array().unwrap().iter().find(|it| it["check"] == check);
            let found = found.unwrap_or_else(|| panic!("no {check}: {findings}"));
            (found["ok"] == true, found["detail"].as_str().unwrap().to_owned())
        }
    };
    let before = findings().await;
    assert_eq!(
        before("partitions ahead"),
        (true, "2 days after today have their partitions".to_owned())
    );
    for check in ["dead rows", "oldest snapshot"] {
        assert!(before(check).0, "{:?}", before(check));
    }
    // A slot that nothing reads; days pass and no partition is made.
    let slot = format!("slot_{}", std::process::id());
    database
        .execute(&format!("SELECT pg_create_physical_replication_slot('{slot}', true)"))
        .await
        .unwrap();
    app.clock.advance(Duration::from_secs(2 * 24 * 3_600));
    let after = findings().await;
    assert_eq!(
        after("partitions ahead"),
        (false, "0 days after today have their partitions".to_owned())
    );
    assert!(!after("replication").0, "{:?}", after("replication"));
    let duties = Arc::clone(&app.app.store).duties();
    let shown = duties.iter().find(|duty| duty.name == "server state").expect("the duty");
    shown.run(app.clock.service_now()).await.unwrap();
    let metrics = &app.app.metrics.postgres;
    assert_eq!(metrics.partition_days_ahead.get(), 0);
    assert!(metrics.inactive_slots.get() >= 1);
    database.execute(&format!("SELECT pg_drop_replication_slot('{slot}')")).await.unwrap();
}
