//! Events: search, and the page of one with a row for each mapping.

use http::StatusCode;
use serde_json::json;

use super::browser::browse;
use super::visitor::Visitor;
use crate::support::app::TestApp;
use crate::support::receiver::{Behaviour, Receiver};

#[tokio::test]
async fn an_event_is_found_by_a_property_and_explained() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = TestApp::with(&[
        ("warehouse", &receiver.url("/hook"), json!({})),
        (
            "crm",
            &receiver.url("/crm"),
            json!({"mappings": [{"name": "signups", "url": receiver.url("/crm"), "trigger": "event = \"Sign Up\""}]}),
        ),
    ])
    .await;
    for (name, plan) in [("Order Completed", "pro"), ("Order Refunded", "free")] {
        let event = json!({"event": name, "userId": "ada", "properties": {"plan": plan}});
        assert_eq!(app.send("/v1/track", &event).await, StatusCode::OK);
    }
    app.until_settled(2).await;
    let token = app.token();
    browse(app.base(), async |browser| {
        browser.sign_in(&token).await;
        browser.open("/events").await;
        browser.type_into("#where", "properties.plan = \"pro\"").await;
        browser.press("Search").await;
        browser.until_text("Clear filters").await;
        let found = browser.run("return document.querySelectorAll('tbody tr').length").await;
        assert_eq!(found, 1, "{}", browser.text().await);
        browser.press("Order Completed").await;
        for shown in [
            "website/warehouse/everything",
            "website/crm/signups",
            "its trigger did not match: event = \"Sign Up\" is false",
        ] {
            browser.until_text(shown).await;
        }
        browser.press("delivered").await;
        browser.until_text("Attempt 1").await;
    })
    .await;
    app.stop().await;
}

#[tokio::test]
async fn a_search_of_deliveries_without_a_match_leads_to_the_events() {
    let app = TestApp::with(&[]).await;
    app.track("unmatched").await;
    let mut visitor = Visitor::signed_in(&app).await;
    let page = visitor.get("/deliveries?name=unmatched&state=dead").await;
    assert!(page.html.contains("href=\"/events?name=unmatched\""), "{}", page.html);
    let page = visitor.get("/events?name=unmatched").await;
    assert_eq!(page.html.matches("data-row").count(), 1, "{}", page.html);
    let page = visitor.get("/events?where=properties.%3D").await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(page.html.contains("id=\"where-fault\""), "{}", page.html);
    app.stop().await;
}
