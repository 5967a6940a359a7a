//! Rules for every page: security headers, error pages, assets, phone width, keyboard, theme.

use http::{StatusCode, header};
use serde_json::json;

use super::browser::{DARK, PHONE, View, browse};
use super::visitor::Visitor;
use crate::support::app::TestApp;

/// Every page without an id in its path.
const PAGES: [&str; 19] = [
    "/",
    "/live",
    "/events",
    "/deliveries",
    "/dead-letters",
    "/destinations",
    "/audit",
    "/jobs",
    "/sources",
    "/sources/website",
    "/sources/website/new",
    "/sources/website/destinations/warehouse",
    "/sources/website/destinations/warehouse/new",
    "/sources/website/destinations/warehouse/mappings/everything",
    "/sources/website/destinations/warehouse/mappings/everything/revisions",
    "/inspectors",
    "/tokens",
    "/settings",
    "/doctor",
];

/// A service with an object for every page.
async fn with_pipeline() -> TestApp {
    TestApp::with(&[("warehouse", "http://127.0.0.1:9/a-rather-long-path", json!({}))]).await
}

#[tokio::test]
async fn every_page_has_the_security_headers() {
    let app = with_pipeline().await;
    let mut visitor = Visitor::signed_in(&app).await;
    for path in PAGES.into_iter().chain(["/sign-in?next=x", "/nothing-here", "/deliveries/dlv_x"]) {
        let page = visitor.get(path).await;
        assert!(page.status.is_success() || !PAGES.contains(&path), "{path}");
        let policy = page.header(header::CONTENT_SECURITY_POLICY);
        for rule in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(rule), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(page.header(header::X_CONTENT_TYPE_OPTIONS), "nosniff", "{path}");
        assert_eq!(page.header(header::CACHE_CONTROL), "no-store", "{path}");
        assert!(!page.html.contains(" style=") && !page.html.contains(" onclick="), "{path}");
    }
    app.stop().await;
}

#[tokio::test]
async fn errors_are_shown_as_pages() {
    let app = TestApp::with(&[]).await;
    let mut visitor = Visitor::signed_in(&app).await;
    for (path, status) in [
        ("/nothing-here", StatusCode::NOT_FOUND),
        ("/deliveries/dlv_x", StatusCode::BAD_REQUEST),
        ("/jobs/job_019f0000000070008000000000000001", StatusCode::NOT_FOUND),
        ("/deliveries?state=ded", StatusCode::BAD_REQUEST),
        ("/jobs/new?action=dance", StatusCode::BAD_REQUEST),
    ] {
        let page = visitor.get(path).await;
        assert_eq!(page.status, status, "{path}");
        assert!(page.html.contains("<h1>"), "{path}: {}", page.html);
    }
    let page = visitor.get("/deliveries?state=ded").await;
    assert!(page.html.contains("did you mean dead?"), "{}", page.html);
    app.stop().await;
}

#[tokio::test]
async fn unknown_paths_are_not_found_rather_than_refused_for_a_credential() {
    let app = TestApp::with(&[]).await;
    let mut stranger = Visitor::of(&app);
    let key = ("authorization", "Basic d3Jvbmc6");
    let cross_site = [key, ("origin", "https://shop.example"), ("sec-fetch-site", "cross-site")];
    let paths =
        ["/track", "/v1", "/v2/track", "/api/track", "/api/v1/track", "/v1track", "/batch/"];
    for path in paths {
        for headers in [&[][..], &[key], &cross_site, &[key, ("idempotency-key", "k")]] {
            let page = stranger.ask(http::Method::POST, path, headers, "{}".to_owned()).await;
            assert_eq!(page.status, StatusCode::NOT_FOUND, "{path} {headers:?}: {}", page.html);
            let body: serde_json::Value = serde_json::from_str(&page.html).expect("JSON");
            assert_eq!(body["code"], "not_found", "{path}");
        }
        let page = stranger.get(path).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{path}");
    }
    // What exists still asks for a credential.
    assert_eq!(stranger.post("/doctor", &[]).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(stranger.get("/deliveries").await.status, StatusCode::SEE_OTHER);
    app.stop().await;
}

#[tokio::test]
async fn assets_are_immutable_and_named_by_their_digest() {
    let app = TestApp::with(&[]).await;
    let mut visitor = Visitor::of(&app);
    let page = visitor.get("/sign-in").await;
    let path = page.html.split('"').find(|text| text.ends_with("/style.css")).unwrap().to_owned();
    let style = visitor.get(&path).await;
    assert!(style.header(header::CACHE_CONTROL).contains("immutable"));
    assert_eq!(style.header(header::CONTENT_TYPE), "text/css; charset=utf-8");
    let tag = style.header(header::ETAG).to_owned();
    let known = [("if-none-match", tag.as_str())];
    let again = visitor.ask(http::Method::GET, &path, &known, String::new()).await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
    let stale = visitor.get("/assets/0000/style.css").await;
    assert_eq!(stale.header(header::CACHE_CONTROL), "no-store");
    assert_eq!(visitor.get("/assets/0000/none.css").await.status, StatusCode::NOT_FOUND);
    app.stop().await;
}

#[tokio::test]
async fn every_page_fits_a_phone() {
    let app = with_pipeline().await;
    let token = app.token();
    browse(app.base(), async |browser| {
        browser.sign_in(&token).await;
        for width in [320, 400] {
            browser.view(View { width, ..PHONE }).await;
            for path in PAGES {
                browser.open(path).await;
                let script = "return document.documentElement.scrollWidth";
                let needed = browser.run(script).await.as_u64().unwrap();
                assert!(needed <= u64::from(width), "{path} needs {needed} px of {width}");
            }
        }
    })
    .await;
    app.stop().await;
}

#[tokio::test]
async fn the_pages_are_usable_by_keyboard() {
    let (enter, tab, escape) = ("\u{e007}", "\u{e004}", "\u{e00c}");
    let app = TestApp::with(&[]).await;
    let token = app.token();
    browse(app.base(), async |browser| {
        browser.open("/sign-in").await;
        // The field has the focus from the start.
        browser.keys(&format!("{token}{enter}")).await;
        browser.until_at("/").await;
        browser.keys(&format!("{tab}{enter}")).await;
        browser
            .until("the skip link leads to the page", async || {
                browser.run("return document.activeElement.id").await == "page"
            })
            .await;
        browser.keys("?").await;
        browser.until_text("focus the search").await;
        browser.keys(escape).await;
        browser
            .until("the dialog closes", async || {
                browser.run("return !document.querySelector('dialog[open]')").await == true
            })
            .await;
        browser.keys("gd").await;
        browser.until_at("/deliveries").await;
    })
    .await;
    app.stop().await;
}

#[tokio::test]
async fn the_selected_theme_is_kept() {
    let app = TestApp::with(&[]).await;
    let token = app.token();
    browse(app.base(), async |browser| {
        browser.sign_in(&token).await;
        browser.view(DARK).await;
        let ground = "return getComputedStyle(document.body).backgroundColor";
        let dark = browser.run(ground).await;
        browser.press("Theme").await;
        let light = browser.run(ground).await;
        assert_ne!(dark, light);
        browser.open("/settings").await;
        assert_eq!(browser.run(ground).await, light, "the choice goes before the system's");
    })
    .await;
    app.stop().await;
}
