//! Inspectors: live requests as text, the configured response, roles.

use http::StatusCode;
use serde_json::json;

use super::browser::browse;
use super::visitor::Visitor;
use crate::support::app::{Builder, TestApp, pipeline};
use crate::support::sse::Sse;

/// A service with inspectors whose one destination delivers to that of this name.
async fn inspecting(name: &str) -> TestApp {
    let app = Builder::new().settings(|it| it.inspector = true).start().await;
    let url = format!("http://{}/inspect/{name}", app.app.address);
    app.apply(pipeline(&[("one", &url, json!({}))])).await;
    app
}

#[tokio::test]
async fn requests_are_shown_live_and_a_configured_failure_is_retried() {
    let app = inspecting("orders").await;
    let token = app.token();
    browse(app.base(), async |browser| {
        browser.sign_in(&token).await;
        browser.open("/inspectors").await;
        browser.type_into("#name", "orders").await;
        browser.press("Open").await;
        browser.until_at("/inspectors/orders").await;
        browser.until_text("the shared secret of website/one").await;
        browser.until_text("streaming").await;
        app.track("Order Paid").await;
        app.until_settled(1).await;
        browser.until_text("#1").await;
        browser.run("document.querySelector('summary[data-row]').click()").await;
        for shown in ["verified", "webhook-id: dlv_", "\"event\": \"Order Paid\""] {
            browser.until_text(shown).await;
        }

        browser.type_into("#statuses", "503,200").await;
        browser.press("Save").await;
        browser.until_text("Response set to 503,200.").await;
        browser.until_text("streaming").await;
        app.track("Order Shipped").await;
        browser.until_text("#2").await;
        app.until_tried(1, 1).await;
        app.advance_to_due().await;
        app.until_settled(2).await;
        browser.until_text("#3 attempt 2").await;
        let answered =
            "return [...document.querySelectorAll('.rows .from')].map((it) => it.innerText)";
        assert_eq!(browser.run(answered).await, json!(["200", "503", "200"]));

        browser.press("Reset…").await;
        browser.press("Reset").await;
        browser.until_at("/inspectors").await;
        browser.until_text("Inspector orders was reset.").await;
    })
    .await;
    app.stop().await;
}

#[tokio::test]
async fn a_hostile_request_is_shown_as_text() {
    const SCRIPT: &str = "<script>window.hit = 1</script><img src=x onerror='window.hit = 1'>";
    let app = inspecting("any").await;
    let token = app.token();
    browse(app.base(), async |browser| {
        browser.sign_in(&token).await;
        browser.open("/inspectors/any").await;
        browser.until_text("streaming").await;
        for body in [json!({SCRIPT: SCRIPT}).to_string(), format!("no json {SCRIPT}")] {
            let mut headers = http::HeaderMap::new();
            headers.insert("x-hostile", SCRIPT.parse().unwrap());
            let path = "/inspect/any/%3Cscript%3E";
            let sent = app.client.post_bytes(path, headers, body.into()).await.unwrap();
            assert_eq!(sent.status, StatusCode::OK);
        }
        browser.until_text("#2").await;
        browser
            .run("document.querySelectorAll('summary[data-row]').forEach((it) => it.click())")
            .await;
        browser.until_text("no json <script>").await;
        let made = "return (window.hit ?? 0) + document.querySelectorAll('.rows script, .rows img').length";
        assert_eq!(browser.run(made).await, 0);
    })
    .await;
    app.stop().await;
}

#[tokio::test]
async fn every_fault_of_a_response_is_shown_at_its_field() {
    let app = inspecting("any").await;
    let mut visitor = Visitor::signed_in(&app).await;
    let typed =
        [("statuses", "<b>sometimes"), ("delay_ms", "soon"), ("body", "x"), ("secret", "canary")];
    let page = visitor.post("/inspectors/any", &typed).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    for part in ["delay_ms-fault", "value=\"soon\"", "value=\"&#60;b&#62;sometimes\""] {
        assert!(page.html.contains(part), "{part}: {}", page.html);
    }
    assert!(!page.html.contains("canary"), "a secret is not sent back: {}", page.html);
    let typed = [("statuses", "sometimes"), ("delay_ms", "60001"), ("body", &*"x".repeat(4_097))];
    let page = visitor.post("/inspectors/any", &typed).await;
    for field in ["statuses-fault", "delay_ms-fault", "body-fault"] {
        assert!(page.html.contains(field), "{field}: {}", page.html);
    }
    let page = visitor.get("/inspectors?name=NO").await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(
        page.html.contains("name-fault") && page.html.contains("value=\"NO\""),
        "{}",
        page.html
    );
    app.stop().await;
}

