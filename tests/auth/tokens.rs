//! Tokens over HTTP and from the command line: created, used within their rights, revoked.

use std::time::Duration;

use http::Method;
use postrider::auth::AuthenticationError;
use postrider::domain::clock::Clock as _;
use serde_json::{Value, json};

use super::{bare, bearing, problem, with_role};
use crate::operator::commands::ask;
use crate::support::app::{Builder, TestApp};

async fn make(app: &TestApp, request: Value) -> (u16, Value) {
    let (status, answer) = app.client.post("/api/v1/tokens", &request).await.unwrap();
    (status.as_u16(), answer)
}

async fn listed(app: &TestApp) -> Vec<Value> {
    let (_, page) = app.client.get("/api/v1/tokens").await.unwrap();
    page["items"].as_array().unwrap().clone()
}

/// What each role may not, by method and path.
const ACTS: [(&str, &str, &str); 8] = [
    ("POST", "/api/v1/redrives", "operator"),
    ("POST", "/api/v1/discards", "operator"),
    ("POST", "/api/v1/jobs/job_x/cancel", "operator"),
    ("POST", "/api/v1/doctor", "operator"),
    ("POST", "/api/v1/mappings/a/b/c/tests", "operator"),
    ("POST", "/api/v1/pipeline", "admin"),
    ("POST", "/api/v1/tokens", "admin"),
    ("DELETE", "/api/v1/tokens/x", "admin"),
];

#[tokio::test]
async fn an_insufficient_role_is_reported_before_any_other_error() {
    let app = Builder::new().start().await;
    let viewer = with_role(&app, "viewer", &[]).await;
    let operator = with_role(&app, "operator", &[]).await;
    for (method, path, needed) in ACTS {
        let method: Method = method.parse().unwrap();
        for (client, refused) in [(&viewer, true), (&operator, needed == "admin")] {
            let answer = bare(client, method.clone(), path).await;
            assert_eq!(answer.status == 403, refused, "{method} {path}: {answer:?}");
            if refused {
                let detail = answer.json()["detail"].as_str().unwrap().to_owned();
                assert!(detail.contains(&format!("role {needed}")), "{detail}");
            }
        }
        assert_ne!(bare(&app.client, method, path).await.status, 403, "{path}");
    }
    for path in ["/pipeline", "/deliveries", "/events", "/jobs", "/tokens", "/status"] {
        let (status, _) = viewer.get(&format!("/api/v1{path}")).await.unwrap();
        assert_eq!(status, 200, "{path}");
    }
}

