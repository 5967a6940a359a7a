//! Destination scopes: a scoped token sees nothing outside its scope in any operation.

use http::Method;
use serde_json::json;

use super::{bare, with_role};
use crate::support::app::{Builder, TestApp, pipeline};
use crate::support::receiver::{Behaviour, Receiver};

/// A service with two destinations, both of which have dead letters, attempts, tests and jobs.
async fn service() -> TestApp {
    let refusing = Receiver::start(Behaviour::status(422)).await;
    let app = Builder::new().settings(|it| it.inspector = true).start().await;
    app.apply(pipeline(&[
        ("mine", &refusing.url("/"), json!({})),
        ("foreign", &refusing.url("/"), json!({})),
    ]))
    .await;
    app.track("one").await;
    app.until_settled(2).await;
    for destination in ["mine", "foreign"] {
        let path = format!("/api/v1/mappings/website/{destination}/everything/tests");
        let test = json!({"sample": "track", "send": true});
        assert_eq!(app.client.post(&path, &test).await.unwrap().0, 200);
        let job = json!({"filter": {"destination": destination}, "rate_per_second": 1});
        assert_eq!(app.client.post("/api/v1/redrives", &job).await.unwrap().0, 202);
    }
    app
}

/// The paths that the API's description has for looks.
async fn looks(app: &TestApp) -> Vec<String> {
    let (_, document) = app.client.get("/openapi.json").await.unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let looks = paths.filter(|(path, item)| path.starts_with("/api/") && item["get"].is_object());
    looks.map(|(path, _)| path.clone()).filter(|path| !path.ends_with("/stream")).collect()
}

#[tokio::test]
async fn a_scoped_token_sees_nothing_outside_its_scope_in_any_operation() {
    let app = service().await;
    let limited = with_role(&app, "operator", &["website/mine"]).await;
    let id_of = async |path: &str, field: &str| {
        let (_, page) = app.client.get(path).await.unwrap();
        page["items"][0][field].as_str().unwrap_or_else(|| panic!("{path}: {page}")).to_owned()
    };
    let delivery = id_of("/api/v1/deliveries?destination=foreign", "id").await;
    let event = id_of("/api/v1/events", "id").await;
    let job = id_of("/api/v1/jobs", "id").await;
    let mut seen = 0;
    for template in looks(&app).await {
        let path = template
            .replace("{source}", "website")
            .replace("{destination}", "foreign")
            .replace("{mapping}", "everything")
            .replace("{number}", "1")
            .replace("/inspectors/{name}", "/inspectors/any")
            .replace("/events/{id}", &format!("/events/{event}"))
            .replace("/deliveries/{id}", &format!("/deliveries/{delivery}"))
            .replace("/jobs/{id}", &format!("/jobs/{job}"));
        assert!(!path.contains('{'), "{path}");
        let path = if path.ends_with("/diff") { format!("{path}?from=1&to=1") } else { path };
        let answer = bare(&limited, Method::GET, &path).await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        // A source that it has a part in is seen; the other destination of it is not.
        let names_it = path.contains("foreign") || path.contains(&delivery) || path.contains(&job);
        if names_it && !template.ends_with("/sources/{source}") {
            assert_eq!(answer.status, 404, "{path}: {text}");
        } else {
            assert!([200, 403].contains(&answer.status.as_u16()), "{path}: {text}");
            assert!(!text.contains("foreign"), "{path}: {text}");
            assert!(!text.contains(&delivery), "{path}: {text}");
        }
        seen += 1;
    }
    assert!(seen > 25, "{seen}");
    app.stop().await;
}

#[tokio::test]
async fn a_scoped_token_cannot_test_with_events_of_other_sources() {
    let app = service().await;
    let other = json!({"name": "other", "write_key": {"value": "the-other-key"}});
    app.apply(json!({"sources": [other]})).await;
    let event = json!({"event": "theirs", "userId": "u1", "messageId": "theirs"});
    assert_eq!(app.send_with("the-other-key", "/v1/track", &event).await, 200);
    let (_, events) = app.client.get("/api/v1/events?source=other").await.unwrap();
    let theirs = json!({"event": events["items"][0]["id"]});
    let limited = with_role(&app, "operator", &["website/mine"]).await;
    let path = "/api/v1/mappings/website/mine/everything/tests";
    let (status, answer) = limited.post(path, &theirs).await.unwrap();
    assert_eq!((status.as_u16(), answer["code"].as_str()), (404, Some("not_found")), "{answer}");
    let (status, answer) = app.client.post(path, &theirs).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    app.stop().await;
}

/// An id that is well formed and names nothing, in each place that takes one.
#[tokio::test]
async fn every_operation_reports_a_missing_resource() {
    let app = service().await;
    for template in looks(&app).await {
        let path = template
            .replace("{source}", "website")
            .replace("{destination}", "nowhere")
            .replace("{mapping}", "nothing")
            .replace("{number}", "7")
            .replace("/events/{id}", "/events/evt_019f0000000070008000000000000009")
            .replace("/deliveries/{id}", "/deliveries/dlv_019f0000000070008000000000000009")
            .replace("/jobs/{id}", "/jobs/job_019f0000000070008000000000000009");
        if path == template || path.contains('{') || template.ends_with("/sources/{source}") {
            continue;
        }
        let path = if path.ends_with("/diff") { format!("{path}?from=1&to=2") } else { path };
        let answer = bare(&app.client, Method::GET, &path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()["code"].as_str()),
            (404, Some("not_found")),
            "{path}"
        );
    }
    app.stop().await;
}
