//! Destinations: create, edit, secrets, rotation, OAuth connection, delete, roles.

use std::time::Duration;

use http::StatusCode;
use postrider::sender::verify_x_signature;
use serde_json::{Value, json};

use super::browser::browse;
use super::sources::text_of;
use super::visitor::Visitor;
use crate::auth::token_of;
use crate::support::app::{Builder, SECRET, TestApp, pipeline};
use crate::support::oauth::OauthServer;
use crate::support::receiver::{Behaviour, Receiver};
use crate::support::request::Request;

const PATH: &str = "/sources/website/destinations/crm";

/// The destination as the API has it.
async fn destination(app: &TestApp) -> Value {
    Request::new("GET", "/destinations/website/crm").send(app).await.is(200).body
}

/// A service with one destination, which has secrets.
async fn with_secrets() -> TestApp {
    let more = json!({
        "auth": {"kind": "bearer", "token": {"value": "the-bearer-token"}},
        "secret_headers": {"X-Key": {"value": "the-header-secret"}},
    });
    TestApp::with(&[("crm", "http://127.0.0.1:9/", more)]).await
}

#[tokio::test]
async fn a_destination_is_created_edited_rotated_and_deleted() {
    let app = TestApp::with(&[]).await;
    let token = app.token();
    browse(app.base(), async |browser| {
        browser.sign_in(&token).await;
        browser.open("/sources/website").await;
        browser.press("Create destination").await;
        browser.type_into("#name", "crm").await;
        browser.type_into("#timeout_ms", "99").await;
        browser.press("Create destination").await;
        browser.until_text("should be 1000 to 30000, not 99").await;
        let typed = browser.run("return document.getElementById('timeout_ms').value").await;
        assert_eq!(typed, "99", "the input is kept");
        browser.type_into("#timeout_ms", "2000").await;
        browser.press("Create destination").await;
        browser.until_text("Shown once").await;
        let secret = text_of(&browser, "secret").await;
        assert!(secret.starts_with("whsec_"), "{secret}");

        browser.press("Continue to crm").await;
        browser.until_at(PATH).await;
        browser.until_text("= 2 s").await;
        // Only the fields of the selected option are visible.
        assert_eq!(shown(&browser, "auth.token").await, Value::Bool(false));
        browser.run("document.getElementById('auth.kind').value = 'bearer'").await;
        assert_eq!(shown(&browser, "auth.token").await, Value::Bool(true));
        browser.type_into("[name='auth.token']", "typed-bearer").await;
        browser.type_into("[name='header_name']", "X-Tenant").await;
        browser.type_into("[name='header_value']", "typed-header").await;
        browser.press("Save").await;
        browser.until_text("Saved.").await;
        let html = browser.run("return document.documentElement.outerHTML").await.to_string();
        for secret in [&secret, "typed-bearer", "typed-header"] {
            assert!(!html.contains(secret), "a secret is never shown again");
        }
        browser.press("Rotate shared secret").await;
        browser.until_text("keeps signing for 24 h").await;
        assert_ne!(text_of(&browser, "secret").await, secret);
        browser.open(PATH).await;
        browser.until_text("Signing with two shared secrets").await;
        browser.press("Disable").await;
        browser.until_text("Nothing is routed to it").await;
        browser.press("Delete…").await;
        browser.press("Delete").await;
        browser.until_at("/sources/website").await;
    })
    .await;
    app.stop().await;
}

async fn shown(browser: &super::browser::Browser, id: &str) -> Value {
    let script = format!("return document.getElementById('{id}').checkVisibility()");
    browser.run(&script).await
}

#[tokio::test]
async fn an_unedited_form_keeps_every_secret() {
    let app = with_secrets().await;
    let before = destination(&app).await;
    let mut visitor = Visitor::signed_in(&app).await;
    let page = visitor.get(PATH).await;
    for secret in [SECRET, "the-bearer-token", "the-header-secret"] {
        assert!(!page.html.contains(secret));
    }
    let tag = page.field("tag");
    let same = [
        ("tag", tag.as_str()),
        ("policy", "all"),
        ("signing", "kept"),
        ("auth.kind", "bearer"),
        ("auth.token", ""),
        ("header_name", "X-Key"),
        ("header_value", ""),
        ("header_name", ""),
        ("header_value", ""),
    ];
    let saved = visitor.post(PATH, &same).await;
    assert_eq!((saved.status, saved.leads_to()), (StatusCode::SEE_OTHER, PATH));
    assert_eq!(destination(&app).await, before);

    // Rows with an empty name are deleted, and so is what `none` is selected for.
    let page = visitor.get(PATH).await;
    let tag = page.field("tag");
    let less =
        [("tag", tag.as_str()), ("policy", "any"), ("signing", "none"), ("auth.kind", "none")];
    assert_eq!(visitor.post(PATH, &less).await.status, StatusCode::SEE_OTHER);
    let now = destination(&app).await;
    for gone in ["shared_secret", "auth", "secret_headers"] {
        assert_eq!(now.get(gone), None, "{gone}");
    }
    assert_eq!(now["policy"], "any");
    app.stop().await;
}