#[tokio::test]
async fn failed_authentication_has_a_reason() {
    let app = Builder::new().start().await;
    let ends = (app.clock.now() + Duration::from_secs(60)).to_iso();
    let (_, made) = make(&app, json!({"name": "t", "role": "viewer", "expires_at": ends})).await;
    let client = bearing(&app, made["secret"].as_str().unwrap());
    assert_eq!(client.get("/api/v1/status").await.unwrap().0, 200);
    app.clock.advance(Duration::from_secs(60));
    let expired = client.get("/api/v1/status").await.unwrap();
    assert!(expired.1["detail"].as_str().unwrap().contains("expired"), "{}", expired.1);
    assert_eq!(problem(expired), (401, "unauthorized".to_owned()));

    for wrong in ["prt_x", "", "Bearer"] {
        let answer = bare(&bearing(&app, wrong), Method::GET, "/api/v1/status").await;
        assert_eq!(answer.status, 401, "{wrong:?}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
}

#[tokio::test]
async fn a_token_creates_none_with_more_rights_than_its_own() {
    let app = Builder::new().start().await;
    let limited = with_role(&app, "admin", &["website/crm"]).await;
    for beyond in [
        json!({"name": "x", "role": "viewer"}),
        json!({"name": "x", "role": "viewer", "destinations": ["website/erp"]}),
        json!({"name": "x", "role": "admin", "destinations": ["website/crm", "website/erp"]}),
    ] {
        let answer = limited.post("/api/v1/tokens", &beyond).await.unwrap();
        assert_eq!(problem(answer), (403, "forbidden".to_owned()), "{beyond}");
    }
    let within = json!({"name": "x", "role": "admin", "destinations": ["website/crm"]});
    assert_eq!(limited.post("/api/v1/tokens", &within).await.unwrap().0, 201);
    // What reaches further is not there for it: neither to see nor to revoke.
    let (_, page) = limited.get("/api/v1/tokens").await.unwrap();
    let names: Vec<_> = page["items"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["a-admin-1", "x"]);
    let answer = bare(&limited, Method::DELETE, "/api/v1/tokens/operator").await;
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn invalid_token_requests_are_reported_by_field() {
    let app = Builder::new().start().await;
    let wrong = json!({
        "name": "no spaces", "role": "king", "destinations": ["web"], "expires_at": "tomorrow",
    });
    let (status, answer) = make(&app, wrong).await;
    let fields: Vec<_> = answer["faults"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["path"].as_str().unwrap())
        .collect();
    assert_eq!(fields, ["name", "role", "destinations[0]", "expires_at"]);
    assert_eq!((status, &answer["code"]), (422, &json!("invalid")));
    let past = json!({"name": "x", "role": "viewer", "expires_at": "2001-01-01T00:00:00Z"});
    assert_eq!(make(&app, past).await.0, 422);
    assert_eq!(make(&app, json!({"name": "operator", "role": "viewer"})).await.0, 409);
}

#[tokio::test]
async fn a_revoked_token_is_refused_and_the_last_admin_token_is_kept() {
    let app = Builder::new().start().await;
    let answer = bare(&app.client, Method::DELETE, "/api/v1/tokens/operator").await;
    assert_eq!(answer.status, 409, "{answer:?}");
    let second = with_role(&app, "admin", &[]).await;
    assert_eq!(bare(&second, Method::DELETE, "/api/v1/tokens/operator").await.status, 204);
    assert_eq!(app.client.get("/api/v1/status").await.unwrap().0, 401);
    // A restart does not bring it back.
    let secret = std::fs::read_to_string(app.dir.path().join("postrider.token")).unwrap();
    let (dir, clock) = app.stop().await;
    let app = Builder::after(dir, clock).start().await;
    assert_eq!(bearing(&app, secret.trim()).get("/api/v1/status").await.unwrap().0, 401);
}

#[tokio::test]
async fn times_of_last_use_are_stored_without_a_commit_per_request() {
    let app = Builder::new().start().await;
    let viewer = with_role(&app, "viewer", &[]).await;
    app.clock.advance(Duration::from_secs(5));
    viewer.get("/api/v1/status").await.unwrap();
    let used_at = app.clock.now().to_iso();
    let of = |tokens: Vec<Value>| {
        tokens.into_iter().find(|it| it["name"] == "a-viewer-0").unwrap()["last_used_at"].clone()
    };
    assert_eq!(of(listed(&app).await), used_at.as_str());
    assert_eq!(app.app.store.tokens().await.unwrap()[0].last_used_at, None);
    let (dir, clock) = app.stop().await;
    let app = Builder::after(dir, clock).start().await;
    assert_eq!(of(listed(&app).await), used_at.as_str());
}

#[tokio::test]
async fn tokens_are_created_listed_and_revoked_from_the_command_line() {
    let app = Builder::new().start().await;
    let (code, secret, stderr) = ask(
        &app,
        &["tokens", "create", "ci", "--role", "operator", "--expires", "2100-01-01T00:00:00Z"],
    )
    .await;
    assert_eq!(code, 0, "{stderr}");
    let secret = secret.trim().to_owned();
    assert!(secret.starts_with("prt_") && !secret.contains('\n'));
    assert_eq!(bearing(&app, &secret).get("/api/v1/status").await.unwrap().0, 200);

    let (_, list, _) = ask(&app, &["tokens", "list", "--json"]).await;
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(
        (&list["items"][0]["name"], &list["items"][0]["role"]),
        (&json!("ci"), &json!("operator"))
    );
    assert!(!list.to_string().contains(&secret));
    let (_, plain, _) = ask(&app, &["tokens"]).await;
    assert!(plain.contains("ci") && !plain.contains(&secret), "{plain}");

    let (code, _, _) = ask(&app, &["tokens", "revoke", "ci"]).await;
    assert_eq!(code, 0);
    let (code, _, stderr) = ask(&app, &["tokens", "revoke", "ci"]).await;
    assert_eq!(code, 3, "{stderr}");
    let (code, _, stderr) = ask(&app, &["tokens", "revoke", "operator"]).await;
    assert!(code == 1 && stderr.contains("last token"), "{stderr}");
    let (code, _, stderr) = ask(&app, &["tokens", "create", "x", "--role", "king"]).await;
    assert!(code == 2 && stderr.contains("viewer, operator, admin"), "{stderr}");
}

#[tokio::test]
async fn a_session_is_authenticated_until_its_token_ends() {
    let app = Builder::new().start().await;
    let ends = (app.clock.now() + Duration::from_secs(60)).to_iso();
    let (_, made) = make(&app, json!({"name": "t", "role": "viewer", "expires_at": ends})).await;
    let authenticator = &app.app.duties.authenticator;
    let caller = authenticator.authenticate(made["secret"].as_str().unwrap(), None).unwrap();
    assert_eq!(authenticator.authenticate_session(caller.token_id, None), Ok(caller.clone()));
    app.clock.advance(Duration::from_secs(60));
    assert_eq!(
        authenticator.authenticate_session(caller.token_id, None),
        Err(AuthenticationError::Expired)
    );
    assert_eq!(bare(&app.client, Method::DELETE, "/api/v1/tokens/t").await.status, 204);
    assert_eq!(
        authenticator.authenticate_session(caller.token_id, None),
        Err(AuthenticationError::Unknown)
    );
}

#[tokio::test]
async fn a_token_cannot_have_the_name_of_an_actor_that_is_no_token() {
    let app = Builder::new().start().await;
    for name in ["postrider", "Postrider", "unknown", "UNKNOWN"] {
        let (status, answer) = make(&app, json!({"name": name, "role": "viewer"})).await;
        assert_eq!(status, 422, "{name}: {answer}");
        assert_eq!(answer["faults"][0]["path"], "name", "{answer}");
    }
    app.stop().await;
}