#[tokio::test]
async fn a_verification_secret_is_used_and_never_shown() {
    let app = inspecting("other").await;
    app.apply(pipeline(&[])).await;
    let mut visitor = Visitor::signed_in(&app).await;
    let set = [("statuses", "200"), ("delay_ms", "0"), ("secret", "canary-of-the-inspector")];
    let page = visitor.post("/inspectors/other", &set).await;
    assert_eq!((page.status, page.leads_to()), (StatusCode::SEE_OTHER, "/inspectors/other"));
    let body = bytes::Bytes::from_static(b"{}");
    let mut headers = http::HeaderMap::new();
    // HMAC-SHA1 of `{}` under the secret.
    headers.insert("x-signature", "2e315ab1de06d9bb504ab6709982a2f0edce581e".parse().unwrap());
    app.client.post_bytes("/inspect/other", headers, body).await.unwrap();
    let page = visitor.get("/inspectors/other").await;
    assert!(page.html.contains("<span class=\"badge good\">verified</span>"), "{}", page.html);
    assert!(page.html.contains("the verification secret"), "{}", page.html);
    let (_, shown) = app.client.get("/api/v1/inspectors/other").await.unwrap();
    let (_, told) = app.client.get("/api/v1/audit").await.unwrap();
    for text in [page.html, shown.to_string(), told.to_string()] {
        assert!(!text.contains("canary"), "{text}");
    }
    visitor.post("/inspectors/other", &[("statuses", "200"), ("forget_secret", "1")]).await;
    let (_, shown) = app.client.get("/api/v1/inspectors/other").await.unwrap();
    assert_eq!(shown["has_secret"], false);
    app.stop().await;
}

#[tokio::test]
async fn without_the_operator_role_a_response_is_read_only() {
    let app = inspecting("any").await;
    let mut tokens = Vec::new();
    for request in [
        json!({"name": "looks", "role": "viewer"}),
        json!({"name": "limited", "role": "operator", "destinations": ["website/one"]}),
    ] {
        let (_, made) = app.client.post("/api/v1/tokens", &request).await.unwrap();
        tokens.push(made["secret"].as_str().unwrap().to_owned());
    }
    let mut viewer = Visitor::with_token(&app, &tokens[0]).await;
    let page = viewer.get("/inspectors/any").await.html;
    assert!(
        page.contains("<h2>Requests</h2>") && !page.contains(">Save<") && !page.contains("Reset")
    );
    let mut limited = Visitor::with_token(&app, &tokens[1]).await;
    for path in ["/inspectors", "/inspectors/any", "/inspectors/any/stream"] {
        assert_eq!(limited.get(path).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    for visitor in [&mut viewer, &mut limited] {
        for path in ["/inspectors/any", "/inspectors/any/forget"] {
            let page = visitor.post(path, &[("statuses", "500")]).await;
            assert_eq!(page.status, StatusCode::FORBIDDEN, "{path}");
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn a_stream_of_an_inspector_ends_with_its_session() {
    let app = inspecting("any").await;
    let mut visitor = Visitor::signed_in(&app).await;
    let cookie = visitor.cookie().to_owned();
    let mut stream = Sse::of_page(app.app.address, &cookie, "/inspectors/any/stream").await;
    visitor.post("/sign-out", &[]).await;
    app.track("Unseen").await;
    stream.ends_without("Unseen").await;
    app.stop().await;
}

#[tokio::test]
async fn when_inspectors_are_disabled_the_page_says_how_to_enable_them() {
    let app = TestApp::with(&[]).await;
    let mut visitor = Visitor::signed_in(&app).await;
    let page = visitor.get("/inspectors").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.html.contains("<pre>inspector = true</pre>"), "{}", page.html);
    let page = visitor.get("/inspectors/any").await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(page.html.contains("inspector = true"), "{}", page.html);
    app.stop().await;
}
