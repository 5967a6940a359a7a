//! The live list of events: streaming, pause, search, reconnect, hostile payloads, sessions.

use http::{Method, StatusCode};
use serde_json::json;

use super::browser::{Browser, browse};
use super::visitor::Visitor;
use crate::auth::bare;
use crate::support::app::{Builder, TestApp, pipeline};
use crate::support::sse::Sse;
use crate::support::tcp_proxy::TcpProxy;

/// Opens the page and returns once its stream is connected.
async fn watch(browser: &Browser, path: &str) {
    browser.open(path).await;
    browser.until_text("streaming").await;
}

/// The names of the events that are seen, newest first.
async fn seen(browser: &Browser) -> Vec<String> {
    let script = "return [...document.querySelectorAll('.rows > li:not([hidden]) strong')].map((it) => it.innerText)";
    let names = browser.run(script).await;
    names.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
}

async fn until_seen(browser: &Browser, wanted: &[&str]) {
    browser.until(&format!("{wanted:?}"), async || seen(browser).await == wanted).await;
}

#[tokio::test]
async fn accepted_and_rejected_events_appear_live_and_are_searched() {
    let app = TestApp::with(&[("crm", "https://127.0.0.1:1/", json!({}))]).await;
    let token = app.token();
    app.track("Before").await;
    browse(app.base(), async |browser| {
        browser.sign_in(&token).await;
        watch(&browser, "/live").await;
        until_seen(&browser, &["Before"]).await;
        let page = json!({"name": "Home", "userId": "ada", "messageId": "m2"});
        assert_eq!(app.send("/v1/page", &page).await, StatusCode::OK);
        let wrong = json!({"event": 7, "userId": "u", "messageId": "wrong"});
        assert_eq!(app.send("/v1/track", &wrong).await, StatusCode::OK);
        until_seen(&browser, &["wrong", "Home", "Before"]).await;
        assert!(browser.text().await.contains("rejected"), "{}", browser.text().await);

        browser.type_into("#text", "ADA").await;
        until_seen(&browser, &["Home"]).await;
        browser.until_text("1 of 3 shown").await;
        browser.until_at("/live?text=ADA").await;
        // The search covers the body and applies to new events.
        browser.type_into("#text", "m2").await;
        until_seen(&browser, &["Home"]).await;
        app.track("Other").await;
        browser.until_text("1 of 4 shown").await;

        browser.press("Clear filters").await;
        browser.until_text("streaming").await;
        until_seen(&browser, &["Other", "wrong", "Home", "Before"]).await;
        browser.run("document.querySelectorAll('summary[data-row]')[2].click()").await;
        browser.until_text("\"userId\": \"ada\"").await;
        browser.run("document.querySelector('[value=raw]').click()").await;
        browser.until_text("\"userId\":\"ada\"").await;
        browser.press("View deliveries").await;
        browser.until_text("Deliveries").await;
        assert!(browser.path().await.starts_with("/deliveries?event=evt_"));
    })
    .await;
    app.stop().await;
}

#[tokio::test]
async fn events_during_a_pause_are_counted_and_shown_on_resume() {
    let app = TestApp::with(&[]).await;
    let token = app.token();
    browse(app.base(), async |browser| {
        browser.sign_in(&token).await;
        watch(&browser, "/live").await;
        browser.press("Pause").await;
        browser.until_text("paused").await;
        app.track("One").await;
        app.track("Two").await;
        browser.until_text("Resume (2 new)").await;
        until_seen(&browser, &[]).await;
        browser.press("Resume (2 new)").await;
        until_seen(&browser, &["Two", "One"]).await;
        browser.press("Clear").await;
        app.track("Three").await;
        until_seen(&browser, &["Three"]).await;
    })
    .await;
    app.stop().await;
}

#[tokio::test]
async fn hostile_events_are_shown_as_text() {
    const SCRIPT: &str = "<script>window.hit = 1</script><img src=x onerror='window.hit = 1'>";
    let app = TestApp::with(&[]).await;
    let token = app.token();
    let hostile = json!({
        "event": SCRIPT, "userId": format!("\u{202e}{SCRIPT}"), "messageId": SCRIPT,
        "properties": {SCRIPT: SCRIPT, "long": "x".repeat(9_000)},
    });
    assert_eq!(app.send("/v1/track", &hostile).await, StatusCode::OK);
    browse(app.base(), async |browser| {
        browser.sign_in(&token).await;
        watch(&browser, "/live").await;
        until_seen(&browser, &[SCRIPT]).await;
        let mut again = hostile.clone();
        again["messageId"] = json!(format!("again {SCRIPT}"));
        assert_eq!(app.send("/v1/track", &again).await, StatusCode::OK);
        until_seen(&browser, &[SCRIPT, SCRIPT]).await;
        browser
            .run("document.querySelectorAll('summary[data-row]').forEach((it) => it.click())")
            .await;
        browser.until_text("again <script>").await;
        let hit = browser.run("return window.hit ?? 0").await;
        let made =
            browser.run("return document.querySelectorAll('.rows script, .rows img').length").await;
        assert_eq!((hit, made), (json!(0), json!(0)));
        assert!(browser.text().await.contains("U+202E"), "what would turn the text round is named");
    })
    .await;
    app.stop().await;
}

