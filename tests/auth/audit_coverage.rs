//! Audit coverage: every mutating operation of the API leaves an entry, and pages change state only
//! through the same operations.

use std::collections::BTreeSet;

use http::{HeaderMap, Method};
use serde_json::{Value, json};

use crate::outbound_auth::begin_in;
use crate::support::app::{Builder, TestApp, pipeline};
use crate::support::oauth::OauthServer;
use crate::support::receiver::{Behaviour, Receiver};
use crate::tidy::files;
use crate::web::visitor::Visitor;

/// An operation, done with this body, and the action that it leaves on record; none where it changes
/// nothing. `JOB` in a path is the job that was made last.
struct Done(&'static str, &'static str, &'static str, Value, Option<&'static str>);

const SOURCE: &str = "/sources/made";
const DESTINATION: &str = "/destinations/made/crm";
const MAPPING: &str = "/mappings/made/crm/all";
const URL: &str = "https://127.0.0.1:1/hook";

/// Every operation that is no look, in an order in which each can be done.
fn all() -> Vec<Done> {
    let mut all = on_what_is_set_up();
    all.extend(pauses());
    all.extend(removals());
    all.extend(others());
    all
}

fn on_what_is_set_up() -> Vec<Done> {
    let destination = json!({"source": "made", "name": "crm"});
    let mapping = json!({"source": "made", "destination": "crm", "name": "all", "url": URL});
    let (create, change) = (Some("create"), Some("change"));
    let s = "/sources/{source}";
    let d = "/destinations/{source}/{destination}";
    let m = "/mappings/{source}/{destination}/{mapping}";
    vec![
        Done("POST", "/sources", "/sources", json!({"name": "made"}), create),
        Done("PATCH", s, SOURCE, json!({"enabled": false}), change),
        Done("PUT", s, SOURCE, json!({}), change),
        Done(
            "POST",
            "/sources/{source}/rotate-write-key",
            "/sources/made/rotate-write-key",
            json!({}),
            change,
        ),
        Done("POST", "/destinations", "/destinations", destination, create),
        Done("PATCH", d, DESTINATION, json!({"timeout_ms": 1000}), change),
        Done("PUT", d, DESTINATION, json!({"max_in_flight": 3}), change),
        Done(
            "POST",
            "/destinations/{source}/{destination}/rotate-shared-secret",
            "/destinations/made/crm/rotate-shared-secret",
            json!({}),
            change,
        ),
        Done("POST", "/mappings", "/mappings", mapping, create),
        Done("PATCH", m, MAPPING, json!({"method": "PUT"}), change),
        Done("PUT", m, MAPPING, json!({"url": URL, "method": "PATCH"}), change),
        Done(
            "POST",
            "/mappings/{source}/{destination}/{mapping}/roll-back",
            "/mappings/made/crm/all/roll-back",
            json!({"revision": 1}),
            change,
        ),
        Done(
            "POST",
            "/mappings/{source}/{destination}/{mapping}/tests",
            "/mappings/made/crm/all/tests",
            json!({"sample": "track", "send": true}),
            Some("test_send"),
        ),
    ]
}

fn pauses() -> Vec<Done> {
    vec![
        Done(
            "POST",
            "/mappings/{source}/{destination}/{mapping}/pause",
            "/mappings/made/crm/all/pause",
            json!({}),
            Some("pause"),
        ),
        Done(
            "POST",
            "/mappings/{source}/{destination}/{mapping}/resume",
            "/mappings/made/crm/all/resume",
            json!({}),
            Some("resume"),
        ),
        Done(
            "POST",
            "/destinations/{source}/{destination}/pause",
            "/destinations/made/crm/pause",
            json!({}),
            Some("pause"),
        ),
        Done(
            "POST",
            "/destinations/{source}/{destination}/resume",
            "/destinations/made/crm/resume",
            json!({"rate_per_second": 5}),
            Some("resume"),
        ),
    ]
}

