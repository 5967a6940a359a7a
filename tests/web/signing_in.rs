//! Sign-in, sessions, cookies, CSRF protection and request limits.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, StatusCode, header};
use postrider::settings::Settings;

use super::browser::browse;
use super::visitor::Visitor;
use crate::auth::bearing;
use crate::support::app::{Builder, TestApp};

#[tokio::test]
async fn a_token_signs_in_and_signing_out_ends_the_session() {
    let app = TestApp::with(&[]).await;
    let token = app.token();
    browse(app.base(), async |browser| {
        browser.open("/deliveries?state=dead").await;
        browser.until_at("/sign-in?next=%2Fdeliveries%3Fstate%3Ddead").await;
        browser.type_into("#token", "not a token").await;
        browser.press("Sign in").await;
        browser.until_text("Invalid token.").await;
        let kept = browser.run("return document.querySelector('#token').value").await;
        assert_eq!(kept, "", "a wrong token is not sent back");
        browser.type_into("#token", &token).await;
        browser.press("Sign in").await;
        browser.until_at("/deliveries?state=dead").await;
        browser.until_text("operator").await;
        let seen = browser.run("return document.cookie").await;
        assert_eq!(seen, "", "scripts see no cookie");
        browser.press("Sign out").await;
        browser.until_text("Signed out.").await;
        browser.open("/deliveries").await;
        browser.until_at("/sign-in?next=%2Fdeliveries").await;
    })
    .await;
    let (_, kept) = app.client.get("/api/v1/audit").await.unwrap();
    let kept: Vec<_> = kept["items"].as_array().unwrap().iter().map(|it| &it["action"]).collect();
    let newest = ["sign_out", "sign_in", "refuse_sign_in"];
    assert_eq!(kept[..3], newest, "each is on record");
    app.stop().await;
}

#[tokio::test]
async fn a_session_ends_when_idle_and_when_signed_out() {
    let app = TestApp::with(&[]).await;
    let mut visitor = Visitor::signed_in(&app).await;
    assert_eq!(visitor.get("/").await.status, StatusCode::OK);
    app.clock.advance(Duration::from_secs(9 * 3_600));
    let page = visitor.get("/").await;
    assert_eq!((page.status, page.leads_to()), (StatusCode::SEE_OTHER, "/sign-in"));

    let mut visitor = Visitor::signed_in(&app).await;
    let page = visitor.post("/sign-out", &[]).await;
    assert_eq!(page.leads_to(), "/sign-in");
    assert_eq!(visitor.get("/").await.leads_to(), "/sign-in");
    // Without a session a form is refused rather than sent to the sign-in and lost.
    assert_eq!(visitor.post("/doctor", &[]).await.status, StatusCode::UNAUTHORIZED);
    app.stop().await;
}