#[tokio::test]
async fn every_fault_of_a_destination_is_shown_at_its_field() {
    let app = with_secrets().await;
    let mut visitor = Visitor::signed_in(&app).await;
    let tag = visitor.get(PATH).await.field("tag");
    let wrong = [
        ("tag", tag.as_str()),
        ("window_ms", "5"),
        ("max_in_flight", "0"),
        ("rate_per_second", "0"),
        ("policy", "some"),
        ("signing", "kept"),
        ("auth.kind", "authorization_code"),
        ("auth.token_url", "http://tokens.example.com/"),
        ("auth.scopes", "a\"b"),
        ("header_name", "Content-Length"),
        ("header_value", "typed-secret"),
    ];
    let page = visitor.post(PATH, &wrong).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(page.html.contains("id=\"policy-fault\""), "{}", page.html);
    let right: Vec<_> = wrong.iter().copied().filter(|(name, _)| *name != "policy").collect();
    let right: Vec<_> = right.into_iter().chain([("policy", "all")]).collect();
    let page = visitor.post(PATH, &right).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    for field in [
        "window_ms",
        "max_in_flight",
        "rate_per_second",
        "secret_headers",
        "auth.token_url",
        "auth.authorize_url",
        "auth.client_id",
        "auth.scopes",
    ] {
        assert!(page.html.contains(&format!("id=\"{field}-fault\"")), "{field}: {}", page.html);
    }
    assert!(page.html.contains("value=\"http://tokens.example.com/\""), "the input is kept");
    assert!(page.html.contains("Secrets are not sent back"), "but no secret is");
    assert!(!page.html.contains("typed-secret"));
    app.stop().await;
}

#[tokio::test]
async fn a_concurrent_edit_of_a_destination_is_an_edit_conflict() {
    let app = with_secrets().await;
    let mut visitor = Visitor::signed_in(&app).await;
    let tag = visitor.get(PATH).await.field("tag");
    let patch = json!({"timeout_ms": 7_000});
    Request::new("PATCH", "/destinations/website/crm").json(patch).send(&app).await.is(200);
    let typed =
        [("tag", tag.as_str()), ("policy", "all"), ("signing", "kept"), ("timeout_ms", "3000")];
    let page = visitor.post(PATH, &typed).await;
    assert_eq!(page.status, StatusCode::PRECONDITION_FAILED);
    assert!(page.html.contains("Edit conflict"), "{}", page.html);
    assert!(page.html.contains("value=\"3000\""), "the input is kept");
    assert!(page.html.contains(&tag), "the tag of the edited version is kept");
    assert_eq!(destination(&app).await["timeout_ms"], 7_000);
    app.stop().await;
}

#[tokio::test]
async fn a_destination_is_connected_and_disconnected_from_its_page() {
    let app = Builder::new().start().await;
    let server = OauthServer::start(Some(app.clock.clone())).await;
    server.register(format!("{}/oauth/callback", app.base()));
    let more = json!({"auth": server.authorization_code()});
    app.apply(pipeline(&[("crm", &server.receiver.url("/hook"), more)])).await;
    let token = app.token();
    browse(app.base(), async |browser| {
        browser.sign_in(&token).await;
        browser.open(PATH).await;
        browser.until_text("not connected yet").await;
        browser.press("Connect").await;
        browser.until_text("Grant consent at 127.0.0.1").await;
        // The server redirects back at once, in a window of its own.
        browser.press("Open 127.0.0.1").await;
        browser
            .until("the connection", async || {
                browser.open(PATH).await;
                browser.text().await.contains("Reconnect")
            })
            .await;
        server.assert_correct();
        app.track("through").await;
        app.until_settled(1).await;
        browser.press("Disconnect").await;
        browser.until_text("disconnected by an operator").await;
    })
    .await;
    assert_eq!(server.resource_requests().len(), 1);
    app.stop().await;
}

