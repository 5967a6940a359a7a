//! The list of attempts, from the API and the command line; and idempotent retries of commands.

use serde_json::{Value, json};

use super::commands::ask;
use crate::auth::with_role;
use crate::support::app::TestApp;
use crate::support::receiver::{Behaviour, Receiver};
use crate::support::request::Request;
use crate::support::tcp_proxy::TcpProxy;

/// Two events, each for one that takes it and one that refuses it.
async fn with_attempts() -> TestApp {
    let taking = Receiver::start(Behaviour::ok()).await;
    let refusing = Receiver::start(Behaviour::status(422)).await;
    let app = TestApp::with(&[
        ("crm", &taking.url("/"), json!({})),
        ("billing", &refusing.url("/"), json!({})),
    ])
    .await;
    app.track("one").await;
    app.until_settled(2).await;
    app.clock.advance(std::time::Duration::from_secs(3_600));
    app.track("two").await;
    app.until_settled(4).await;
    app
}

async fn listed(app: &TestApp, query: &str) -> Vec<Value> {
    let (status, page) = app.client.get(&format!("/api/v1/attempts{query}")).await.unwrap();
    assert_eq!(status, 200, "{page}");
    page["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn attempts_are_listed_over_all_deliveries_by_every_filter() {
    let app = with_attempts().await;
    let all = listed(&app, "").await;
    assert_eq!(all.len(), 4);
    let times: Vec<_> = all.iter().map(|it| it["recorded_at"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|one, next| one >= next), "newest first: {times:?}");
    let delivery = all[3]["delivery"].as_str().unwrap();
    let middle = (postrider::domain::clock::Clock::now(&*app.clock)
        - std::time::Duration::from_secs(1_800))
    .to_iso();
    for (query, count) in [
        ("?destination=crm".to_owned(), 2),
        ("?mapping=website/billing/everything".to_owned(), 2),
        ("?outcome=delivered".to_owned(), 2),
        ("?outcome=timeout".to_owned(), 0),
        ("?status=422".to_owned(), 2),
        ("?status=2xx".to_owned(), 2),
        ("?status=2xx&destination=billing".to_owned(), 0),
        (format!("?delivery={delivery}"), 1),
        (format!("?since={middle}"), 2),
        (format!("?until={middle}"), 2),
        (format!("?since={middle}&status=4xx"), 1),
    ] {
        assert_eq!(listed(&app, &query).await.len(), count, "{query}");
    }
    let shown = &listed(&app, "?status=422").await[0];
    assert_eq!(shown["mapping"], "website/billing/everything");
    assert_eq!((&shown["outcome"], &shown["number"]), (&json!("rejected"), &json!(1)));
    let limited = with_role(&app, "viewer", &["website/crm"]).await;
    let (_, page) = limited.get("/api/v1/attempts").await.unwrap();
    let seen = page["items"].as_array().unwrap();
    assert!(seen.len() == 2 && seen.iter().all(|it| it["destination"] == "website/crm"), "{page}");
    for (query, field) in
        [("status=2000", "status"), ("outcom=x", "outcom"), ("delivery=evt_1", "delivery")]
    {
        let path = format!("/api/v1/attempts?{query}");
        let (status, problem) = app.client.get(&path).await.unwrap();
        assert_eq!((status.as_u16(), &problem["faults"][0]["path"]), (422, &json!(field)));
    }
    app.stop().await;
}

#[tokio::test]
async fn a_page_links_to_the_next_one_with_the_same_filter() {
    let app = with_attempts().await;
    let mut path = "/attempts?destination=website/crm&limit=1".to_owned();
    let mut seen = Vec::new();
    loop {
        let answer = Request::new("GET", &path).send(&app).await.is(200);
        seen.extend(answer.body["items"].as_array().unwrap().iter().map(|it| it["id"].clone()));
        let Some(link) = answer.header("link") else { break };
        let target =
            link.strip_prefix("</api/v1").and_then(|it| it.strip_suffix(">; rel=\"next\""));
        path = target.unwrap_or_else(|| panic!("{link}")).to_owned();
        assert!(path.contains("destination=website%2Fcrm&limit=1&before=att_"), "{path}");
    }
    assert_eq!(seen.len(), 2);
    for list in ["/deliveries", "/dead-letters", "/events", "/audit"] {
        let answer = Request::new("GET", format!("{list}?limit=1")).send(&app).await.is(200);
        let link = answer.header("link").unwrap_or_else(|| panic!("{list}: {answer:?}"));
        let next = answer.body["next"].as_str().unwrap();
        assert_eq!(link, format!("</api/v1{list}?limit=1&before={next}>; rel=\"next\""));
        let whole = Request::new("GET", format!("{list}?limit=1000")).send(&app).await.is(200);
        assert_eq!(whole.header("link"), None, "{list}");
    }
    app.stop().await;
}

#[tokio::test]
async fn attempts_are_listed_from_the_command_line() {
    let app = with_attempts().await;
    let arguments = ["attempts", "--status", "4xx", "--limit", "1", "--json"];
    let (code, told, stderr) = ask(&app, &arguments).await;
    let page: Value = serde_json::from_str(&told).unwrap_or_else(|_| panic!("{stderr}"));
    assert_eq!((code, &page["items"][0]["status"]), (0, &json!(422)));
    let next = page["next"].as_str().unwrap();
    let (_, told, _) = ask(&app, &["attempts", "--status", "4xx", "--before", next]).await;
    assert!(told.contains("website/billing/everything") && told.contains("rejected"), "{told}");
    let (code, _, stderr) = ask(&app, &["attempts", "--outcome", "rejectd"]).await;
    assert!(code == 2 && stderr.contains("did you mean rejected?"), "{stderr}");
    app.stop().await;
}

/// The command line asks again where the answer was lost: what was done is not done twice.
#[tokio::test]
async fn a_retried_command_is_idempotent() {
    let app = with_attempts().await;
    let passage = TcpProxy::to(app.app.address).await;
    passage.lose_next_response();
    let arguments = ["--url", &passage.base(), "tokens", "create", "ci", "--role", "viewer"];
    let (code, secret, stderr) = ask(&app, &arguments).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(secret.starts_with("prt_"), "{secret}");
    let (_, told) = app.client.get("/api/v1/audit?action=create_token").await.unwrap();
    assert_eq!(told["items"].as_array().unwrap().len(), 1 + 1, "the machine's own and this one");
    app.stop().await;
}