#[tokio::test]
async fn a_cross_site_form_is_refused() {
    let app = TestApp::with(&[]).await;
    let mut visitor = Visitor::signed_in(&app).await;
    for headers in [
        &[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")][..],
        &[("sec-fetch-site", "same-site"), ("origin", "http://sub.localhost")][..],
        &[("origin", "https://evil.example")][..],
        &[("origin", "null")][..],
    ] {
        for path in ["/doctor", "/sign-out", "/sign-in", "/jobs"] {
            let page = visitor.post_from(path, headers, &[]).await;
            assert_eq!(page.status, StatusCode::FORBIDDEN, "{path} {headers:?}");
            assert!(page.html.contains("This request came from another site"), "{}", page.html);
        }
    }
    assert_eq!(visitor.get("/").await.status, StatusCode::OK, "the session is kept");
    assert_eq!(visitor.post("/doctor", &[]).await.status, StatusCode::OK);
    app.stop().await;
}

#[tokio::test]
async fn signing_in_never_redirects_to_another_site() {
    let app = TestApp::with(&[]).await;
    for next in ["//evil.example/", "https://evil.example/", "/\\evil.example"] {
        let mut visitor = Visitor::of(&app);
        let page = visitor.post("/sign-in", &[("token", &app.token()), ("next", next)]).await;
        assert_eq!((page.status, page.leads_to()), (StatusCode::SEE_OTHER, "/"), "{next}");
    }
    app.stop().await;
}

#[tokio::test]
async fn cookies_are_http_only_and_over_tls_secure() {
    let app = Builder::new().start().await;
    let mut visitor = Visitor::of(&app);
    let page = visitor.post("/sign-in", &[("token", &app.token())]).await;
    let cookie = page.header(header::SET_COOKIE);
    assert!(cookie.starts_with("postrider_session="), "{cookie}");
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    app.stop().await;

    let secure = |settings: &mut Settings| {
        settings.public_url = Some("https://hooks.example.com".to_owned());
    };
    let app = Builder::new().settings(secure).start().await;
    let mut visitor = Visitor::of(&app);
    // A proxy in front may have changed Host: the public address is trusted all the same.
    let from_there = [("origin", "https://hooks.example.com")];
    let page = visitor.post_from("/sign-in", &from_there, &[("token", &app.token())]).await;
    let cookie = page.header(header::SET_COOKIE);
    assert!(cookie.starts_with("__Host-postrider_session="), "{cookie}");
    assert!(cookie.contains("Secure") && !cookie.contains("Domain"), "{cookie}");
    app.stop().await;
}

#[tokio::test]
async fn oversized_and_malformed_forms_are_refused() {
    let app = TestApp::with(&[]).await;
    let mut visitor = Visitor::signed_in(&app).await;
    let large = "x".repeat(1024 * 1024 + 1);
    let page = visitor.post("/jobs", &[("action", "redrive"), ("note", &large)]).await;
    assert_eq!(page.status, StatusCode::PAYLOAD_TOO_LARGE);
    let json = [("content-type", "application/json"), ("sec-fetch-site", "same-origin")];
    let page = visitor.ask(Method::POST, "/jobs", &json, "{}".to_owned()).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    let page = visitor.ask(Method::DELETE, "/jobs", &json, String::new()).await;
    assert_eq!(page.status, StatusCode::METHOD_NOT_ALLOWED);
    app.stop().await;
}

#[tokio::test]
async fn failed_tokens_are_counted_and_never_logged() {
    let (writer, lines) = captured();
    let subscriber = tracing_subscriber::fmt().with_writer(writer).with_ansi(false).finish();
    // A current-thread runtime: the service's tasks use it too.
    let _kept = tracing::subscriber::set_default(subscriber);
    let app = TestApp::with(&[]).await;
    for number in 0..5 {
        let token = format!("prt_wrong{number}");
        let stranger = bearing(&app, &token);
        let (status, _) = stranger.get("/api/v1/status").await.unwrap();
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        let page = Visitor::of(&app).post("/sign-in", &[("token", &token)]).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN);
    }
    let metrics = app.app.metrics.encode(&app.ledger().await);
    for credential in ["token", "sign_in"] {
        let name = "postrider_authentication_failures_total";
        let line = format!("{name}{{credential=\"{credential}\"}} 5");
        assert!(metrics.contains(&line), "{metrics}");
    }
    app.stop().await;
    let log = lines();
    let count = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!(count("authentication failed"), 2, "{log}");
    assert!(log.contains("127.0.0.1") && !log.contains("prt_wrong"), "{log}");
    let summaries = log.lines().filter(|line| line.contains("were not logged"));
    let summaries: Vec<_> = summaries.filter(|line| line.contains("count=4")).collect();
    assert_eq!(summaries.len(), 2, "the rest is counted at the end: {log}");
}

/// A writer for log lines, and what reads them.
fn captured() -> (impl Fn() -> Lines + Send + Sync + 'static, impl Fn() -> String) {
    let lines = Lines::default();
    let written = lines.clone();
    let read = move || {
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    };
    (move || lines.clone(), read)
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
