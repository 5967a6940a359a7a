//! Sources: create, snippets, rotation, disable, delete, rejected events, edit conflicts.

use std::path::Path;
use std::time::Duration;

use http::StatusCode;
use postrider::sender::ApiClient;
use serde_json::{Value, json};
use tokio::process::Command;

use super::browser::{Browser, browse};
use super::visitor::Visitor;
use crate::support::app::{Builder, TestApp, WRITE_KEY};

/// The text of the element with this id.
pub(super) async fn text_of(browser: &Browser, id: &str) -> String {
    let script = format!("return document.getElementById('{id}').textContent");
    browser.run(&script).await.as_str().unwrap_or_default().to_owned()
}

/// Whether the service takes an event with this write key.
async fn takes(app: &TestApp, key: &str) -> bool {
    let event = json!({"writeKey": key, "event": "Tried", "userId": "u1"});
    let sender = ApiClient::new(&app.base(), None).unwrap();
    let (status, _) = sender.post("/v1/track", &event).await.unwrap();
    assert!(status == StatusCode::OK || status.is_client_error(), "{status}");
    status == StatusCode::OK
}

#[tokio::test]
async fn a_source_is_created_rotated_disabled_and_deleted() {
    let app = Builder::new().start().await;
    let token = app.token();
    browse(app.base(), async |browser| {
        browser.sign_in(&token).await;
        browser.keys("ge").await;
        browser.until_at("/sources").await;
        browser.until_text("No sources yet").await;
        browser.type_into("#name", "web/site").await;
        browser.press("Create source").await;
        browser.until_text("should have no slash").await;
        let typed = browser.run("return document.getElementById('name').value").await;
        assert_eq!(typed, "web/site", "the input is kept");
        browser.type_into("#name", "web site").await;
        browser.press("Create source").await;
        browser.until_text("Shown once").await;
        let key = text_of(&browser, "secret").await;
        assert!(takes(&app, &key).await);

        browser.press("Continue to web site").await;
        browser.until_at("/sources/web%20site").await;
        assert!(
            !browser.run("return document.body.innerHTML").await.as_str().unwrap().contains(&key)
        );
        browser.press("Rotate write key…").await;
        browser.press("Rotate").await;
        browser.until_text("Shown once").await;
        let fresh = text_of(&browser, "secret").await;
        assert!(takes(&app, &fresh).await && !takes(&app, &key).await);

        browser.open("/sources/web%20site").await;
        browser.press("Disable").await;
        browser.until_text("Events are refused.").await;
        assert!(!takes(&app, &fresh).await);
        browser.press("Enable").await;
        browser.until_text("web site is enabled: it accepts events").await;
        assert!(takes(&app, &fresh).await);

        browser.press("Delete…").await;
        browser.until_text("Its write key is revoked.").await;
        browser.press("Delete").await;
        browser.until_at("/sources").await;
        browser.until_text("No sources yet").await;
        assert!(!takes(&app, &fresh).await);
    })
    .await;
    app.stop().await;
}

/// Runs a program on a snippet, where the SDKs are installed.
async fn run(program: &str, arguments: &[&str], snippet: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk");
    let ran = Command::new(program).args(arguments).arg(snippet).current_dir(folder).output();
    let ran = tokio::time::timeout(Duration::from_secs(60), ran).await.unwrap().unwrap();
    assert!(ran.status.success(), "{program}: {}", String::from_utf8_lossy(&ran.stderr));
}

#[tokio::test]
async fn the_snippets_of_a_source_send_events() {
    let app = Builder::new().start().await;
    let token = app.token();
    browse(app.base(), async |browser| {
        browser.sign_in(&token).await;
        browser.open("/sources").await;
        browser.type_into("#name", "website").await;
        browser.press("Create source").await;
        browser.until_text("Shown once").await;
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk/.venv/bin/python");
        let python = python.to_str().unwrap();
        run("sh", &["-c"], &text_of(&browser, "with-curl").await).await;
        run("node", &["--input-type=module", "-e"], &text_of(&browser, "with-node").await).await;
        run(python, &["-c"], &text_of(&browser, "with-python").await).await;
    })
    .await;
    let (_, events) = app.client.get("/api/v1/events?source=website").await.unwrap();
    let named = |it: &&Value| it["name"] == "Order Completed" && it["user_id"] == "ada";
    let came = events["items"].as_array().unwrap().iter().filter(named).count();
    assert_eq!(came, 3, "{events}");
    app.stop().await;
}

