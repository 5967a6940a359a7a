//! Mappings: from an empty pipeline to a signed delivery, previews, test sends, faults, revisions, roles,
//! hostile names.

use http::StatusCode;
use postrider::sender::{ApiClient, verify_x_signature};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::browser::browse;
use super::sources::text_of;
use super::visitor::{Page, Visitor};
use crate::auth::token_of;
use crate::support::app::{Builder, TestApp};
use crate::support::receiver::{Behaviour, Receiver};
use crate::support::request::Request;

const PATH: &str = "/sources/website/destinations/crm/mappings/everything";
const API: &str = "/mappings/website/crm/everything";

/// The mapping as the API has it.
async fn mapping(app: &TestApp) -> Value {
    Request::new("GET", API).send(app).await.is(200).body
}

/// A service with one mapping, to this receiver.
async fn with_mapping(receiver: &Receiver) -> TestApp {
    TestApp::with(&[("crm", &receiver.url("/hook"), json!({}))]).await
}

/// The form as a browser sends it, but for what is typed.
fn typed<'a>(fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let usual = [
        ("trigger", ""),
        ("method", "POST"),
        ("url", "http://127.0.0.1:9/hook"),
        ("format", "json"),
        ("batching", "one"),
        ("on", "last"),
    ];
    let kept = usual.into_iter().filter(|(name, _)| fields.iter().all(|(typed, _)| typed != name));
    kept.chain(fields.iter().copied()).collect()
}

/// Faults by the fields that they stand at.
fn faults(page: &Page) -> Vec<&str> {
    let places = page.html.split("id=\"").filter_map(|rest| rest.split('"').next());
    places.filter_map(|id| id.strip_suffix("-fault")).collect()
}

#[tokio::test]
async fn the_pages_lead_from_an_empty_pipeline_to_a_signed_delivery() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = Builder::new().start().await;
    let (token, url) = (app.token(), receiver.url("/orders"));
    browse(app.base(), async |browser| {
        browser.sign_in(&token).await;
        browser.open("/sources").await;
        browser.type_into("#name", "shop").await;
        browser.press("Create source").await;
        browser.until_text("Shown once").await;
        let key = text_of(&browser, "secret").await;
        browser.press("Continue to shop").await;
        browser.press("Create destination").await;
        browser.type_into("#name", "ledger").await;
        browser.press("Create destination").await;
        browser.until_text("Shown once").await;
        let secret = text_of(&browser, "secret").await;
        browser.press("Continue to ledger").await;
        browser.press("Create mapping").await;
        browser.type_into("#name", "orders").await;
        browser.type_into("#trigger", "type = \"track\" and event = \"Order Completed\"").await;
        browser.type_into("#url", &url).await;
        browser.type_into("#data", "{\"who\": {\"@path\": \"$.userId\"}}").await;
        browser.press("Create mapping").await;
        browser.until_at("/sources/shop/destinations/ledger/mappings/orders").await;
        browser.until_text("Created and enabled.").await;

        let sender = ApiClient::new(&app.base(), None).unwrap();
        for event in ["Order Completed", "Order Seen"] {
            let event = json!({"writeKey": key, "event": event, "userId": "ada"});
            assert_eq!(sender.post("/v1/track", &event).await.unwrap().0, StatusCode::OK);
        }
        let arrived = receiver.wait_for(1).await.remove(0);
        assert_eq!((arrived.path.as_str(), arrived.text()), ("/orders", "{\"who\":\"ada\"}"));
        let signature = arrived.header("x-signature").unwrap();
        assert!(verify_x_signature(&SecretString::from(secret), &arrived.body, signature));
    })
    .await;
    app.until_settled(1).await;
    app.stop().await;
}

