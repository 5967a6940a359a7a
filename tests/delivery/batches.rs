//! Batching end to end: size, linger time, splitting, multi-status answers.

use std::time::Duration;

use http::StatusCode;
use postrider::domain::attempt::{Attempt, Outcome};
use postrider::domain::delivery::{Reason, State};
use postrider::domain::id::{Noun, PublicId};
use postrider::sender::{verify_standard, verify_x_signature};
use postrider::store::DeliveryRow;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::support::app::{Builder, SECRET, TestApp, pipeline};
use crate::support::receiver::{Behaviour, Received, Receiver, by_request, in_turn};

const SECOND: Duration = Duration::from_secs(1);

/// A destination whose one mapping batches, with more settings.
fn destination(receiver: &Receiver, batching: &Value, more: &Value) -> Value {
    let url = receiver.url("/");
    let mut settings = json!({"mappings": [{"name": "all", "url": url, "batching": batching}]});
    for (key, value) in more.as_object().into_iter().flatten() {
        settings[key] = value.clone();
    }
    settings
}

async fn start(receiver: &Receiver, batching: Value, more: Value) -> TestApp {
    TestApp::with(&[("one", "", destination(receiver, &batching, &more))]).await
}

/// Tracks events `m-FIRST` … in one request.
async fn track_all(app: &TestApp, numbers: std::ops::Range<usize>) {
    let event = |number: usize| json!({"type": "track", "event": "E", "userId": "u", "messageId": format!("m-{number}")});
    let body = json!({"batch": numbers.map(event).collect::<Vec<_>>()});
    assert_eq!(app.send("/v1/batch", &body).await, StatusCode::OK);
}

/// The messageIds in a request.
fn messages(request: &Received) -> Vec<String> {
    let events: Vec<Value> = serde_json::from_slice(&request.body).expect("an array");
    events.iter().map(|event| event["messageId"].as_str().unwrap().to_owned()).collect()
}

fn named(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("m-{number}")).collect()
}

fn assert_signed(request: &Received) {
    let secret = SecretString::from(SECRET);
    let header = |name: &str| request.header(name).unwrap_or_else(|| panic!("no {name}"));
    let events: Vec<&serde_json::value::RawValue> =
        serde_json::from_slice(&request.body).expect("an array");
    assert!(verify_x_signature(&secret, events[0].get().as_bytes(), header("x-signature")));
    let timestamp = header("webhook-timestamp").parse().unwrap();
    let signatures = header("webhook-signature");
    assert!(verify_standard(&secret, header("webhook-id"), timestamp, &request.body, signatures));
}

fn count(rows: &[DeliveryRow], state: State) -> usize {
    rows.iter().filter(|row| row.delivery.state == state).count()
}

async fn attempts_of(app: &TestApp, row: &DeliveryRow) -> Vec<Attempt> {
    app.attempts(row.delivery.id).await
}

#[tokio::test]
async fn a_batch_is_sent_when_full_or_after_its_linger_time() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = start(&receiver, json!({"size": 3, "linger_ms": 2_000}), json!({})).await;
    track_all(&app, 0..7).await;
    receiver.wait_for(2).await;
    app.until(|rows| count(rows, State::Delivered) == 6).await;
    app.clock.advance(SECOND);
    track_all(&app, 7..8).await;
    assert_eq!(receiver.requests().len(), 2, "the seventh lingers for two seconds");
    app.clock.advance(SECOND);
    let requests = receiver.wait_for(3).await;
    let mut full: Vec<_> = requests[..2].iter().map(messages).collect();
    full.sort();
    assert_eq!(full, [named(0..3), named(3..6)]);
    assert_eq!(messages(&requests[2]), named(6..8), "a later event joins the batch");
    for request in &requests {
        assert_signed(request);
        assert_eq!(request.header("content-type"), Some("application/json"));
    }
    app.until_settled(8).await;
    track_all(&app, 8..9).await;
    app.clock.advance(2 * SECOND);
    let alone = receiver.wait_for(4).await.swap_remove(3);
    assert_eq!(messages(&alone), named(8..9), "a single event is an array of one");
    assert_signed(&alone);
    assert!(alone.header("webhook-id").unwrap().starts_with("dlv_"));
    app.until_settled(9).await;
    app.ledger().await;
}