#[tokio::test]
async fn rejected_events_are_listed_with_their_reason() {
    let app = TestApp::with(&[]).await;
    let hostile = "</pre><script>document.title='taken'</script>";
    for number in 0..21 {
        let message =
            json!({"type": "track", "userId": hostile, "messageId": format!("bad-{number}")});
        app.send("/v1/batch", &json!({"batch": [message]})).await;
    }
    let mut visitor = Visitor::signed_in(&app).await;
    let newest = visitor.get("/sources/website").await;
    assert_eq!(newest.html.matches("data-label=\"Reason\"").count(), 20);
    assert!(newest.html.contains("bad-20") && !newest.html.contains("bad-0<"));
    assert!(newest.html.contains("event"), "the reason names the field");
    assert!(!newest.html.contains("<script>document"));
    let older = newest.html.split('"').find(|text| text.contains("?before=")).unwrap();
    let older = visitor.get(&older.replace("&amp;", "&")).await;
    assert_eq!(older.html.matches("data-label=\"Reason\"").count(), 1);
    assert!(older.html.contains("bad-0<"));
    assert_eq!(visitor.get("/sources/website?before=x").await.status, StatusCode::BAD_REQUEST);
    app.stop().await;
}

#[tokio::test]
async fn a_concurrent_change_of_a_source_is_an_edit_conflict() {
    let app = TestApp::with(&[]).await;
    let mut visitor = Visitor::signed_in(&app).await;
    let page = visitor.get("/sources/website").await;
    let tag = page.field("tag");
    let rotated = visitor.post("/sources/website/rotate", &[("tag", &tag)]).await;
    assert_eq!(rotated.status, StatusCode::OK);
    for act in ["rotate", "remove"] {
        let again = visitor.post(&format!("/sources/website/{act}"), &[("tag", &tag)]).await;
        assert_eq!(again.status, StatusCode::PRECONDITION_FAILED, "{act}");
        assert!(again.html.contains("has changed since it was read"), "{}", again.html);
    }
    assert_eq!(
        app.send("/v1/track", &json!({"event": "x", "userId": "u"})).await,
        StatusCode::UNAUTHORIZED
    );
    assert!(!rotated.html.contains(WRITE_KEY));
    assert_eq!(
        visitor.post("/sources", &[("name", "website")]).await.status,
        StatusCode::BAD_REQUEST
    );
    for path in ["/sources/none", "/sources/none/new"] {
        assert_eq!(visitor.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    app.stop().await;
}

#[tokio::test]
async fn the_limits_of_a_source_are_set_and_shown_on_its_page() {
    let app = TestApp::with(&[]).await;
    let mut visitor = Visitor::signed_in(&app).await;
    let page = visitor.get("/sources/website").await;
    assert!(page.html.contains("None: it sends as much as the service takes."), "{}", page.html);
    let tag = page.field("tag");
    let fields = [("tag", tag.as_str()), ("rate_per_second", "5"), ("daily_quota", "2")];
    let page = visitor.post("/sources/website", &fields).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.html);
    app.track("one").await;
    let page = visitor.get("/sources/website").await;
    for shown in ["5 events a second, 5 at once; 0 requests refused.", "1 of 2 events today (UTC)"]
    {
        assert!(page.html.contains(shown), "{shown} in {}", page.html);
    }
    assert_eq!((page.field("tag").is_empty(), page.html.contains("value=\"2\"")), (false, true));
    // A rejected form keeps the input; one of an older version is refused.
    let tag = page.field("tag");
    let wrong = [("tag", tag.as_str()), ("burst", "7"), ("daily_quota", "many")];
    let page = visitor.post("/sources/website", &wrong).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(page.html.contains("should be a whole number") && page.html.contains("many"));
    let page = visitor.post("/sources/website", &fields).await;
    assert_eq!(page.status, StatusCode::PRECONDITION_FAILED, "{}", page.html);
    // Empty fields remove the limits, and a disabled source stays disabled.
    visitor.post("/sources/website/enabled", &[("enabled", "false")]).await;
    let tag = visitor.get("/sources/website").await.field("tag");
    visitor.post("/sources/website", &[("tag", tag.as_str())]).await;
    let (_, source) = app.client.get("/api/v1/sources/website").await.unwrap();
    assert_eq!((&source["enabled"], &source["daily_quota"]), (&json!(false), &Value::Null));
    app.stop().await;
}