#[tokio::test]
async fn a_preview_follows_the_input_and_equals_the_sent_request() {
    let receiver = Receiver::start(Behaviour::status(202).body("{\"queued\":true}")).await;
    let app = with_mapping(&receiver).await;
    app.track("Order Completed").await;
    receiver.wait_for(1).await;
    let token = app.token();
    browse(app.base(), async |browser| {
        browser.sign_in(&token).await;
        browser.open(PATH).await;
        // The page opens with a preview on the last event.
        browser.until_text("trigger matches").await;
        browser.type_into("#trigger", "event = \"Other\"").await;
        browser
            .until_text("Unmet condition: event = \"Other\": event is \"Order Completed\"")
            .await;
        browser.type_into("#trigger", "event = ").await;
        browser.until_text("Fix the errors at the fields").await;
        browser.until_text("expected").await;
        assert_eq!(
            browser.run("return document.querySelectorAll('.syntax-error mark').length").await,
            1
        );
        browser.type_into("#trigger", "event != \"Other\"").await;
        browser.type_into("#headers", "X-Team: growth").await;
        browser.type_into("#data", "{\"user\": {\"@path\": \"$.userId\"}}").await;
        browser.until_text("\"user\": \"u1\"").await;
        browser.until_text("x-team: growth").await;
        browser.until_text("webhook-signature:").await;
        assert_eq!(receiver.requests().len(), 1, "a preview sends nothing");
        assert_eq!(mapping(&app).await["revision"], 1, "and saves nothing");

        browser.press("Save").await;
        browser.until_text("Saved as revision 2.").await;
        browser.press("Send test").await;
        browser.until_text("Test sent").await;
        browser.until_text("HTTP 202").await;
        browser.until_text("\"queued\": true").await;
    })
    .await;
    let sent = receiver.wait_for(2).await.remove(1);
    assert_eq!(sent.text(), "{\"user\":\"u1\"}");
    assert_eq!(sent.header("x-team"), Some("growth"));
    assert!(sent.header("webhook-id").unwrap().starts_with("test_"));
    app.until_settled(1).await;
    app.stop().await;
}

#[tokio::test]
async fn a_preview_renders_the_selected_event() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = with_mapping(&receiver).await;
    let mut visitor = Visitor::signed_in(&app).await;
    let page = visitor.get(PATH).await;
    assert!(page.html.contains("<option value=\"track\" selected>"), "without events, a sample");
    app.track("first").await;
    app.track("second").await;
    app.until_settled(2).await;
    let (_, events) = app.client.get("/api/v1/events").await.unwrap();
    let first = events["items"][1]["id"].as_str().unwrap().to_owned();
    let preview = format!("{PATH}/preview");
    for (fields, found) in [
        (&[("on", "last")][..], "second"),
        (&[("on", "event"), ("event", first.as_str())], "first"),
        (&[("on", "group")], "Initech"),
        (
            &[("on", "document"), ("document", "{\"type\": \"page\", \"name\": \"pasted\"}")],
            "pasted",
        ),
    ] {
        let page = visitor.post(&preview, &typed(fields)).await;
        assert_eq!(page.status, StatusCode::OK, "{fields:?}");
        let (_, shown) = page.html.split_once("id=\"preview\"").unwrap();
        assert!(shown.contains(found), "{fields:?}: {shown}");
        assert!(
            shown.contains("POST http://127.0.0.1:9/hook"),
            "what is written, not what is saved"
        );
    }
    for (fields, field) in [
        (&[("on", "event"), ("event", "evt_x")][..], "event"),
        (&[("on", "event"), ("event", "evt_019f0000000070008000000000000001")], "event"),
        (&[("on", "document"), ("document", "{")], "document"),
        (&[("on", "document"), ("document", "[1]")], "document"),
    ] {
        for act in ["preview", "test"] {
            let page = visitor.post(&format!("{PATH}/{act}"), &typed(fields)).await;
            assert_eq!(page.status, StatusCode::BAD_REQUEST, "{fields:?}");
            assert_eq!(faults(&page), [field], "{fields:?}");
        }
    }
    assert_eq!(receiver.requests().len(), 2, "none was sent");
    let sent = visitor.post(&format!("{PATH}/test"), &typed(&[("on", "screen")])).await;
    assert!(sent.html.contains("Test sent"), "{}", sent.html);
    assert_eq!(receiver.requests().len(), 3);
    app.stop().await;
}