#[tokio::test]
async fn a_batch_of_a_thousand_events_is_one_request_stored_once() {
    let receiver = Receiver::start(Behaviour::ok().body("thanks")).await;
    let app = start(&receiver, json!({}), json!({})).await;
    track_all(&app, 0..500).await;
    assert_eq!(receiver.requests().len(), 0);
    track_all(&app, 500..1_000).await;
    let request = receiver.wait_for(1).await.swap_remove(0);
    assert_eq!(messages(&request), named(0..1_000));
    assert_signed(&request);
    let rows = app.until_settled(1_000).await;
    for row in [&rows[0], &rows[999]] {
        let attempts = attempts_of(&app, row).await;
        assert_eq!(attempts.len(), 1);
        let made = &attempts[0].result;
        let batch = made.batch.as_ref().expect("part of a batch");
        assert_eq!((batch.size, batch.status, made.status), (1_000, Some(200), Some(200)));
        assert_eq!(Some(batch.webhook_id.as_str()), request.header("webhook-id"));
        let exchange = made.exchange();
        assert_eq!(exchange.url, receiver.url("/"));
        assert_eq!(exchange.response_body, "thanks");
        assert!(exchange.request_headers.contains("webhook-id: bat_"));
    }
    assert_eq!(app.ledger().await.delivered, 1_000);
}

#[tokio::test]
async fn a_batch_has_at_most_four_megabytes() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = start(&receiver, json!({"size": 4_000}), json!({})).await;
    let padding = "x".repeat(30_000);
    for round in 0..15 {
        let event = |number: usize| {
            json!({"type": "track", "event": "E", "userId": "u",
                "messageId": format!("m-{}", round * 10 + number), "properties": {"p": padding}})
        };
        let body = json!({"batch": (0..10).map(event).collect::<Vec<_>>()});
        assert_eq!(app.send("/v1/batch", &body).await, StatusCode::OK);
    }
    receiver.wait_for(1).await;
    app.until(|rows| count(rows, State::Delivered) > 100).await;
    app.clock.advance(SECOND);
    app.until_settled(150).await;
    let requests = receiver.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| request.body.len() <= 4_000_000));
    assert!(requests[0].body.len() > 3_900_000, "{}", requests[0].body.len());
}

#[tokio::test]
async fn a_rejected_batch_is_split_down_to_the_rejected_event() {
    let receiver = Receiver::start(by_request(|request| {
        let is_bad = messages(request).contains(&"m-42".to_owned());
        Behaviour::status(if is_bad { 400 } else { 200 })
    }))
    .await;
    let app = start(&receiver, json!({"size": 100}), json!({})).await;
    track_all(&app, 0..100).await;
    let rows = app.until_settled(100).await;
    assert_eq!(count(&rows, State::Delivered), 99);
    let dead = rows.iter().find(|row| row.delivery.state == State::Dead).expect("one");
    assert_eq!((dead.message_id.as_str(), dead.delivery.reason), ("m-42", Some(Reason::Rejected)));
    assert_eq!(dead.delivery.tried, 1, "rejected batches do not count towards the backoff");
    let attempts = attempts_of(&app, dead).await;
    let sizes: Vec<_> =
        attempts.iter().map(|it| it.result.batch.as_ref().map(|it| it.size)).collect();
    let splits = [Some(100), Some(50), Some(25), Some(13), Some(7), Some(4), Some(2), None];
    // The last sizes depend on the half that the event falls into.
    assert_eq!(sizes[..3], splits[..3]);
    assert_eq!(sizes.last(), Some(&None));
    assert!((7..=8).contains(&sizes.len()), "{sizes:?}");
    for (attempt, number) in attempts.iter().zip(1..) {
        assert_eq!((attempt.number, attempt.late), (number, false));
        assert_eq!((attempt.result.outcome, attempt.result.status), (Outcome::Rejected, Some(400)));
    }
    let accepted: Vec<String> = receiver
        .requests()
        .iter()
        .map(messages)
        .filter(|names| !names.contains(&"m-42".to_owned()))
        .flatten()
        .collect();
    assert_eq!(accepted.len(), 99, "each of the others was accepted once");
    app.ledger().await;
}

