//! Destination scopes: a scoped token sees nothing outside its scope in any operation.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::{bare, with_role};
use crate::support::app::{Builder, TestApp, pipeline};
use crate::support::receiver::{Behaviour, Receiver};

/// A service with two destinations, both of which have dead letters, attempts, tests and jobs.
async fn service() -> TestApp {
    // It answers for as long as the test's process lives.
    let refusing = Box::leak(Box::new(Receiver::start(Behaviour::status(422)).await));
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

/// Waits until the redrives have ended, and what they made due is dead again.
async fn until_redriven(app: &TestApp) {
    let is_done = |job: &Value| job["state"] == "done";
    let ended = async {
        while !app.client.get("/api/v1/jobs").await.unwrap().1["items"]
            .as_array()
            .is_some_and(|jobs| jobs.iter().all(is_done))
        {
            // Each takes a step a second.
            app.clock.advance(Duration::from_secs(1));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ended).await.expect("the jobs end");
    app.until_settled(2).await;
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

#[tokio::test]
async fn a_new_token_inherits_no_jobs_of_a_revoked_one_with_its_name() {
    let app = service().await;
    let limited = with_role(&app, "operator", &["website/mine"]).await;
    let (_, page) = limited.get("/api/v1/deliveries").await.unwrap();
    let job = json!({"ids": [page["items"][0]["id"]]});
    let (status, job) = limited.post("/api/v1/redrives", &job).await.unwrap();
    assert_eq!(status, 202, "{job}");
    let jobs = async |client: &postrider::sender::ApiClient| {
        let (_, page) = client.get("/api/v1/jobs").await.unwrap();
        let ids = page["items"].as_array().unwrap().iter();
        ids.filter(|it| it["id"] == job["id"]).count()
    };
    assert_eq!(jobs(&limited).await, 1, "its own");
    let name = "/api/v1/tokens/a-operator-1";
    assert!(bare(&app.client, Method::DELETE, name).await.status.is_success());
    // The same name, for another destination, at the same moment.
    let other = with_role(&app, "operator", &["website/foreign"]).await;
    assert_eq!(jobs(&other).await, 0);
    let path = format!("/api/v1/jobs/{}", job["id"].as_str().unwrap());
    assert_eq!(other.get(&path).await.unwrap().0, 404);
    assert_eq!(jobs(&app.client).await, 1);
    app.stop().await;
}

#[tokio::test]
async fn scope_is_checked_before_an_id_is_looked_up() {
    let app = service().await;
    let limited = with_role(&app, "operator", &["website/mine"]).await;
    let (_, page) = app.client.get("/api/v1/deliveries?destination=foreign").await.unwrap();
    let theirs = page["items"][0]["id"].as_str().unwrap().to_owned();
    let nothing = "dlv_019f0000000070008000000000000009".to_owned();
    let mut answers = Vec::new();
    for id in [theirs, nothing] {
        let (status, answer) =
            limited.post("/api/v1/redrives", &json!({"ids": [id]})).await.unwrap();
        assert_eq!(status, 403, "{answer}");
        answers.push(answer["detail"].clone());
    }
    assert_eq!(answers[0], answers[1], "whether it exists is not told");
    app.stop().await;
}

#[tokio::test]
async fn an_id_with_another_time_names_nothing() {
    let app = service().await;
    until_redriven(&app).await;
    let id = async |path: &str| {
        let (_, page) = app.client.get(path).await.unwrap();
        page["items"][0]["id"].as_str().unwrap().to_owned()
    };
    let event = id("/api/v1/events").await;
    let delivery = id("/api/v1/deliveries").await;
    let job = id("/api/v1/jobs").await;
    // The first digits are the time.
    let moved = |id: &str| format!("{}0123456789ab{}", &id[..4], &id[16..]);
    for (known, path) in [
        (&event, "/api/v1/events/{}"),
        (&event, "/api/v1/events/{}/explain"),
        (&delivery, "/api/v1/deliveries/{}"),
        (&job, "/api/v1/jobs/{}"),
    ] {
        let status = app.client.get(&path.replace("{}", known)).await.unwrap().0;
        assert_eq!(status, 200, "{path}");
        let status = app.client.get(&path.replace("{}", &moved(known))).await.unwrap().0;
        assert_eq!(status, 404, "{path}");
    }
    for (known, path) in [
        (&event, "/api/v1/deliveries?event={}"),
        (&event, "/api/v1/dead-letters?event={}"),
        (&delivery, "/api/v1/attempts?delivery={}"),
    ] {
        let (_, page) = app.client.get(&path.replace("{}", known)).await.unwrap();
        assert_ne!(page["items"], json!([]), "{path}");
        let (status, page) = app.client.get(&path.replace("{}", &moved(known))).await.unwrap();
        assert_eq!((status.as_u16(), &page["items"]), (200, &json!([])), "{path}");
    }
    for (action, request) in [
        ("redrives", json!({"filter": {"event": moved(&event)}})),
        ("discards", json!({"filter": {"event": moved(&event)}})),
        ("redrives", json!({"ids": [moved(&delivery)]})),
    ] {
        let (status, answer) =
            app.client.post(&format!("/api/v1/{action}"), &request).await.unwrap();
        assert_eq!(status, 422, "{answer}");
    }
    let test = json!({"event": moved(&event)});
    let path = "/api/v1/mappings/website/mine/everything/tests";
    assert_eq!(app.client.post(path, &test).await.unwrap().0, 404);
    app.stop().await;
}