#[tokio::test]
async fn a_preview_runs_the_insert_function_and_shows_its_console() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = with_mapping(&receiver).await;
    let mut visitor = Visitor::signed_in(&app).await;
    let source = "function onTrack(event, settings) {\r\n  console.log('seen ' + settings.by)\r\n  event.made = 'by it'\r\n  return event\r\n}";
    let fields = typed(&[
        ("on", "track"),
        ("function.source", source),
        ("function.settings", "{\"by\": \"me\"}"),
    ]);
    let page = visitor.post(&format!("{PATH}/preview"), &fields).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.html.contains("seen me") && page.html.contains("by it"), "{}", page.html);
    let broken = typed(&[("on", "track"), ("function.source", "function onTrack( {")]);
    let page = visitor.post(&format!("{PATH}/preview"), &broken).await;
    assert_eq!((page.status, faults(&page)), (StatusCode::BAD_REQUEST, vec!["function.source"]));
    app.stop().await;
}

#[tokio::test]
async fn every_fault_of_a_mapping_is_shown_at_its_field() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = with_mapping(&receiver).await;
    let mut visitor = Visitor::signed_in(&app).await;
    let tag = visitor.get(PATH).await.field("tag");
    let wrong = [
        ("tag", tag.as_str()),
        ("trigger", "type = \"track\" und event = \"<b>x</b>\""),
        ("url", "ftp://example.com/"),
        ("headers", "Host: a\nX-B: {\"@path\": []}"),
        ("data", "{\"a\": {\"@nope\": 1}}"),
        ("batching", "many"),
        ("batching.size", "4001"),
    ];
    for path in [PATH.to_owned(), format!("{PATH}/preview")] {
        let page = visitor.post(&path, &typed(&wrong)).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST);
        let found = faults(&page);
        for field in ["trigger", "url", "headers", "data", "batching.size"] {
            assert!(found.contains(&field), "{path} {field}: {found:?}");
        }
        assert!(page.html.contains("<mark><bdi>u</bdi></mark>"), "{}", page.html);
        assert!(page.html.contains("und event = &#34;&#60;b&#62;x"), "the input is kept");
        assert!(page.html.contains("ftp://example.com/"), "the input is kept");
    }
    assert_eq!(mapping(&app).await["revision"], 1);

    let other = json!({"trigger": "type = \"page\""});
    Request::new("PATCH", API).json(other).send(&app).await.is(200);
    let late = typed(&[("tag", tag.as_str()), ("trigger", "type = \"group\"")]);
    let page = visitor.post(PATH, &late).await;
    assert_eq!(page.status, StatusCode::PRECONDITION_FAILED);
    assert!(page.html.contains("Edit conflict"), "{}", page.html);
    assert!(page.html.contains("type = &#34;group&#34;</textarea>"), "the input is kept");
    assert_eq!(mapping(&app).await["trigger"], "type = \"page\"");
    app.stop().await;
}

#[tokio::test]
async fn revisions_are_compared_and_rolled_back() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = with_mapping(&receiver).await;
    let token = app.token();
    browse(app.base(), async |browser| {
        browser.sign_in(&token).await;
        browser.open(PATH).await;
        browser.type_into("#trigger", "type = \"track\"").await;
        browser.press("Save").await;
        browser.until_text("Saved as revision 2.").await;
        browser.press("Save").await;
        browser.until_text("no new revision was created").await;
        browser.press("Revisions").await;
        browser.until_text("current").await;
        let by = browser.run("return document.querySelector('[data-label=By]').innerText").await;
        assert_eq!(by, "operator", "the actor");
        browser.press("Compare").await;
        browser.until_text("Changes from revision 1 to 2").await;
        browser.until_text("+ type = \"track\"").await;
        browser.press("Roll back").await;
        browser.until_text("Rolled back: revision 3 has the content of revision 1.").await;
    })
    .await;
    assert_eq!(mapping(&app).await["trigger"], "");
    let mut visitor = Visitor::signed_in(&app).await;
    let stale = [("tag", "x"), ("revision", "1")];
    let page = visitor.post(&format!("{PATH}/roll-back"), &stale).await;
    assert_eq!(page.status, StatusCode::PRECONDITION_FAILED);
    for (query, status) in [
        ("?from=1&to=9", StatusCode::NOT_FOUND),
        ("?from=x&to=1", StatusCode::BAD_REQUEST),
        ("?before=x", StatusCode::BAD_REQUEST),
    ] {
        let page = visitor.get(&format!("{PATH}/revisions{query}")).await;
        assert_eq!(page.status, status, "{query}");
    }
    app.stop().await;
}

