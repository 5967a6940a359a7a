//! Hostile payloads: every page shows markup, scripts and bidirectional characters as text.

use http::StatusCode;
use serde_json::json;

use super::browser::{PHONE, browse};
use super::deliveries::id;
use super::visitor::Visitor;
use crate::support::app::TestApp;
use crate::support::receiver::{Behaviour, Receiver};

/// Markup, script and a bidirectional override.
const HOSTILE: &str = "\"'><script>alert(1);document.title='owned'</script>\
                       <img src=x onerror=\"document.title='owned'\">{{7*7}}&lt;\u{202e}gpj";

#[tokio::test]
async fn hostile_payloads_are_text_on_every_page() {
    let answer = Behaviour::status(422).header("x-note", "<script>alert(1)</script>").body(HOSTILE);
    let receiver = Receiver::start(answer).await;
    let app = TestApp::with(&[("one", &receiver.url("/hook"), json!({}))]).await;
    let long = "x".repeat(5_000);
    // A messageId has 100 characters at most.
    let message_id: String = HOSTILE.chars().take(60).chain("\u{202e}".chars()).collect();
    for (name, number) in [(HOSTILE, 1), (&long, 2)] {
        let event = json!({
            "event": name, "userId": format!("{name}{number}"), "messageId": format!("{number}{message_id}"),
            "properties": {HOSTILE: HOSTILE, "long": long},
        });
        assert_eq!(app.send("/v1/track", &event).await, StatusCode::OK);
    }
    let rows = app.until_settled(2).await;
    let mut visitor = Visitor::signed_in(&app).await;
    let ask =
        [("action", "redrive"), ("name", HOSTILE), ("note", HOSTILE), ("rate_per_second", "1")];
    let made = visitor.post("/jobs", &ask).await;
    assert_eq!(made.status, StatusCode::SEE_OTHER, "{}", made.html);
    let (token, job) = (app.token(), made.leads_to().to_owned());
    let (delivery, other) =
        (format!("/deliveries/{}", id(&rows[0])), format!("/deliveries/{}", id(&rows[1])));
    browse(app.base(), async |browser| {
        browser.sign_in(&token).await;
        browser.view(PHONE).await;
        let query: String = form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect();
        let ask = format!("/jobs/new?action=redrive&state=dead&note={query}");
        let search = format!("/deliveries?destination={query}&status={query}&user_id={query}");
        let dead = format!("/dead-letters?reason={query}");
        let audit = format!("/audit?actor={query}&since={query}");
        let pages = ["/", "/live", "/deliveries", "/dead-letters", "/jobs", "/audit", "/tokens"];
        let more = [&delivery, &other, &job, &ask, &search, &dead, &audit].map(String::as_str);
        for path in pages.into_iter().chain(more) {
            browser.open(path).await;
            browser.one("main").await;
            let strangers = "return document.querySelectorAll('main script, main img').length";
            assert_eq!(browser.run(strangers).await, 0, "{path}");
            assert_ne!(browser.run("return document.title").await, "owned", "{path}");
            let wide = "return document.documentElement.scrollWidth > innerWidth";
            assert_eq!(browser.run(wide).await, false, "{path} is wider than a phone");
        }
        browser.open(&delivery).await;
        browser.until_text("<script>alert(1);document.title='owned'</script>").await;
        // The bidirectional override is shown as its code point.
        browser.until_text("U+202E").await;
        browser.open(&job).await;
        browser.until_text("<img src=x onerror").await;
    })
    .await;
    app.stop().await;
}

#[tokio::test]
async fn a_hostile_token_name_is_rejected_and_shown_as_text() {
    let app = TestApp::with(&[]).await;
    let mut visitor = Visitor::signed_in(&app).await;
    let page = visitor.post("/tokens", &[("name", HOSTILE), ("role", "viewer")]).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(page.html.contains("name-fault") && page.html.contains("&#60;script&#62;"));
    assert!(!page.html.contains("<script>alert"), "{}", page.html);
    let page = visitor.post("/sign-in", &[("token", HOSTILE), ("next", HOSTILE)]).await;
    assert!(!page.html.contains("<script>alert"), "{}", page.html);
    app.stop().await;
}