#[tokio::test]
async fn a_lost_connection_is_shown_and_reconnected() {
    let app = TestApp::with(&[]).await;
    let token = app.token();
    let passage = TcpProxy::to(app.app.address).await;
    browse(passage.base(), async |browser| {
        browser.sign_in(&token).await;
        watch(&browser, "/live").await;
        passage.close();
        browser.until_text("disconnected, reconnecting").await;
        app.track("Meanwhile").await;
        passage.open();
        until_seen(&browser, &["Meanwhile"]).await;
        browser.until_text("streaming").await;
        app.track("After").await;
        until_seen(&browser, &["After", "Meanwhile"]).await;
        // The browser logs the lost connection.
        browser.expect_errors(&["net::ERR_"]).await;
    })
    .await;
    app.stop().await;
}

#[tokio::test]
async fn a_live_page_leads_to_the_sign_in_when_its_token_is_revoked() {
    let app = TestApp::with(&[]).await;
    let request = json!({"name": "guest", "role": "viewer"});
    let (_, made) = app.client.post("/api/v1/tokens", &request).await.unwrap();
    browse(app.base(), async |browser| {
        browser.sign_in(made["secret"].as_str().unwrap()).await;
        watch(&browser, "/live").await;
        let revoked = bare(&app.client, Method::DELETE, "/api/v1/tokens/guest").await;
        assert_eq!(revoked.status, StatusCode::NO_CONTENT);
        app.track("Not for guests").await;
        browser.until_at("/sign-in?next=%2Flive").await;
    })
    .await;
    app.stop().await;
}

#[tokio::test]
async fn a_stream_of_a_page_ends_with_its_session() {
    let app = TestApp::with(&[]).await;
    let mut visitor = Visitor::signed_in(&app).await;
    let cookie = visitor.cookie().to_owned();
    let mut stream = Sse::of_page(app.app.address, &cookie, "/live/stream").await;
    app.track("Seen").await;
    stream.until_line(|line| line.contains("Seen")).await;
    visitor.post("/sign-out", &[]).await;
    app.track("Unseen").await;
    stream.ends_without("Unseen").await;
    app.stop().await;
}

#[tokio::test]
async fn without_javascript_the_service_renders_and_searches_the_list() {
    let app = TestApp::with(&[]).await;
    let mut visitor = Visitor::signed_in(&app).await;
    let empty = visitor.get("/live").await;
    assert!(empty.html.contains("<h2>No events yet</h2>"), "{}", empty.html);
    for name in ["Order Paid", "Cart Left"] {
        app.track(name).await;
    }
    let all = visitor.get("/live").await.html;
    assert!(all.find("Cart Left") < all.find("Order Paid") && all.contains("Order Paid"), "{all}");
    assert!(all.contains("<noscript>") && all.contains(">Reload</a>"), "{all}");
    let found = visitor.get("/live?source=website&type=track&text=PAID").await.html;
    assert!(found.contains("Order Paid") && !found.contains("Cart Left"), "{found}");
    for (query, fault) in
        [("type=trak", "did you mean track?"), ("source=none", "there is no source")]
    {
        let page = visitor.get(&format!("/live?{query}")).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST);
        assert!(page.html.contains(fault) && !page.html.contains("data-stream"), "{}", page.html);
    }
    app.stop().await;
}

#[tokio::test]
async fn a_limited_visitor_sees_the_events_of_its_sources_only() {
    let app = Builder::new().start().await;
    let mut document = pipeline(&[("crm", "https://127.0.0.1:1/", json!({}))]);
    let other = json!({"name": "shop", "write_key": {"value": "another-key"}, "destinations": [
        {"name": "erp", "mappings": [{"name": "all", "url": "https://127.0.0.1:1/"}]}]});
    document["sources"].as_array_mut().unwrap().push(other);
    app.apply(document).await;
    let request = json!({"name": "erp", "role": "viewer", "destinations": ["shop/erp"]});
    let (_, made) = app.client.post("/api/v1/tokens", &request).await.unwrap();
    let mut limited = Visitor::with_token(&app, made["secret"].as_str().unwrap()).await;
    let cookie = limited.cookie().to_owned();
    let mut stream = Sse::of_page(app.app.address, &cookie, "/live/stream").await;
    app.track("Not of the shop").await;
    let body = json!({"event": "Of the shop", "userId": "u"});
    assert_eq!(app.send_with("another-key", "/v1/track", &body).await, StatusCode::OK);
    let line = stream.until_line(|line| line.contains("the shop")).await;
    assert!(line.contains("Of the shop"), "{line}");
    let page = limited.get("/live").await.html;
    assert!(page.contains("Of the shop") && !page.contains("Not of the shop"), "{page}");
    assert!(!page.contains("website"), "{page}");
    app.stop().await;
}