#[tokio::test]
async fn viewers_read_a_mapping_and_operators_preview_and_test_it() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = with_mapping(&receiver).await;
    let viewer = token_of(&app, "viewer", &[]).await;
    let mut viewer = Visitor::with_token(&app, &viewer).await;
    let page = viewer.get(PATH).await;
    assert!(page.html.contains("<fieldset class=\"form wide\" disabled>"), "{}", page.html);
    assert!(
        !page.html.contains("<button class=\"primary\">Save") && !page.html.contains("Delete…")
    );
    let acts = ["", "/enabled", "/remove", "/roll-back", "/preview", "/test"];
    for act in acts {
        let refused = viewer.post(&format!("{PATH}{act}"), &typed(&[("tag", "x")])).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "viewer {act}");
    }
    let operator = token_of(&app, "operator", &[]).await;
    let mut operator = Visitor::with_token(&app, &operator).await;
    for act in acts {
        let fields = typed(&[("tag", "x"), ("on", "track")]);
        let status = operator.post(&format!("{PATH}{act}"), &fields).await.status;
        let may = act == "/preview" || act == "/test";
        let expected = if may { StatusCode::OK } else { StatusCode::FORBIDDEN };
        assert_eq!(status, expected, "operator {act}");
    }
    let limited = token_of(&app, "operator", &["website/other"]).await;
    let mut limited = Visitor::with_token(&app, &limited).await;
    assert_eq!(limited.get(PATH).await.status, StatusCode::NOT_FOUND);
    for act in ["/preview", "/test"] {
        let status = limited.post(&format!("{PATH}{act}"), &typed(&[("on", "track")])).await.status;
        assert_eq!(status, StatusCode::FORBIDDEN, "outside its limits {act}");
    }
    app.stop().await;
}

#[tokio::test]
async fn hostile_names_and_events_are_text_on_every_page() {
    let receiver =
        Receiver::start(Behaviour::ok().body("<script>document.title='taken'</script>")).await;
    let app = Builder::new().start().await;
    let hostile = "\"><script>document.title='taken'<\u{2215}script>";
    app.apply(json!({"sources": [{"name": hostile, "write_key": {"value": "key"}, "destinations": [{
        "name": hostile, "mappings": [{
            "name": hostile, "url": receiver.url("/hook"),
            "headers": {"X-A": "</textarea><script>document.title='taken'</script>"},
            "trigger": format!("event = \"{}\"", "</textarea><script>document.title='taken'</script>"),
        }],
    }]}]}))
    .await;
    let event = json!({
        "writeKey": "key", "event": "</pre><script>document.title='taken'</script>",
        "userId": format!("{hostile}\u{202e}"), "properties": {"</script>": "<img src=x onerror=\"document.title='taken'\">"},
    });
    let sender = ApiClient::new(&app.base(), None).unwrap();
    assert_eq!(sender.post("/v1/track", &event).await.unwrap().0, StatusCode::OK);
    let part = url::form_urlencoded::byte_serialize(hostile.as_bytes()).collect::<String>();
    let source = format!("/sources/{}", part.replace('+', "%20"));
    let name = source.strip_prefix("/sources/").unwrap();
    let destination = format!("{source}/destinations/{name}");
    let mapping = format!("{destination}/mappings/{name}");
    let token = app.token();
    browse(app.base(), async |browser| {
        browser.sign_in(&token).await;
        for path in [
            "/sources",
            &source,
            &format!("{source}/new"),
            &destination,
            &format!("{destination}/new"),
            &mapping,
            &format!("{mapping}/revisions?from=1&to=1"),
        ] {
            browser.open(path).await;
            browser.one("main h1").await;
            let title = browser.run("return document.title").await;
            assert!(!title.as_str().unwrap().contains("taken"), "{path}");
            let script = "return document.querySelectorAll('main script, main img').length";
            assert_eq!(browser.run(script).await, 0, "{path}");
        }
        browser.open(&mapping).await;
        browser.until_text("trigger does not match").await;
        browser.press("Send test").await;
        browser.until_text("Test sent").await;
        browser.until_text("HTTP 200").await;
        assert!(!browser.run("return document.title").await.as_str().unwrap().contains("taken"));
    })
    .await;
    app.stop().await;
}
