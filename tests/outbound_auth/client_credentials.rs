//! The OAuth 2.0 client credentials grant: tokens are cached, refreshed before they expire, and renewed
//! once after a 401.

use std::time::Duration;

use postrider::domain::delivery::State;
use serde_json::json;

use super::{apply, stage};
use crate::support::app::{Builder, pipeline};
use crate::support::oauth::{LIFETIME, OauthServer};
use crate::support::receiver::{Behaviour, Receiver, by_request};
use crate::support::resolver::{Answer, TableResolver};

#[tokio::test]
async fn a_token_is_cached_and_refreshed_before_it_expires() {
    let (app, server) = stage(OauthServer::client_credentials).await;
    app.track("one").await;
    app.until_settled(1).await;
    app.track("two").await;
    app.until_settled(2).await;
    assert_eq!(server.issued(), 1, "from the cache");
    app.clock.advance(LIFETIME - Duration::from_secs(61));
    app.track("three").await;
    app.until_settled(3).await;
    assert_eq!(server.issued(), 1, "valid for more than a minute");
    app.clock.advance(Duration::from_secs(2));
    app.track("four").await;
    let rows = app.until_settled(4).await;
    assert_eq!(server.issued(), 2, "before it expires");
    assert!(rows.iter().all(|row| row.delivery.state == State::Delivered));
    assert_eq!(server.resource_requests().len(), 4, "none was refused");
    server.assert_correct();
}

#[tokio::test]
async fn a_preview_shows_a_masked_token_and_requests_none() {
    let (app, server) = stage(OauthServer::client_credentials).await;
    let path = "/api/v1/mappings/website/crm/everything/tests";
    let (_, preview) = app.client.post(path, &json!({"sample": "track"})).await.unwrap();
    let headers = preview["request"]["headers"].as_str().unwrap();
    assert!(headers.contains("authorization: ***\n"), "{headers}");
    assert_eq!((server.token_requests(), server.resource_requests().len()), (0, 0));
}

#[tokio::test]
async fn the_client_secret_is_sent_in_the_body_if_configured() {
    let (app, server) = stage(|server| {
        server.expect_secret_in_body();
        let mut auth = server.client_credentials();
        auth["client_auth"] = json!("body");
        auth
    })
    .await;
    app.track("one").await;
    app.until_settled(1).await;
    server.assert_correct();
    assert_eq!(server.issued(), 1);
}

#[tokio::test]
async fn client_credentials_and_the_tokens_prefix_are_sent_as_segment_sends_them() {
    let receiver = Receiver::start(by_request(|request| {
        if request.path == "/token" {
            Behaviour::ok().body(r#"{"access_token": "t1", "token_type": "Bearer"}"#)
        } else {
            Behaviour::ok()
        }
    }))
    .await;
    let auth = json!({
        "kind": "client_credentials", "client_auth": "basic_unencoded", "token_prefix": "Token",
        "token_url": receiver.url("/token"), "client_id": "id@x", "client_secret": {"value": "s/+%:=x"},
    });
    let app = Builder::new().start().await;
    app.apply(pipeline(&[("crm", &receiver.url("/"), json!({"auth": auth}))])).await;
    app.track("one").await;
    app.until_settled(1).await;
    let requests = receiver.wait_for(2).await;
    // base64 of `id@x:s/+%:=x`, not form-encoded.
    assert_eq!(requests[0].header("authorization"), Some("Basic aWRAeDpzLyslOj14"));
    assert_eq!(requests[1].header("authorization"), Some("Token t1"));
    app.stop().await;
}

#[tokio::test]
async fn a_401_renews_the_token_and_retries_once_within_the_attempt() {
    let (app, server) = stage(OauthServer::client_credentials).await;
    app.track("one").await;
    app.until_settled(1).await;
    server.revoke_access();
    app.track("two").await;
    let rows = app.until_settled(2).await;
    assert_eq!(rows[1].delivery.state, State::Delivered);
    assert_eq!(app.attempts(rows[1].delivery.id).await.len(), 1);
    assert_eq!((server.issued(), server.resource_requests().len()), (2, 3));
    let requests = server.resource_requests();
    assert_eq!(requests[1].header("webhook-id"), requests[2].header("webhook-id"));
    assert_eq!(requests[1].body, requests[2].body);
    assert_ne!(requests[1].header("authorization"), requests[2].header("authorization"));

    // A receiver that refuses every token does not cause a token request per attempt.
    server.lock_resource(true);
    app.clock.advance(Duration::from_secs(60));
    for number in 3..6 {
        app.track(&number.to_string()).await;
        app.until_settled(number).await;
    }
    assert_eq!(server.issued(), 3, "one new token");
    assert_eq!(server.resource_requests().len(), 3 + 2 + 1 + 1);
    let rows = app.deliveries().await;
    assert!(rows[2..].iter().all(|row| row.delivery.reason.unwrap().as_str() == "rejected"));
    server.assert_correct();
    app.ledger().await;
}

#[tokio::test]
async fn concurrent_deliveries_share_one_token_request() {
    // Held until the auth changes, so that all are released together.
    let (app, server) = stage(OauthServer::authorization_code).await;
    for number in 0..50 {
        app.track(&number.to_string()).await;
    }
    assert_eq!(server.receiver.requests().len(), 0);
    apply(&app, &server, server.client_credentials()).await;
    let rows = app.until_settled(50).await;
    assert!(rows.iter().all(|row| row.delivery.state == State::Delivered));
    assert_eq!((server.issued(), server.token_requests()), (1, 1));

    server.revoke_access();
    futures_util::future::join_all(
        (50..100).map(async |number| app.track(&number.to_string()).await),
    )
    .await;
    let rows = app.until_settled(100).await;
    assert!(rows.iter().all(|row| row.delivery.state == State::Delivered));
    assert!(rows.iter().all(|row| row.delivery.token == 1), "one attempt each");
    assert_eq!((server.issued(), server.token_requests()), (2, 2));
    server.assert_correct();
}

/// The token endpoint was asked nothing: no attempt is made, and none is booked.
#[tokio::test]
async fn a_token_request_for_which_this_machine_lacks_descriptors_costs_no_attempt() {
    let table = TableResolver::on_loopback(&["idp"]);
    let app = Builder::new().resolver(table.clone()).start().await;
    let server = OauthServer::start(Some(app.clock.clone())).await;
    let mut auth = server.client_credentials();
    auth["token_url"] = json!(server.receiver.url_at("idp", "/token"));
    let more = json!({"auth": auth});
    app.apply(pipeline(&[("crm", &server.receiver.url("/hook"), more)])).await;
    let answers = [Answer::Exhausted, Answer::Exhausted, Answer::addresses(&["127.0.0.1"])];
    table.set("idp", answers.to_vec());
    app.track("one").await;
    // The delivery is postponed twice.
    let wait = Duration::from_millis(20);
    while tokio::time::timeout(wait, app.until_settled(1)).await.is_err() {
        app.clock.advance(Duration::from_secs(1));
    }
    let row = app.delivery(0).await;
    assert_eq!((row.delivery.state, row.delivery.tried), (State::Delivered, 1));
    assert_eq!(app.attempts(row.delivery.id).await.len(), 1);
    assert_eq!(server.issued(), 1);
    app.stop().await;
}
