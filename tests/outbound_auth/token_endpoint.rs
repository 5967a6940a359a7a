//! A failing token endpoint: no request is sent without a token, the attempt names the cause, and the
//! delivery is retried.

use std::time::Duration;

use http::StatusCode;
use postrider::domain::attempt::Outcome;
use postrider::domain::delivery::State;
use serde_json::json;

use super::stage;
use crate::support::app::{TestApp, pipeline};
use crate::support::oauth::{CLIENT_SECRET, LIFETIME, OauthServer};
use crate::support::receiver::Behaviour;

fn json_answer(status: u16, body: &str) -> Behaviour {
    Behaviour::status(status).header("Content-Type", "application/json").body(body)
}

/// The error of the first attempt, in which nothing was sent; afterwards the endpoint recovers.
async fn error_of(failure: Behaviour) -> String {
    let (app, server) = stage(OauthServer::client_credentials).await;
    let more = json!({"auth": server.client_credentials(), "timeout_ms": 1_000});
    app.apply(pipeline(&[("crm", &server.receiver.url("/hook"), more)])).await;
    server.set_failure(Some(failure));
    app.track("one").await;
    let row = app.until_tried(0, 1).await;
    assert_eq!(row.delivery.state, State::Pending);
    let made = app.attempts(row.delivery.id).await.remove(0).result;
    assert_eq!((made.outcome, made.status), (Outcome::Auth, None));
    assert_eq!(server.resource_requests().len(), 0, "nothing was sent");
    let before = server.token_requests();
    app.track("two").await;
    app.until_tried(1, 1).await;
    assert_eq!(server.token_requests(), before, "backoff: no second request");
    server.set_failure(None);
    app.clock.advance(Duration::from_secs(2));
    let rows = app.until_settled(2).await;
    assert!(rows.iter().all(|row| row.delivery.state == State::Delivered));
    app.ledger().await;
    made.error.unwrap()
}

#[tokio::test]
async fn every_token_endpoint_failure_is_named_and_recovers() {
    let nothing = "the response is neither a token nor an OAuth error";
    let failures = [
        (Behaviour::status(500), format!("answered 500: {nothing}")),
        (json_answer(200, "{\"access_token\":"), format!("answered 200: {nothing}")),
        (json_answer(200, "{\"token\":\"x\"}"), format!("answered 200: {nothing}")),
        (json_answer(200, "{\"access_token\":\"\"}"), "its access_token is empty".to_owned()),
        (
            json_answer(200, "{\"access_token\":\"a\",\"token_type\":\"mac\"}"),
            "token_type is not bearer".to_owned(),
        ),
        (
            Behaviour::ok().header("Content-Type", "text/html").body("<html>sign in</html>"),
            format!("answered 200: {nothing}"),
        ),
        (Behaviour::status(302).header("Location", "/elsewhere"), "answered 302".to_owned()),
        (Behaviour::BigBody(70_000), "longer than 65536 bytes".to_owned()),
        (Behaviour::close(), "no response from the token endpoint".to_owned()),
        (Behaviour::hang(), "timed out after 1s".to_owned()),
        (
            Behaviour::Dribble(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n".to_vec()),
            "reading the response's body".to_owned(),
        ),
        (
            json_answer(401, "{\"error\":\"invalid_client\",\"error_description\":\"who?\"}"),
            "refused: invalid_client (who?)".to_owned(),
        ),
        (
            json_answer(200, "{\"error\":\"bad_verification_code\"}"),
            "refused: bad_verification_code".to_owned(),
        ),
    ];
    let errors = futures_util::future::join_all(
        failures.map(async |(failure, expected)| (Box::pin(error_of(failure)).await, expected)),
    );
    for (message, expected) in errors.await {
        assert!(message.contains(&expected), "{expected}: {message}");
        assert!(message.starts_with("no access token"), "{message}");
    }
}

#[tokio::test]
async fn errors_of_the_token_endpoint_are_quoted_without_secrets() {
    let body =
        json!({"error": "invalid_client", "error_description": format!("no: {CLIENT_SECRET}")});
    let message = error_of(json_answer(400, &body.to_string())).await;
    assert!(message.contains("(no: ***)") && !message.contains(CLIENT_SECRET), "{message}");
}

#[tokio::test]
async fn a_failed_refresh_does_not_delay_deliveries_while_the_token_is_valid() {
    let (app, server) = stage(OauthServer::client_credentials).await;
    app.track("one").await;
    app.until_settled(1).await;
    server.set_failure(Some(Behaviour::status(503)));
    app.clock.advance(LIFETIME - Duration::from_secs(30));
    for number in 2..5 {
        app.track(&number.to_string()).await;
        app.until_settled(number).await;
    }
    assert_eq!(server.token_requests(), 2, "one request, then backoff");
    let rows = app.deliveries().await;
    assert!(rows.iter().all(|row| row.delivery.state == State::Delivered));
}

#[tokio::test]
async fn a_token_endpoint_on_a_refused_address_is_refused_when_saved() {
    let (app, server) = stage(|_| json!({"kind": "none"})).await;
    let ask = async |app: &TestApp, url: &str| {
        let mut auth = server.client_credentials();
        auth["token_url"] = json!(url);
        let document = pipeline(&[("crm", &server.receiver.url("/hook"), json!({"auth": auth}))]);
        app.client.post("/api/v1/pipeline", &json!({"document": document})).await.unwrap()
    };
    for url in [
        "https://169.254.169.254/token",
        "https://[::ffff:10.0.0.1]/token",
        "https://127.0.0.1:9/token?tenant=1&client_secret=hunter2",
    ] {
        let (status, answer) = ask(&app, url).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{url}: {answer}");
        assert_eq!(answer["faults"][0]["path"], "sources[0].destinations[0].auth.token_url");
        assert!(!answer.to_string().contains("hunter2"), "{answer}");
    }
}

#[tokio::test]
async fn a_failed_token_response_is_named_with_its_status_and_content_type() {
    let page = Behaviour::status(201).header("Content-Type", "text/html").body("<html>");
    let message = error_of(page).await;
    assert!(message.contains("201") && message.contains("text/html"), "{message}");
}
