//! The page of the audit log: changed values, verification of the hash chain, paging.

use http::StatusCode;
use serde_json::json;

use super::visitor::Visitor;
use crate::support::app::{TestApp, pipeline};

#[tokio::test]
async fn an_entry_lists_the_changed_values_only() {
    let before = json!({"timeout_ms": 5_000});
    let app = TestApp::with(&[("crm", "https://a.example/", before)]).await;
    app.apply(pipeline(&[("crm", "https://a.example/", json!({"timeout_ms": 9_000}))])).await;
    let mut visitor = Visitor::signed_in(&app).await;
    let page = visitor.get("/audit?action=change&subject=website%2Fcrm").await.html;
    assert!(page.contains("<del><bdi>5000</bdi></del>"), "{page}");
    assert!(page.contains("<ins><bdi>9000</bdi></ins>"), "{page}");
    assert_eq!(page.matches("<del>").count(), 1, "unchanged values are not listed: {page}");
    let none = visitor.get("/audit?actor=nobody").await.html;
    assert!(none.contains("No matching entries"), "{none}");
    let wrong = visitor.get("/audit?since=yesterday&action=dance").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert!(wrong.html.contains("since-fault") && wrong.html.contains("yesterday"));
    app.stop().await;
}

#[tokio::test]
async fn the_log_is_verified_against_a_known_head_hash() {
    let app = TestApp::with(&[("crm", "https://a.example/", json!({}))]).await;
    let mut visitor = Visitor::signed_in(&app).await;
    let page = visitor.get("/audit").await.html;
    assert!(page.contains("entries are intact."), "{page}");
    let (_, after) = page.split_once("<code id=\"head\">").unwrap();
    let kept = after.split('<').next().unwrap().to_owned();
    let ask = |kept: &str| format!("/audit?verify=now&kept={}", kept.replace(':', "%3A"));
    let page = visitor.get(&ask(&kept)).await.html;
    assert!(page.contains("with the given head hash is unchanged."), "{page}");
    let other = format!("1:{}", "0".repeat(64));
    let page = visitor.get(&ask(&other)).await.html;
    assert!(page.contains("is missing or altered"), "{page}");
    let page = visitor.get(&ask("nonsense")).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(page.html.contains("kept-fault") && page.html.contains("nonsense"), "{}", page.html);
    app.stop().await;
}

#[tokio::test]
async fn entries_are_paged_without_gaps() {
    let app = TestApp::with(&[]).await;
    for number in 0..6 {
        let request = json!({"name": format!("token-{number}"), "role": "viewer"});
        app.client.post("/api/v1/tokens", &request).await.unwrap();
    }
    let mut visitor = Visitor::signed_in(&app).await;
    let mut path = "/audit?action=create_token&limit=4".to_owned();
    let mut seen = Vec::new();
    loop {
        let html = visitor.get(&path).await.html;
        let names = html.split("token-").skip(1).filter_map(|it| it.chars().next());
        seen.extend(names.filter(char::is_ascii_digit));
        let Some((_, after)) = html.split_once("rel=\"next\" href=\"") else { break };
        path = after.split('"').next().unwrap().replace("&#38;", "&");
        if !path.contains("limit") {
            path.push_str("&limit=4");
        }
    }
    seen.dedup();
    assert_eq!(seen.iter().collect::<String>(), "543210");
    app.stop().await;
}