#[tokio::test]
async fn a_multi_status_answer_gives_each_event_its_own_outcome() {
    let answer = json!({"multistatus": [
        {"status": 200, "body": {}},
        {"status": 400, "errormessage": "no such plan"},
        {"status": 503},
        {"status": 429},
    ]});
    let script = in_turn(vec![Behaviour::status(207).body(answer.to_string()), Behaviour::ok()]);
    let receiver = Receiver::start(script).await;
    let app = start(&receiver, json!({"size": 4}), json!({})).await;
    track_all(&app, 0..4).await;
    let rows = app
        .until(|rows| rows.iter().all(|it| it.delivery.state != State::Leased) && rows.len() == 4)
        .await;
    let states: Vec<_> = rows.iter().map(|it| it.delivery.state).collect();
    assert_eq!(states, [State::Delivered, State::Dead, State::Pending, State::Pending]);
    let id = PublicId::new(Noun::Delivery, rows[1].delivery.accepted_at, rows[1].delivery.id.0);
    let (_, shown) = app.client.get(&format!("/api/v1/deliveries/{id}")).await.unwrap();
    let attempt = &shown["attempts"][0];
    assert_eq!(attempt["error"], "batch item answered 400: no such plan");
    assert_eq!((&attempt["status"], &attempt["batch"]["status"]), (&json!(400), &json!(207)));
    assert_eq!(attempt["batch"]["size"], 4);
    assert_eq!(attempt["response_body"], answer.to_string());
    app.advance_to_due().await;
    let requests = receiver.wait_for(2).await;
    assert_eq!(messages(&requests[1]), named(2..4), "retries of one batch come due together");
    let rows = app.until_settled(4).await;
    assert_eq!((count(&rows, State::Delivered), count(&rows, State::Dead)), (3, 1));
    app.ledger().await;
}

#[tokio::test]
async fn a_failed_batch_is_retried_as_the_same_batch() {
    // A connection that is closed without an answer ends the attempt only if it is a new one.
    let failing = Behaviour::status(503).header("connection", "close");
    let script = in_turn(vec![failing, Behaviour::close(), Behaviour::ok()]);
    let receiver = Receiver::start(script).await;
    let app = start(&receiver, json!({"size": 50}), json!({})).await;
    track_all(&app, 0..50).await;
    for tries in 1..3 {
        let rows = app
            .until(|rows| {
                rows.iter()
                    .all(|it| it.delivery.state == State::Pending && it.delivery.tried == tries)
            })
            .await;
        let due: std::collections::BTreeSet<_> = rows.iter().map(|it| it.delivery.due_at).collect();
        assert_eq!(due.len(), 1, "they share their jitter");
        app.advance_to_due().await;
    }
    app.until_settled(50).await;
    let requests = receiver.requests();
    assert_eq!(requests.len(), 3);
    for request in &requests {
        assert_signed(request);
        assert_eq!(request.body, requests[0].body);
        assert_eq!(request.header("webhook-id"), requests[0].header("webhook-id"));
    }
    let attempts = attempts_of(&app, &app.delivery(7).await).await;
    let outcomes: Vec<_> = attempts.iter().map(|it| (it.number, it.result.outcome)).collect();
    assert_eq!(outcomes, [(1, Outcome::ServerError), (2, Outcome::Reset), (3, Outcome::Delivered)]);
    app.ledger().await;
}

#[tokio::test]
async fn a_batch_times_out_as_a_whole() {
    let receiver = Receiver::start(in_turn(vec![Behaviour::hang(), Behaviour::ok()])).await;
    let app = start(&receiver, json!({"size": 10}), json!({"timeout_ms": 1_000})).await;
    track_all(&app, 0..10).await;
    let timed_out = |rows: &[DeliveryRow]| {
        rows.iter().all(|it| it.delivery.last_outcome == Some(Outcome::Timeout))
    };
    app.until(timed_out).await;
    app.advance_to_due().await;
    let rows = app.until_settled(10).await;
    assert_eq!(count(&rows, State::Delivered), 10);
    assert_eq!(receiver.requests().len(), 2);
    app.ledger().await;
}

#[tokio::test]
async fn shutdown_releases_lingering_deliveries() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = start(&receiver, json!({"linger_ms": 60_000}), json!({})).await;
    track_all(&app, 0..5).await;
    let (dir, clock) = app.stop().await;
    assert_eq!(receiver.requests().len(), 0);
    let app = Builder::after(dir, clock).start().await;
    let rows = app.until_settled(5).await;
    assert!(rows.iter().all(|it| it.delivery.tried == 1), "a released lease is no attempt");
    assert_eq!(receiver.requests().len(), 1, "deliveries claimed from the store do not linger");
    app.ledger().await;
}

