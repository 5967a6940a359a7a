//! Lists of the API: authentication, filters, ids, pagination, problem details.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use postrider::domain::clock::Clock as _;
use postrider::sender::ApiClient;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::support::app::{Builder, TestApp};
use crate::support::receiver::{Behaviour, Receiver};

async fn get(app: &TestApp, path: &str) -> (u16, Value) {
    let (status, body) = app.client.get(path).await.unwrap();
    (status.as_u16(), body)
}

async fn with_events(count: usize) -> TestApp {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    for number in 0..count {
        app.track(&format!("event-{number}")).await;
    }
    app.until_settled(count).await;
    app
}

#[tokio::test]
async fn without_a_token_only_health_endpoints_answer() {
    let app = Builder::new().start().await;
    let base = format!("http://{}", app.app.address);
    for token in [None, Some(SecretString::from("prt_wrong"))] {
        let stranger = ApiClient::new(&base, token).unwrap();
        let (status, problem) = stranger.get("/api/v1/status").await.unwrap();
        assert_eq!((status, &problem["code"]), (StatusCode::UNAUTHORIZED, &"unauthorized".into()));
        for path in ["/healthz", "/readyz", "/metrics"] {
            assert_eq!(stranger.get(path).await.unwrap().0, StatusCode::OK, "{path}");
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn invalid_paths_methods_and_bodies_get_problem_details() {
    let app = Builder::new().start().await;
    assert_eq!(get(&app, "/api/v1/nowhere").await.0, 404);
    let ask = |method: Method, path: &'static str, body: Bytes| {
        let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        app.client.request(method, path, HeaderMap::from_iter([json]), body)
    };
    let wrong_method = ask(Method::DELETE, "/api/v1/status", Bytes::new()).await.unwrap();
    assert_eq!(wrong_method.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(wrong_method.headers["content-type"], "application/problem+json");
    let not_json = ask(Method::POST, "/api/v1/redrives", Bytes::from("{")).await.unwrap();
    assert_eq!(not_json.status, StatusCode::BAD_REQUEST);
    let large = Bytes::from(vec![b' '; 9 * 1024 * 1024]);
    let large = ask(Method::POST, "/api/v1/pipeline", large).await.unwrap();
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    app.stop().await;
}

#[tokio::test]
async fn invalid_filters_are_reported_with_their_allowed_values() {
    let app = with_events(1).await;
    let cases = [
        (
            "state=ded",
            "state: should be one of pending, leased, delivered, dead, discarded, not \"ded\"; did you mean dead?",
        ),
        ("destination=on", "destination: there is no destination \"on\"; did you mean one?"),
        ("status=9", "status: should be a status such as 503, or 5xx, not \"9\""),
        (
            "since=noon",
            "since: should be a time such as 2026-03-01T12:00:00Z, or how long ago, such as 2h, not \"noon\"",
        ),
    ];
    for (query, detail) in cases {
        let (status, problem) = get(&app, &format!("/api/v1/deliveries?{query}")).await;
        assert_eq!((status, problem["detail"].as_str()), (422, Some(detail)));
    }
    let (_, problem) = get(&app, "/api/v1/deliveries?stat=dead&limit=0").await;
    assert_eq!(problem["faults"].as_array().unwrap().len(), 2);
    app.stop().await;
}

#[tokio::test]
async fn a_public_id_resolves_to_one_row_or_none() {
    let app = with_events(1).await;
    let (_, page) = get(&app, "/api/v1/deliveries").await;
    let id = page["items"][0]["id"].as_str().unwrap().to_owned();
    let (status, detail) = get(&app, &format!("/api/v1/deliveries/{id}")).await;
    assert_eq!((status, &detail["attempts"][0]["status"]), (200, &json!(200)));
    assert_eq!(detail["event"]["body"]["event"], "event-0");
    let event = detail["event"]["id"].as_str().unwrap();
    let (_, event) = get(&app, &format!("/api/v1/events/{event}")).await;
    assert_eq!(event["deliveries"][0]["id"], id.as_str());
    assert_eq!(get(&app, "/api/v1/deliveries/nonsense").await.0, 400);
    // The same key with another time of making is another database's.
    let foreign = "dlv_018bcfe5680070008000000000000001";
    assert_eq!(get(&app, &format!("/api/v1/deliveries/{foreign}")).await.0, 404);
    let request = json!({"ids": [foreign]});
    let (status, _) = app.client.post("/api/v1/discards", &request).await.unwrap();
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    app.stop().await;
}

#[tokio::test]
async fn pages_have_no_gaps_and_no_overlaps() {
    let app = with_events(5).await;
    let mut names = Vec::new();
    let mut path = "/api/v1/events?limit=2".to_owned();
    loop {
        let (_, page) = get(&app, &path).await;
        let items = page["items"].as_array().unwrap();
        names.extend(items.iter().map(|item| item["name"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/events?limit=2&before={next}");
    }
    assert_eq!(names, ["event-4", "event-3", "event-2", "event-1", "event-0"]);
    app.stop().await;
}

#[tokio::test]
async fn a_job_requires_a_valid_condition() {
    let app = with_events(1).await;
    for (path, request, detail) in [
        (
            "/api/v1/redrives",
            json!({}),
            "filter: should have at least one condition, which selects deliveries",
        ),
        (
            "/api/v1/redrives",
            json!({"filter": {"state": "pending"}}),
            "filter.state: a redrive does not select pending deliveries",
        ),
        (
            "/api/v1/discards",
            json!({"filter": {"limit": "3"}}),
            "limit: is for lists: a job selects every match",
        ),
    ] {
        let (status, problem) = app.client.post(path, &request).await.unwrap();
        assert_eq!((status.as_u16(), problem["detail"].as_str()), (422, Some(detail)));
    }
    app.stop().await;
}

#[tokio::test]
async fn every_filter_finds_its_deliveries_and_events() {
    let app = with_events(3).await;
    let count = async |path: &str| {
        let (status, page) = get(&app, &format!("/api/v1{path}")).await;
        assert_eq!(status, 200, "{path}: {page}");
        page["items"].as_array().unwrap().len()
    };
    for (filter, found) in [
        ("status=2xx", 3),
        ("status=200", 3),
        ("status=5xx", 0),
        ("name=event-1", 1),
        ("message_id=event-2", 1),
        ("user_id=u1", 3),
        ("user_id=u2", 0),
        ("source=website", 3),
        ("type=track", 3),
        ("type=page", 0),
    ] {
        assert_eq!(count(&format!("/deliveries?{filter}")).await, found, "{filter}");
        if !filter.starts_with("status") {
            assert_eq!(count(&format!("/events?{filter}")).await, found, "{filter}");
        }
    }
    let now = app.clock.now().to_iso();
    assert_eq!(count(&format!("/events?until={now}")).await, 0);
    assert_eq!(count(&format!("/events?since={now}")).await, 3);
    for wrong in ["status=6", "status=0xx", "status=99xx", "rejected=x", "nothing=1"] {
        let (status, problem) = get(&app, &format!("/api/v1/deliveries?{wrong}")).await;
        assert_eq!(status, 422, "{wrong}: {problem}");
    }
    app.stop().await;
}

#[tokio::test]
async fn dead_letters_are_listed_and_grouped_and_statistics_count_them() {
    let receiver = Receiver::start(Behaviour::status(404)).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    for number in 0..3 {
        app.track(&format!("event-{number}")).await;
    }
    app.until_settled(3).await;
    let (_, list) = get(&app, "/api/v1/dead-letters?reason=rejected&limit=2").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    assert!(list["next"].is_string());
    assert_eq!(get(&app, "/api/v1/dead-letters?state=pending").await.0, 422);
    let (_, groups) = get(&app, "/api/v1/dead-letters/groups").await;
    let group = &groups["items"][0];
    let told = (&group["destination"], &group["reason"], &group["count"], &group["more"]);
    let expected = (&json!("website/one"), &json!("rejected"), &json!(3), &json!(false));
    assert_eq!(told, expected);

    // Before they are stored and after it they count once.
    app.clock.advance(std::time::Duration::from_secs(60));
    for is_stored in [false, true] {
        let step = "/statistics?step_minutes=60";
        for path in ["/statistics", step, "/statistics?mapping=everything"] {
            let (_, statistics) = get(&app, &format!("/api/v1{path}")).await;
            let total = &statistics["total"];
            let told = (&total["accepted"], &total["attempts"], &total["dead"]);
            assert_eq!(told, (&json!(3), &json!(3), &json!(3)), "{path} {is_stored}: {statistics}");
            assert_eq!((&total["success_permille"], total["p50_us"].is_u64()), (&json!(0), true));
            assert_eq!(statistics["steps"].as_array().unwrap().len(), 1);
        }
        let (_, statistics) = get(&app, "/api/v1/statistics").await;
        let now = statistics["levels"].as_array().unwrap().last().unwrap();
        assert_eq!((&now["waiting"], &now["dead"]), (&json!(0), &json!(3)), "{is_stored}");
        let (_, health) = get(&app, "/api/v1/health").await;
        assert_eq!(health[0]["destination"], "website/one");
        assert_eq!(health[0]["last_hour"]["dead"], 3);
        app.app.duties.clone().roll_up().await.unwrap();
        assert_eq!(app.app.store.roll_up_statistics(1).await.unwrap(), []);
    }
    for (wrong, field) in [
        ("since=2026-01-01T00:00:00Z&step_minutes=1", "step_minutes"),
        ("until=2020-01-01T00:00:00Z&since=2021-01-01T00:00:00Z", "until"),
        ("step_minutes=0", "step_minutes"),
        ("destination=nowhere", "destination"),
        ("x=1", "x"),
    ] {
        let (status, problem) = get(&app, &format!("/api/v1/statistics?{wrong}")).await;
        assert_eq!(status, 422, "{wrong}");
        assert_eq!(problem["faults"][0]["path"], field, "{problem}");
    }
    app.stop().await;
}
