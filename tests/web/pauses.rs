//! The buttons that pause and resume, and where a pause shows.

use http::StatusCode;
use serde_json::json;

use super::visitor::Visitor;
use crate::auth::token_of;
use crate::support::app::{Builder, TestApp, execute};
use crate::support::receiver::{Behaviour, Receiver};

const DESTINATION: &str = "/sources/website/destinations/crm";
const MAPPING: &str = "/sources/website/destinations/crm/mappings/everything";

#[tokio::test]
async fn an_operator_pauses_and_resumes_on_the_pages() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = TestApp::with(&[("crm", &receiver.url("/"), json!({}))]).await;
    let operator = token_of(&app, "operator", &[]).await;
    let mut visitor = Visitor::with_token(&app, &operator).await;
    for path in [DESTINATION, MAPPING] {
        assert!(visitor.get(path).await.html.contains(&format!("action=\"{path}/pause\"")));
        let answer = visitor.post(&format!("{path}/pause"), &[]).await;
        assert_eq!((answer.status, answer.leads_to()), (StatusCode::SEE_OTHER, path));
        let page = visitor.get(path).await.html;
        assert!(page.contains("<span class=\"badge warn\">paused</span>"), "{page}");
        assert!(page.contains("by a-operator-0"), "{page}");
        assert!(page.contains(&format!("action=\"{path}/resume\"")));
    }
    app.track("held").await;
    let overview = visitor.get("/").await.html;
    assert!(overview.contains("website/crm is paused by a-operator-0, 1 waiting"), "{overview}");
    for path in [DESTINATION, MAPPING] {
        let wrong = visitor.post(&format!("{path}/resume"), &[("rate_per_second", "many")]).await;
        assert_eq!(wrong.leads_to(), path);
        let answer = visitor.post(&format!("{path}/resume"), &[("rate_per_second", "")]).await;
        assert_eq!((answer.status, answer.leads_to()), (StatusCode::SEE_OTHER, path));
    }
    app.until_settled(1).await;
    assert!(!visitor.get(DESTINATION).await.html.contains("badge warn"));
    let viewer = token_of(&app, "viewer", &[]).await;
    let mut visitor = Visitor::with_token(&app, &viewer).await;
    assert_eq!(visitor.post(&format!("{MAPPING}/pause"), &[]).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_mapping_that_does_not_compile_says_so_with_what_waits() {
    let app = TestApp::with(&[("crm", "http://127.0.0.1:9/", json!({}))]).await;
    let (dir, clock) = app.stop().await;
    execute(
        dir.path(),
        "DROP TRIGGER mapping_revisions_are_immutable;
        UPDATE mapping_revisions SET definition = json_set(definition, '$.trigger', 'later(')",
    )
    .await;
    let app = Builder::after(dir, clock).start().await;
    app.track("held").await;
    let mut visitor = Visitor::signed_in(&app).await;
    let page = visitor.get(MAPPING).await.html;
    assert!(page.contains("does not compile"), "{page}");
    assert!(page.contains("1 delivery wait"), "{page}");
    let overview = visitor.get("/").await.html;
    assert!(overview.contains("website/crm/everything does not compile, 1 waiting"), "{overview}");
}
