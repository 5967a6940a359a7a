//! A token endpoint that is in trouble: no request goes out without a token, the attempt says why,
//! and what is due is tried again.

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

/// The words of the first attempt, in which nothing was sent; then all is well again.
async fn told(trouble: Behaviour) -> String {
    let (app, server) = stage(OauthServer::client_credentials).await;
    let more = json!({"auth": server.client_credentials(), "timeout_ms": 1_000});
    app.apply(pipeline(&[("crm", &server.receiver.url("/hook"), more)])).await;
    server.trouble(Some(trouble));
    app.track("one").await;
    let row = app.until_tried(0, 1).await;
    assert_eq!(row.delivery.state, State::Pending);
    let made = app.attempts(row.delivery.id).await.remove(0).result;
    assert_eq!((made.outcome, made.status), (Outcome::Auth, None));
    assert_eq!(server.resource_requests().len(), 0, "nothing was sent");
    let asked = server.token_requests();
    app.track("two").await;
    app.until_tried(1, 1).await;
    assert_eq!(server.token_requests(), asked, "it is not asked again at once");
    server.trouble(None);
    app.clock.advance(Duration::from_secs(2));
    let rows = app.until_settled(2).await;
    assert!(rows.iter().all(|row| row.delivery.state == State::Delivered));
    app.ledger().await;
    made.error.unwrap()
}

#[tokio::test]
async fn every_trouble_is_named_and_passes() {
    let nothing = "nothing that is a token or an OAuth error";
    let troubles = [
        (Behaviour::status(500), format!("answered 500, and {nothing}")),
        (json_answer(200, "{\"access_token\":"), format!("answered 200, and {nothing}")),
        (json_answer(200, "{\"token\":\"x\"}"), format!("answered 200, and {nothing}")),
        (json_answer(200, "{\"access_token\":\"\"}"), "its token is empty".to_owned()),
        (
            json_answer(200, "{\"access_token\":\"a\",\"token_type\":\"mac\"}"),
            "not of the type bearer".to_owned(),
        ),
        (
            Behaviour::ok().header("Content-Type", "text/html").body("<html>sign in</html>"),
            format!("answered 200, and {nothing}"),
        ),
        (Behaviour::status(302).header("Location", "/elsewhere"), "answered 302".to_owned()),
        (Behaviour::BigBody(70_000), "longer than 65536 bytes".to_owned()),
        (Behaviour::close(), "the token endpoint did not answer".to_owned()),
        (Behaviour::hang(), "no whole answer within 1s".to_owned()),
        (
            Behaviour::Dribble(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n".to_vec()),
            "reading the answer's body".to_owned(),
        ),
        (
            json_answer(401, "{\"error\":\"invalid_client\",\"error_description\":\"who?\"}"),
            "refuses: invalid_client (who?)".to_owned(),
        ),
        (
            json_answer(200, "{\"error\":\"bad_verification_code\"}"),
            "refuses: bad_verification_code".to_owned(),
        ),
    ];
    let told = futures_util::future::join_all(
        troubles.map(async |(trouble, expected)| (Box::pin(told(trouble)).await, expected)),
    );
    for (words, expected) in told.await {
        assert!(words.contains(&expected), "{expected}: {words}");
        assert!(words.starts_with("no access token"), "{words}");
    }
}

#[tokio::test]
async fn what_it_says_is_quoted_without_the_secret_it_was_told() {
    let body =
        json!({"error": "invalid_client", "error_description": format!("no: {CLIENT_SECRET}")});
    let words = told(json_answer(400, &body.to_string())).await;
    assert!(words.contains("(no: ***)") && !words.contains(CLIENT_SECRET), "{words}");
}

#[tokio::test]
async fn trouble_while_the_token_is_still_good_delays_nothing() {
    let (app, server) = stage(OauthServer::client_credentials).await;
    app.track("one").await;
    app.until_settled(1).await;
    server.trouble(Some(Behaviour::status(503)));
    app.clock.advance(LIFETIME - Duration::from_secs(30));
    for number in 2..5 {
        app.track(&number.to_string()).await;
        app.until_settled(number).await;
    }
    assert_eq!(server.token_requests(), 2, "it was asked once, and then let be");
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
    for url in ["https://169.254.169.254/token", "https://[::ffff:10.0.0.1]/token"] {
        let (status, answer) = ask(&app, url).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{url}: {answer}");
        assert_eq!(answer["faults"][0]["path"], "sources[0].destinations[0].auth.token_url");
    }
}