#[tokio::test]
async fn without_the_admin_role_a_destination_is_read_only() {
    let app = with_secrets().await;
    let two = pipeline(&[("other", "http://127.0.0.1:9/", json!({}))]);
    app.apply(two).await;
    for (role, limits) in [("viewer", &[][..]), ("operator", &[]), ("admin", &["website/other"])] {
        let token = token_of(&app, role, limits).await;
        let mut visitor = Visitor::with_token(&app, &token).await;
        let page = visitor.get(PATH).await;
        if role == "admin" {
            assert_eq!(
                page.status,
                StatusCode::NOT_FOUND,
                "destinations out of reach do not exist"
            );
            let other = visitor.get("/sources/website/destinations/other").await;
            assert_eq!(other.status, StatusCode::OK);
            assert!(!visitor.get("/sources/website").await.html.contains("destinations/crm"));
        } else {
            assert!(page.html.contains("<fieldset class=\"form\" disabled>"), "{role}");
            assert!(!page.html.contains("Delete…") && !page.html.contains("the-header-secret"));
            assert_eq!(visitor.get("/sources/website/new").await.status, StatusCode::FORBIDDEN);
        }
        for act in ["", "/enabled", "/rotate", "/remove"] {
            let refused = visitor.post(&format!("{PATH}{act}"), &[("tag", "x")]).await.status;
            let expected = [StatusCode::FORBIDDEN, StatusCode::NOT_FOUND];
            assert!(expected.contains(&refused), "{role} {act}: {refused}");
        }
        for path in ["/sources", "/sources/website/remove", "/sources/website/rotate"] {
            let refused = visitor.post(path, &[("name", "mine"), ("tag", "x")]).await.status;
            assert_eq!(refused, StatusCode::FORBIDDEN, "{role} {path}");
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn the_rotate_button_can_keep_x_signature_until_the_primary_button_is_pressed() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = TestApp::with(&[("crm", &receiver.url("/"), json!({}))]).await;
    let mut visitor = Visitor::signed_in(&app).await;
    let signed_by = async |number: usize, secrets: [&str; 2]| {
        app.track(&number.to_string()).await;
        app.until_settled(number + 1).await;
        let request = receiver.requests().swap_remove(number);
        let signature = request.header("x-signature").unwrap().to_owned();
        secrets.map(|it| verify_x_signature(&it.to_owned().into(), &request.body, &signature))
    };
    let page = visitor.get(PATH).await;
    assert!(page.html.contains(&format!("action=\"{PATH}/rotate\"")), "{}", page.html);
    assert!(!page.html.contains(&format!("{PATH}/primary")), "nothing to make primary");
    let fields = [("tag", page.field("tag")), ("x_signature", "previous".to_owned())];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    let rotated = visitor.post(&format!("{PATH}/rotate"), &fields).await;
    assert_eq!(rotated.status, StatusCode::OK);
    let (_, new) = rotated.html.split_once("<pre id=\"secret\">").unwrap();
    let new = new.split('<').next().unwrap();
    assert_eq!(signed_by(0, [SECRET, new]).await, [true, false], "the receiver still has the old");
    let page = visitor.get(PATH).await;
    assert!(page.html.contains("Make the new secret primary"), "{}", page.html);
    let tag = page.field("tag");
    let made = visitor.post(&format!("{PATH}/primary"), &[("tag", &tag)]).await;
    assert_eq!((made.status, made.leads_to()), (StatusCode::SEE_OTHER, PATH));
    assert_eq!(signed_by(1, [SECRET, new]).await, [false, true]);
    let page = visitor.get(PATH).await;
    assert!(!page.html.contains("Make the new secret primary"));
    assert!(page.html.contains("the new secret’s."), "{}", page.html);
    // An older page changes nothing.
    let stale = visitor.post(&format!("{PATH}/primary"), &[("tag", &tag)]).await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
    app.stop().await;
}

#[tokio::test]
async fn many_destinations_are_filtered_sorted_and_paged() {
    let receiver = Receiver::start(Behaviour::status(422)).await;
    let url = receiver.url("/hook");
    let off = json!({"enabled": false});
    let names: Vec<String> = (0..60).map(|number| format!("shop-{number:02}")).collect();
    let mut all: Vec<_> =
        names.iter().map(|name| (name.as_str(), url.as_str(), off.clone())).collect();
    all.push(("crm", &url, json!({})));
    let app = TestApp::with(&all).await;
    app.track("dies").await;
    app.until_settled(1).await;
    app.clock.advance(Duration::from_secs(120));
    app.app.duties.clone().roll_up().await.unwrap();
    let mut visitor = Visitor::signed_in(&app).await;
    let overview = visitor.get("/").await.html;
    let rows = |html: &str| html.matches("data-row").count();
    assert!(overview.contains(">All 61<"), "{overview}");
    assert_eq!(rows(overview.split_once("id=\"destinations\"").unwrap().1), 10);
    let page = visitor.get("/destinations").await.html;
    assert!(rows(&page) == 50 && page.contains("1–50 of 61"), "{page}");
    let first = page.split_once("<tbody>").unwrap().1.split_once("</tr>").unwrap().0;
    assert!(first.contains("website/crm") && first.contains("failing"), "{first}");
    let page = visitor.get("/destinations?page=2").await.html;
    assert!(rows(&page) == 11 && page.contains("51–61 of 61"), "{page}");
    let page = visitor.get("/destinations?name=SHOP-1&sort=name").await.html;
    assert!(rows(&page) == 10 && page.contains("1–10 of 10"), "{page}");
    let page = visitor.get("/destinations?name=none&page=x").await.html;
    assert!(page.contains("No name contains this."), "{page}");
    app.stop().await;
}
