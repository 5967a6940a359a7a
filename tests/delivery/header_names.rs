//! Names of headers on the wire: as they were written.

use serde_json::json;

use crate::support::app::{SECRET, TestApp};
use crate::support::receiver::{Behaviour, Received, Receiver};
use crate::support::request::Request;

fn names(request: &Received) -> Vec<&str> {
    request.headers.iter().map(|(name, _)| name.as_str()).collect()
}

#[tokio::test]
async fn header_names_are_sent_as_they_were_written() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let destination = json!({
        "shared_secret": {"value": SECRET}, "secret_headers": {"X-API-Key": {"value": "k"}},
        "mappings": [
            {"name": "each", "url": receiver.url("/each"),
             "headers": {"X-Team-ID": "1", "x-lower": "2", "content-TYPE": "application/json"}},
            {"name": "all", "url": receiver.url("/all"), "headers": {"@path": "$.properties.headers"}},
        ],
    });
    let app = TestApp::with(&[("one", "", destination)]).await;
    let event =
        json!({"event": "E", "userId": "u", "properties": {"headers": {"X-Own-Name": "v"}}});
    app.send("/v1/track", &event).await;
    app.until_settled(2).await;
    let requests = receiver.wait_for(2).await;
    let to = |path: &str| names(requests.iter().find(|it| it.path == path).unwrap());
    let ours = ["Host", "User-Agent", "Content-Length", "X-Signature", "X-API-Key"];
    let standard = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    for (path, given) in [
        ("/each", ["X-Team-ID", "x-lower", "content-TYPE"].as_slice()),
        ("/all", ["X-Own-Name", "Content-Type"].as_slice()),
    ] {
        for name in ours.iter().chain(&standard).chain(given) {
            assert!(to(path).contains(name), "{name} in {:?}", to(path));
        }
        assert_eq!(to(path).len(), ours.len() + standard.len() + given.len(), "{:?}", to(path));
    }

    // What is shown can be applied again, without a change.
    let shown = Request::new("GET", "/pipeline").send(&app).await.is(200).body;
    let names = &shown["sources"][0]["destinations"][0]["secret_headers"];
    assert_eq!(names, &json!(["X-API-Key"]));
    let request = json!({"document": shown, "dry_run": true});
    let answer = Request::new("POST", "/pipeline").json(request).send(&app).await.is(200).body;
    assert_eq!(answer["lines"], json!([]), "{answer}");
    app.stop().await;
}
