//! Roles: hidden buttons, refused requests, limited tokens, token creation and revocation.

use http::StatusCode;
use serde_json::json;

use super::browser::browse;
use super::deliveries::id;
use super::visitor::Visitor;
use crate::support::app::TestApp;
use crate::support::receiver::{Behaviour, Receiver};

/// Makes a token through the page; returns its text.
async fn make(visitor: &mut Visitor, fields: &[(&str, &str)]) -> String {
    let page = visitor.post("/tokens", fields).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.html);
    let (_, after) = page.html.split_once("<pre id=\"secret\">").expect("it is shown once");
    after.split('<').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_viewer_sees_no_buttons_and_is_refused_changes() {
    let receiver = Receiver::start(Behaviour::status(422)).await;
    let app = TestApp::with(&[("one", &receiver.url("/hook"), json!({}))]).await;
    app.track("refused").await;
    let rows = app.until_settled(1).await;
    let mut admin = Visitor::signed_in(&app).await;
    let secret = make(&mut admin, &[("name", "reader"), ("role", "viewer")]).await;
    let mut viewer = Visitor::with_token(&app, &secret).await;
    let delivery = format!("/deliveries/{}", id(&rows[0]));
    let pages = ["/", "/deliveries?state=dead", &delivery, "/dead-letters", "/jobs", "/audit"];
    for path in pages.into_iter().chain(["/tokens", "/settings", "/doctor"]) {
        let page = viewer.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        let forms = page.html.matches("method=\"post\"").count();
        assert_eq!(forms, 1, "{path}: only the sign-out");
        assert!(!page.html.contains("/jobs/new?"), "{path}: no bulk action");
    }
    for (path, fields) in [
        (format!("{delivery}/redrive"), &[][..]),
        (format!("{delivery}/discard"), &[][..]),
        ("/jobs".to_owned(), &[("action", "redrive"), ("state", "dead")][..]),
        ("/doctor".to_owned(), &[][..]),
        ("/tokens".to_owned(), &[("name", "a"), ("role", "admin")][..]),
        ("/tokens/operator/revoke".to_owned(), &[][..]),
    ] {
        let page = viewer.post(&path, fields).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{path}");
        assert!(page.html.contains("reader") && page.html.contains("viewer"), "{}", page.html);
    }
    assert_eq!(viewer.get("/jobs/new?action=redrive&state=dead").await.status, 403);
    app.stop().await;
}

#[tokio::test]
async fn a_limited_operator_sees_only_its_destinations() {
    let receiver = Receiver::start(Behaviour::status(422)).await;
    let app = TestApp::with(&[
        ("crm", &receiver.url("/"), json!({})),
        ("billing", &receiver.url("/"), json!({})),
    ])
    .await;
    app.track("refused").await;
    app.until_settled(2).await;
    let mut admin = Visitor::signed_in(&app).await;
    let fields = [("name", "crm-team"), ("role", "operator"), ("destinations", "website/crm")];
    let secret = make(&mut admin, &fields).await;
    let mut limited = Visitor::with_token(&app, &secret).await;
    for path in ["/", "/deliveries", "/dead-letters", "/audit"] {
        let page = limited.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(!page.html.contains("website/billing"), "{path}: {}", page.html);
    }
    assert!(
        !limited.get("/audit").await.html.contains("id=\"verification\""),
        "a part of the log cannot be verified"
    );
    let page = limited.get("/jobs/new?action=redrive&state=dead").await;
    assert!(page.html.contains("Redrive 1 delivery"), "{}", page.html);
    app.stop().await;
}

#[tokio::test]
async fn a_limited_admin_sees_the_buttons_it_may_use() {
    let app = TestApp::with(&[("crm", "http://127.0.0.1:9/", json!({}))]).await;
    let mut admin = Visitor::signed_in(&app).await;
    let fields = [("name", "crm-team"), ("role", "admin"), ("destinations", "website/crm")];
    let secret = make(&mut admin, &fields).await;
    let mut limited = Visitor::with_token(&app, &secret).await;
    let forms = |html: &str| html.matches("method=\"post\"").count();
    for path in ["/sources", "/sources/website", "/doctor"] {
        let (all, part) = (admin.get(path).await, limited.get(path).await);
        assert_eq!(part.status, StatusCode::OK, "{path}");
        assert!(forms(&all.html) > 1, "{path}");
        assert_eq!(forms(&part.html), 1, "{path}: only the sign-out");
        assert!(!part.html.contains("/sources/website/new"), "{path}");
    }
    for (path, fields) in [
        ("/sources", &[("name", "app")][..]),
        ("/sources/website/rotate", &[][..]),
        ("/doctor", &[][..]),
    ] {
        assert_eq!(limited.post(path, fields).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    let own = limited.get("/sources/website/destinations/crm").await;
    assert!(forms(&own.html) > 1, "{}", own.html);
    app.stop().await;
}

#[tokio::test]
async fn a_token_is_shown_once_and_revoking_it_ends_its_sessions() {
    let app = TestApp::with(&[]).await;
    let mut admin = Visitor::signed_in(&app).await;
    let secret = make(&mut admin, &[("name", "deploys"), ("role", "operator")]).await;
    assert!(!admin.get("/tokens").await.html.contains(&secret));
    let mut other = Visitor::with_token(&app, &secret).await;
    assert_eq!(other.get("/").await.status, StatusCode::OK);
    let token = app.token();
    browse(app.base(), async |browser| {
        browser.sign_in(&token).await;
        browser.open("/tokens").await;
        browser.run("document.querySelector('[aria-label=\"Revoke deploys\"]').click()").await;
        browser.press("Revoke").await;
        browser.until_text("Token deploys is revoked").await;
    })
    .await;
    assert_eq!(other.get("/").await.leads_to(), "/sign-in");
    let mut gone = Visitor::of(&app);
    let page = gone.post("/sign-in", &[("token", &secret)]).await;
    assert_ne!(page.status, StatusCode::SEE_OTHER);
    app.stop().await;
}

#[tokio::test]
async fn a_rejected_token_form_keeps_the_input() {
    let app = TestApp::with(&[]).await;
    let mut admin = Visitor::signed_in(&app).await;
    let fields = [("name", "no spaces please"), ("role", "viewer"), ("expires_at", "tomorrow")];
    let page = admin.post("/tokens", &fields).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    for kept in ["no spaces please", "tomorrow", "name-fault", "expires_at-fault"] {
        assert!(page.html.contains(kept), "{kept}: {}", page.html);
    }
    let page = admin.post("/tokens", &[("name", "operator"), ("role", "viewer")]).await;
    assert_eq!(page.status, StatusCode::CONFLICT);
    app.stop().await;
}

#[tokio::test]
async fn paths_and_networks_of_the_machine_are_shown_to_admins_alone() {
    let app = TestApp::with(&[]).await;
    let mut admin = Visitor::signed_in(&app).await;
    let machine = [app.dir.path().display().to_string(), "127.0.0.0/8".to_owned()];
    let page = admin.get("/settings").await;
    for text in &machine {
        assert!(page.html.contains(text.as_str()), "{text}");
    }
    for role in ["viewer", "operator"] {
        let secret = make(&mut admin, &[("name", &format!("a-{role}")), ("role", role)]).await;
        let mut visitor = Visitor::with_token(&app, &secret).await;
        let page = visitor.get("/settings").await;
        assert_eq!(page.status, StatusCode::OK);
        for text in &machine {
            assert!(!page.html.contains(text.as_str()), "{role}: {text}");
        }
        assert!(page.html.contains("max_in_flight"), "the rest is shown");
    }
    app.stop().await;
}