#[tokio::test]
async fn lingering_deliveries_are_held_while_their_destination_is_disabled() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let batching = json!({"linger_ms": 60_000});
    let app = start(&receiver, batching.clone(), json!({})).await;
    track_all(&app, 0..5).await;
    let document = |more| pipeline(&[("one", "", destination(&receiver, &batching, &more))]);
    app.apply(document(json!({"enabled": false}))).await;
    app.clock.advance(Duration::from_secs(3_600));
    app.app.dispatcher.refresh().await.unwrap();
    assert_eq!(receiver.requests().len(), 0);
    app.apply(document(json!({}))).await;
    let rows = app.until_settled(5).await;
    assert!(rows.iter().all(|it| it.delivery.tried == 1));
    assert_eq!(receiver.requests().len(), 1);
    app.ledger().await;
}

#[tokio::test]
async fn a_rate_limit_counts_requests_not_events() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = start(&receiver, json!({"size": 10}), json!({"rate_per_second": 1})).await;
    track_all(&app, 0..30).await;
    for sent in 1..=3 {
        receiver.wait_for(sent).await;
        app.until(|rows| count(rows, State::Delivered) == sent * 10).await;
        app.clock.advance(SECOND);
    }
    app.until_settled(30).await;
    assert_eq!(receiver.requests().len(), 3);
}

#[tokio::test]
async fn events_share_a_request_only_with_equal_url_and_headers() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let mapping = json!({
        "name": "all",
        "url": {"@template": format!("{}{{{{event}}}}", receiver.url("/"))},
        "headers": {"X-User": {"@path": "$.userId"}},
        "data": {"id": {"@path": "$.messageId"}},
        "batching": {"size": 6},
    });
    let app = TestApp::with(&[("one", "", json!({"mappings": [mapping]}))]).await;
    let kinds = [("a", "u"), ("b", "u"), ("a", "u"), ("a", "v"), ("b", "u"), ("a", "u")];
    let events: Vec<_> = kinds
        .iter()
        .zip(0..)
        .map(|((event, user), number)| {
            json!({"type": "track", "event": event, "userId": user, "messageId": format!("m-{number}")})
        })
        .collect();
    assert_eq!(app.send("/v1/batch", &json!({"batch": events})).await, StatusCode::OK);
    app.until_settled(6).await;
    let mut requests: Vec<_> = receiver
        .requests()
        .iter()
        .map(|it| {
            assert_signed(it);
            (it.path.clone(), it.header("x-user").unwrap().to_owned(), it.text().to_owned())
        })
        .collect();
    requests.sort();
    let expected = [
        ("/a", "u", r#"[{"id":"m-0"},{"id":"m-2"},{"id":"m-5"}]"#),
        ("/a", "v", r#"[{"id":"m-3"}]"#),
        ("/b", "u", r#"[{"id":"m-1"},{"id":"m-4"}]"#),
    ];
    assert_eq!(requests, expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())));
    app.ledger().await;
}

#[tokio::test]
async fn an_event_that_cannot_be_rendered_does_not_affect_its_batch() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let data = json!({"@path": "$.properties"});
    let mapping =
        json!({"name": "all", "url": receiver.url("/"), "data": data, "batching": {"size": 3}});
    let app = TestApp::with(&[("one", "", json!({"mappings": [mapping]}))]).await;
    let event = |number: usize| {
        let mut event = json!({"type": "track", "event": "E", "userId": "u"});
        if number != 1 {
            event["properties"] = json!({"n": number});
        }
        event
    };
    let body = json!({"batch": (0..3).map(event).collect::<Vec<_>>()});
    assert_eq!(app.send("/v1/batch", &body).await, StatusCode::OK);
    let rows = app.until_settled(3).await;
    assert_eq!(rows[1].delivery.reason, Some(Reason::Render));
    assert_eq!(count(&rows, State::Delivered), 2);
    assert_eq!(receiver.requests()[0].text(), r#"[{"n":0},{"n":2}]"#);
    app.ledger().await;
}
