//! The audit log end to end: actor, time, address; no secrets; tampering is detected.

use serde_json::{Value, json};

use super::{bearing, with_role};
use crate::operator::commands::ask;
use crate::store::sqlite::execute;
use crate::support::app::{Builder, TestApp, pipeline};
use crate::support::receiver::{Behaviour, Receiver};

const CANARY: &str = "canary-never-to-be-shown";

async fn entries(app: &TestApp, query: &str) -> Vec<Value> {
    let (status, page) = app.client.get(&format!("/api/v1/audit{query}")).await.unwrap();
    assert_eq!(status, 200, "{page}");
    page["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn every_audit_entry_has_actor_address_and_change() {
    let receiver = Receiver::start(Behaviour::status(500)).await;
    let app = TestApp::with(&[("crm", &receiver.url("/"), json!({}))]).await;
    let operator = with_role(&app, "operator", &[]).await;
    let redrive = json!({"filter": {"state": "dead"}, "note": "after the fix"});
    assert_eq!(operator.post("/api/v1/redrives", &redrive).await.unwrap().0, 202);
    let test = json!({"sample": "track", "send": true});
    let path = "/api/v1/mappings/website/crm/everything/tests";
    assert_eq!(operator.post(path, &test).await.unwrap().0, 200);
    let told = entries(&app, "?actor=a-operator-0").await;
    let actions: Vec<_> = told.iter().map(|it| it["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["test_send", "redrive"]);
    let redrive = &told[1];
    assert_eq!((&redrive["role"], &redrive["note"]), (&json!("operator"), &json!("after the fix")));
    assert_eq!((&redrive["from"], &redrive["before"]), (&json!("127.0.0.1"), &json!(null)));
    assert_eq!(told[0]["subject"], "website/crm/everything");
    let made = entries(&app, "?action=create&subject=website").await;
    let made: Vec<_> = made.iter().map(|it| it["subject"].as_str().unwrap()).collect();
    assert_eq!(made, ["website/crm/everything", "website/crm", "website"]);
    // A dry run, a refusal and a look leave nothing.
    let count = entries(&app, "").await.len();
    let dry = json!({"filter": {"state": "dead"}, "dry_run": true});
    app.client.post("/api/v1/redrives", &dry).await.unwrap();
    app.client.post("/api/v1/redrives", &json!({"filter": {"state": "x"}})).await.unwrap();
    app.client.get("/api/v1/pipeline").await.unwrap();
    assert_eq!(entries(&app, "").await.len(), count);
}

#[tokio::test]
async fn a_scoped_token_sees_the_audit_entries_of_its_destinations() {
    let app = Builder::new().start().await;
    let url = "https://127.0.0.1:1/";
    app.apply(pipeline(&[("crm", url, json!({})), ("erp", url, json!({}))])).await;
    let limited = with_role(&app, "viewer", &["website/crm"]).await;
    let (_, page) = limited.get("/api/v1/audit").await.unwrap();
    let seen = page["items"].as_array().unwrap();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|it| it["subject"].as_str().unwrap().starts_with("website/crm")));
    assert_eq!(limited.get("/api/v1/audit/verification").await.unwrap().0, 403);
}

#[tokio::test]
async fn no_audit_entry_contains_a_secret() {
    let app = Builder::new().start().await;
    let mut document = pipeline(&[(
        "crm",
        "https://127.0.0.1:1/",
        json!({
            "shared_secret": {"value": CANARY},
            "auth": {"kind": "bearer", "token": {"value": CANARY}},
            "secret_headers": {"X-Key": {"value": CANARY}},
        }),
    )]);
    document["sources"][0]["write_key"] = json!({"value": CANARY});
    app.apply(document.clone()).await;
    let count = entries(&app, "").await.len();
    // Another secret of the same length at the same moment is a change.
    document["sources"][0]["destinations"][0]["shared_secret"] =
        json!({"value": CANARY.to_uppercase()});
    app.apply(document).await;
    assert_eq!(entries(&app, "").await.len(), count + 1);
    let (_, made) =
        app.client.post("/api/v1/tokens", &json!({"name": "t", "role": "viewer"})).await.unwrap();
    let authenticator = &app.app.duties.authenticator;
    let secret = made["secret"].as_str().unwrap();
    let caller = authenticator.sign_in(secret, None).await.unwrap();
    authenticator.sign_out(&caller).await;
    assert!(authenticator.sign_in(CANARY, None).await.is_err());
    let told = Value::from(entries(&app, "?limit=1000").await).to_string();
    for secret in [CANARY, &CANARY.to_uppercase(), secret] {
        assert!(!told.contains(secret), "{told}");
    }
    for action in ["sign_in", "sign_out", "refuse_sign_in", "create_token"] {
        assert!(told.contains(&format!("\"{action}\"")), "{action}");
    }
}

#[tokio::test]
async fn failed_sign_ins_do_not_fill_the_audit_log() {
    let app = Builder::new().start().await;
    for _ in 0..25 {
        assert!(app.app.duties.authenticator.sign_in("wrong", None).await.is_err());
    }
    assert_eq!(entries(&app, "?action=refuse_sign_in").await.len(), 10);
    app.clock.advance(std::time::Duration::from_secs(60));
    assert!(app.app.duties.authenticator.sign_in("wrong", None).await.is_err());
    let told = entries(&app, "?action=refuse_sign_in&limit=1").await;
    assert_eq!(told[0]["after"]["not_kept_before"], 15);
}

#[tokio::test]
async fn audit_entries_are_paginated() {
    let app = Builder::new().start().await;
    for number in 0..4 {
        with_role(&app, "viewer", &vec!["a/b"; number]).await;
    }
    let (_, first) = app.client.get("/api/v1/audit?limit=3").await.unwrap();
    let next = first["next"].as_str().unwrap();
    let (_, rest) = app.client.get(&format!("/api/v1/audit?limit=3&before={next}")).await.unwrap();
    assert_eq!(rest["next"], json!(null));
    let numbers = |page: &Value| -> Vec<i64> {
        page["items"].as_array().unwrap().iter().map(|it| it["number"].as_i64().unwrap()).collect()
    };
    assert_eq!([numbers(&first), numbers(&rest)].concat(), [5, 4, 3, 2, 1]);
}

/// Changes made directly in the file are detected.
#[tokio::test]
async fn verification_detects_tampering() {
    for (statement, broken) in [
        ("UPDATE audit SET actor = 'nobody' WHERE number = 2", Some(2)),
        ("UPDATE audit SET after = NULL WHERE number = 3", Some(3)),
        ("DELETE FROM audit WHERE number = 2", Some(2)),
        ("UPDATE audit SET number = number + 1 WHERE number = 4", Some(4)),
        // The end of a chain can be cut off: what was kept of it elsewhere tells.
        ("DELETE FROM audit WHERE number = 4", None),
    ] {
        let app = Builder::new().start().await;
        for number in 0..3 {
            with_role(&app, "viewer", &vec!["a/b"; number]).await;
        }
        let (code, told, _) = ask(&app, &["audit", "verify"]).await;
        assert_eq!(code, 0, "{told}");
        let kept = told.lines().last().unwrap().to_owned();
        assert!(kept.starts_with("4:"), "{kept}");
        let (code, _, _) = ask(&app, &["audit", "verify", "--kept", &kept]).await;
        assert_eq!(code, 0);
        let (dir, clock) = app.stop().await;
        let file = dir.path().join("postrider.db");
        // The triggers stop a program; an attacker with the file drops them first.
        assert!(execute(&file, statement).await.is_err(), "{statement}");
        for trigger in ["audit_is_append_only", "audit_is_kept"] {
            execute(&file, &format!("DROP TRIGGER {trigger}")).await.unwrap();
        }
        execute(&file, statement).await.unwrap();
        let app = Builder::after(dir, clock).start().await;
        let (_, verdict) = app.client.get("/api/v1/audit/verification").await.unwrap();
        assert_eq!(verdict["broken"].as_i64(), broken, "{statement}: {verdict}");
        let (code, told, _) = ask(&app, &["audit", "verify", "--kept", &kept]).await;
        assert_eq!(code, 1, "{statement}: {told}");
    }
}

#[tokio::test]
async fn audit_entries_are_listed_from_the_command_line() {
    let app = Builder::new().start().await;
    with_role(&app, "viewer", &[]).await;
    let (code, told, _) = ask(&app, &["audit", "list", "--action", "create_token", "--json"]).await;
    let page: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &page["items"][0]["subject"]), (0, &json!("a-viewer-0")));
    let (code, _, stderr) = ask(&app, &["audit", "list", "--action", "creat"]).await;
    assert!(code == 2 && stderr.contains("did you mean create?"), "{stderr}");
    let nobody = bearing(&app, "prt_x");
    assert_eq!(nobody.get("/api/v1/audit").await.unwrap().0, 401);
}