fn removals() -> Vec<Done> {
    let remove = Some("remove");
    vec![
        Done("DELETE", "/mappings/{source}/{destination}/{mapping}", MAPPING, json!({}), remove),
        Done("DELETE", "/destinations/{source}/{destination}", DESTINATION, json!({}), remove),
        Done("DELETE", "/sources/{source}", SOURCE, json!({}), remove),
    ]
}

fn others() -> Vec<Done> {
    let added = json!({"document": pipeline(&[("new", URL, json!({}))])});
    let dead = json!({"filter": {"state": "dead"}, "rate_per_second": 1});
    vec![
        Done(
            "POST",
            "/destinations/{source}/{destination}/connect",
            "/destinations/website/crm/connect",
            json!({}),
            // It leads to the page on which a browser begins.
            None,
        ),
        Done(
            "POST",
            "/destinations/{source}/{destination}/disconnect",
            "/destinations/website/crm/disconnect",
            json!({}),
            Some("disconnect"),
        ),
        Done("POST", "/redrives", "/redrives", dead.clone(), Some("redrive")),
        Done("POST", "/jobs/{id}/cancel", "/jobs/JOB/cancel", json!({}), Some("cancel_job")),
        Done("POST", "/discards", "/discards", dead, Some("discard")),
        Done(
            "POST",
            "/backfills",
            "/backfills",
            json!({"mapping": "refusing/everything", "since": "2020-01-01T00:00:00Z"}),
            Some("backfill"),
        ),
        Done(
            "POST",
            "/tokens",
            "/tokens",
            json!({"name": "ci", "role": "viewer"}),
            Some("create_token"),
        ),
        Done("DELETE", "/tokens/{name}", "/tokens/ci", json!({}), Some("revoke_token")),
        Done(
            "PUT",
            "/inspectors/{name}",
            "/inspectors/any",
            json!({"statuses": "503"}),
            Some("set_inspector"),
        ),
        Done(
            "DELETE",
            "/inspectors/{name}",
            "/inspectors/any",
            json!({}),
            Some("forget_inspector"),
        ),
        Done("POST", "/pipeline", "/pipeline", added, Some("create")),
        Done("POST", "/prune", "/prune", json!({}), Some("prune")),
        // It looks at everything and changes nothing.
        Done("POST", "/doctor", "/doctor", json!({}), None),
    ]
}

/// A service with a destination to connect, dead letters of another, and inspectors.
async fn service(server: &OauthServer, refusing: &Receiver) -> TestApp {
    let app = Builder::new().settings(|it| it.inspector = true).start().await;
    server.register(format!("http://{}/oauth/callback", app.app.address));
    let auth = json!({"auth": server.authorization_code()});
    app.apply(pipeline(&[
        ("crm", &server.receiver.url("/hook"), auth),
        ("refusing", &refusing.url("/"), json!({})),
    ]))
    .await;
    for number in 0..3 {
        app.track(&number.to_string()).await;
        app.until(|rows| rows.iter().filter(|row| row.delivery.reason.is_some()).count() > number)
            .await;
    }
    app
}

async fn entries(app: &TestApp) -> Vec<Value> {
    let (_, page) = app.client.get("/api/v1/audit?limit=1000").await.unwrap();
    page["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn every_mutating_operation_is_in_the_audit_log() {
    let server = OauthServer::start(None).await;
    let refusing = Receiver::start(Behaviour::status(422)).await;
    let app = service(&server, &refusing).await;
    let mut job = String::new();
    for Done(method, _, path, body, action) in all() {
        let before = entries(&app).await.len();
        let path = format!("/api/v1{}", path.replace("JOB", &job));
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        headers.insert("x-request-id", "walk-7".parse().unwrap());
        let method: Method = method.parse().unwrap();
        let sent =
            app.client.request(method.clone(), &path, headers, body.to_string().into()).await;
        let answer = sent.unwrap();
        assert!(answer.status.is_success(), "{method} {path}: {answer:?}");
        let answer = answer.json();
        let after = entries(&app).await;
        let new = &after[..after.len() - before];
        let told: Vec<_> = new.iter().map(|it| it["action"].as_str().unwrap()).collect();
        match action {
            Some(action) => assert!(told.contains(&action), "{method} {path} leaves {told:?}"),
            None => assert!(
                told.iter().all(|it| *it == "finish_job"),
                "{method} {path} leaves {told:?}"
            ),
        }
        // A job that ends meanwhile has an entry of its own.
        for entry in new.iter().filter(|it| it["action"] != "finish_job") {
            let who = (&entry["actor"], &entry["from"], &entry["request_id"]);
            let expected = (&json!("operator"), &json!("127.0.0.1"), &json!("walk-7"));
            assert_eq!(who, expected, "{method} {path}: {entry}");
        }
        if answer["authorize_url"].is_string() {
            let begun = begin_in(&mut Visitor::signed_in(&app).await, "crm").await;
            assert_eq!(entries(&app).await[0]["action"], "begin_connect");
            assert_eq!(begun.come_back(&server.grant(&begun.url).await).await.status, 200);
        }
        if let Some(id) = answer["id"].as_str().filter(|id| id.starts_with("job_")) {
            id.clone_into(&mut job);
        }
    }
    app.stop().await;
}

/// An operation that is added has to be done above.
#[tokio::test]
async fn every_mutating_operation_is_exercised() {
    let app = Builder::new().start().await;
    let (_, document) = app.client.get("/openapi.json").await.unwrap();
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let Some(path) = path.strip_prefix("/api/v1") else { continue };
        let methods = item.as_object().unwrap().keys().filter(|method| *method != "get");
        described.extend(methods.map(|method| (method.to_uppercase(), path.to_owned())));
    }
    let done: BTreeSet<_> = all().iter().map(|it| (it.0.to_owned(), it.1.to_owned())).collect();
    assert_eq!(described, done);
    app.stop().await;
}

/// Pages change state through the methods of the service, which write the audit entries, as the API
/// does. Past the service they only read, sign in and sign out.
#[test]
fn pages_change_state_only_through_the_service() {
    let looks = ["store.delivery(", "store.event(", "node.test_mapping("];
    let signs = [
        "authenticator.authenticate_session(",
        "authenticator.sign_in(",
        "authenticator.sign_out(",
    ];
    let mut faults = Vec::new();
    for file in files(&["src/web"], "rs") {
        for (place, _) in file.text.match_indices("service.") {
            let rest = &file.text[place + "service.".len()..];
            let part = rest.split(|c: char| !c.is_ascii_lowercase()).next().unwrap_or_default();
            let past = ["store", "editor", "authenticator", "auth", "node", "live"].contains(&part)
                && rest[part.len()..].starts_with('.');
            let known = looks.iter().chain(&signs).any(|known| rest.starts_with(known));
            if past && !known {
                let line = rest.lines().next().unwrap_or_default();
                faults.push(format!("{}: service.{line}", file.path));
            }
        }
    }
    assert!(faults.is_empty(), "pages ask the service: {faults:#?}");
}

/// What an operator or an admin can have the service do is an operation of the API.
#[test]
fn every_service_operation_has_an_api_endpoint() {
    let api: String = files(&["src/api"], "rs").iter().map(|file| file.text.clone()).collect();
    let mut count = 0;
    for file in files(&["src/service"], "rs") {
        for part in file.text.split("pub async fn ").skip(1) {
            let head = part.split('{').next().unwrap_or_default();
            if head.contains("&Operator") || head.contains("&Admin") {
                let name = head.split('(').next().unwrap_or_default();
                // What would be sent, told without sending or saving it: nothing to put on record. And a
                // connection begins in a browser: the API leads to its page.
                if ["preview", "connect"].contains(&name) {
                    continue;
                }
                assert!(api.contains(&format!("service.{name}(")), "{}: {name}", file.path);
                count += 1;
            }
        }
    }
    assert!(count >= 10, "{count}");
}
