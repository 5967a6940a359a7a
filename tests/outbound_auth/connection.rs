//! The OAuth 2.0 authorization code grant: deliveries are held until connected; tokens are rotated; a
//! revoked grant holds again.

use std::time::Duration;

use http::StatusCode;
use postrider::domain::attempt::Outcome;
use postrider::domain::clock::Clock as _;
use postrider::domain::delivery::State;
use serde_json::json;
use url::Url;

use super::{Begun, CONNECT, apply, begin, begin_in, connect, connection, stage};
use crate::operator::commands::ask;
use crate::support::app::{Builder, execute};
use crate::support::oauth::{LIFETIME, OauthServer, visit, visit_with};
use crate::web::visitor::Visitor;

const HOURS: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn deliveries_are_held_until_connected_and_get_a_fresh_window() {
    let (app, server) = stage(OauthServer::authorization_code).await;
    for number in 0..3 {
        app.track(&number.to_string()).await;
    }
    app.clock.advance(9 * HOURS);
    app.app.dispatcher.settle_overdue().await.unwrap();
    app.app.dispatcher.refresh().await.unwrap();
    let rows = app.deliveries().await;
    assert!(rows.iter().all(|row| row.delivery.state == State::Pending && row.delivery.token == 0));
    assert_eq!(server.receiver.requests().len(), 0, "nothing goes out");
    let (_, status) = app.client.get("/api/v1/status").await.unwrap();
    let held = json!([{"destination": "website/crm", "why": "not connected yet"}]);
    assert_eq!(status["held"], held);
    let (_, page) = app.client.get("/api/v1/deliveries").await.unwrap();
    assert_eq!(page["items"][0]["held"], "not connected yet");
    let (_, doctor) = app.client.post("/api/v1/doctor", &json!({})).await.unwrap();
    let finding = doctor.as_array().unwrap().last().unwrap();
    assert_eq!((&finding["check"], &finding["ok"]), (&json!("connections"), &json!(false)));

    connect(&app, &server).await;
    let rows = app.until_settled(3).await;
    assert!(rows.iter().all(|row| row.delivery.state == State::Delivered));
    assert!(rows.iter().all(|row| row.delivery.deadline_at > app.clock.service_now() + 3 * HOURS));
    assert_eq!(connection(&app).await["connected"], json!(true));
    let (_, status) = app.client.get("/api/v1/status").await.unwrap();
    assert_eq!(status["held"], json!([]));
    server.assert_correct();
    app.ledger().await;
}

#[tokio::test]
async fn a_rotated_refresh_token_survives_a_restart() {
    let (app, server) = stage(OauthServer::authorization_code).await;
    connect(&app, &server).await;
    app.track("first").await;
    app.until_settled(1).await;
    app.clock.advance(LIFETIME);
    app.track("refreshed").await;
    app.until_settled(2).await;
    assert_eq!(server.refreshes(), 1);
    let number = connection(&app).await["number"].as_i64().unwrap();

    let (dir, clock) = app.stop().await;
    let app = Builder::after(dir, clock).start().await;
    app.track("still good after the restart").await;
    app.until_settled(3).await;
    assert_eq!((server.refreshes(), server.issued()), (1, 2), "the access token was kept too");
    app.clock.advance(LIFETIME);
    app.track("refreshed again").await;
    let rows = app.until_settled(4).await;
    assert_eq!(server.refreshes(), 2);
    assert_eq!(connection(&app).await["number"].as_i64().unwrap(), number + 1);
    assert!(rows.iter().all(|row| row.delivery.state == State::Delivered));
    assert!(rows.iter().all(|row| row.delivery.token == 1), "one attempt each");
    server.assert_correct();
}

#[tokio::test]
async fn a_state_is_single_use_and_expires_after_ten_minutes() {
    let (app, server) = stage(OauthServer::authorization_code).await;
    let callback = format!("http://{}/oauth/callback", app.app.address);
    let answer_of = async |url: &str, cookie: Option<&str>| {
        let page = visit_with(url, cookie).await;
        let kind = page.headers["content-type"].to_str().unwrap();
        assert_eq!(kind, "text/plain; charset=utf-8");
        assert_eq!(page.headers["cache-control"], "no-store");
        (page.status, String::from_utf8(page.body.to_vec()).unwrap())
    };
    let unknown = "Not connected: this link is unknown or was used before: connect again\n";
    let refused = (StatusCode::BAD_REQUEST, unknown.to_owned());
    assert_eq!(answer_of(&callback, None).await, refused);
    assert_eq!(answer_of(&format!("{callback}?code=x&state=guessed"), None).await, refused);

    let begun = begin(&app).await;
    let (back, cookie) = (server.grant(&begun.url).await, Some(begun.cookie.as_str()));
    let mut other = back.clone();
    let pairs: Vec<_> = back.query_pairs().into_owned().collect();
    other.query_pairs_mut().clear().extend_pairs(pairs.iter().map(|(name, value)| {
        (name, if name == "state" { format!("{value}x") } else { value.clone() })
    }));
    assert_eq!(answer_of(other.as_str(), cookie).await, refused, "another state");
    let (status, page) = answer_of(back.as_str(), cookie).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(page, "website/crm is connected. You can close this window.\n");
    assert_eq!(answer_of(back.as_str(), cookie).await, refused, "the same state again");
    assert_eq!(server.issued(), 1, "the code was not shown again");

    let begun = begin(&app).await;
    let late = server.grant(&begun.url).await;
    app.clock.advance(Duration::from_secs(600));
    let (status, page) = answer_of(late.as_str(), Some(&begun.cookie)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(page.contains("older than ten minutes"), "{page}");
    assert_eq!(server.issued(), 1);
    server.assert_correct();
}

#[tokio::test]
async fn errors_of_the_authorization_server_are_shown_as_text() {
    let (app, server) = stage(OauthServer::authorization_code).await;
    let state = |page: &str| {
        let page = Url::parse(page).unwrap();
        page.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned()
    };
    let callback = format!("http://{}/oauth/callback", app.app.address);
    let back = async |more: &[(&str, &str)]| {
        let begun = begin(&app).await;
        let state = state(&begun.url);
        let mut url = Url::parse(&callback).unwrap();
        url.query_pairs_mut().append_pair("state", &state).extend_pairs(more);
        let page = begun.come_back(&url).await;
        (page.status, String::from_utf8(page.body.to_vec()).unwrap())
    };
    let error = [("error", "access_denied"), ("error_description", "<script>x</script>\nno")];
    let said = "Not connected: the authorization server says: access_denied \
                (<script>x</script> no)\n";
    assert_eq!(back(&error).await, (StatusCode::BAD_REQUEST, said.to_owned()));
    let (status, page) = back(&[]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(page.contains("sent no code"), "{page}");
    let (status, page) = back(&[("code", "made-up-code")]).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(page.contains("refused: invalid_grant (no such code)"), "{page}");
    assert_eq!(connection(&app).await["connected"], json!(false));
    server.assert_correct();
}

#[tokio::test]
async fn a_revoked_grant_holds_deliveries_until_connected_again() {
    let (app, server) = stage(OauthServer::authorization_code).await;
    connect(&app, &server).await;
    app.track("one").await;
    app.until_settled(1).await;
    server.revoke_grant();
    app.track("two").await;
    let row = app.until_tried(1, 1).await;
    assert_eq!(row.delivery.state, State::Pending, "not dead: it waits");
    let made = app.attempts(row.delivery.id).await.remove(0).result;
    assert_eq!((made.outcome, made.status), (Outcome::Auth, Some(401)));
    let message = made.error.unwrap();
    assert!(message.contains("answered 401, and the destination is not connected"), "{message}");
    let view = connection(&app).await;
    assert_eq!(view["connected"], json!(false));
    let held = view["held"].as_str().unwrap();
    assert!(held.contains("not connected any more") && held.contains("invalid_grant"), "{held}");
    assert!(!held.contains("refresh-"), "the server quoted the token: {held}");
    app.track("three").await;
    connect(&app, &server).await;
    // The failed delivery is in its backoff.
    app.clock.advance(Duration::from_secs(5));
    let rows = app.until(|rows| {
        rows.len() == 3 && rows.iter().all(|row| row.delivery.state == State::Delivered)
    });
    rows.await;
    server.assert_correct();
    app.ledger().await;
}

#[tokio::test]
async fn tokens_are_not_used_before_they_are_stored() {
    let (app, server) = stage(OauthServer::authorization_code).await;
    connect(&app, &server).await;
    app.clock.advance(LIFETIME);
    let refuse = "CREATE TRIGGER no_more BEFORE UPDATE ON connections
                  BEGIN SELECT RAISE(ABORT, 'no more'); END";
    execute(app.dir.path(), refuse).await;
    app.track("one").await;
    let row = app.until_tried(0, 1).await;
    let made = app.attempts(row.delivery.id).await.remove(0).result;
    assert_eq!(made.outcome, Outcome::Auth);
    let message = made.error.unwrap();
    assert!(message.starts_with("a new token could not be stored"), "{message}");
    assert_eq!((server.refreshes(), server.resource_requests().len()), (1, 0));
    execute(app.dir.path(), "DROP TRIGGER no_more").await;
    app.clock.advance(Duration::from_secs(5));
    app.until_settled(1).await;
    assert_eq!(server.refreshes(), 1, "the rotated token was not shown again");
    app.clock.advance(LIFETIME);
    app.track("two").await;
    app.until_settled(2).await;
    assert_eq!(server.refreshes(), 2);
    server.assert_correct();
}

#[tokio::test]
async fn without_a_refresh_token_an_expired_access_token_ends_the_connection() {
    let (app, server) = stage(OauthServer::authorization_code).await;
    server.give_no_refresh_tokens();
    connect(&app, &server).await;
    app.track("one").await;
    app.until_settled(1).await;
    app.clock.advance(LIFETIME);
    app.track("two").await;
    let row = app.until_tried(1, 1).await;
    assert_eq!(row.delivery.state, State::Pending);
    assert_eq!(server.resource_requests().len(), 1, "the ended token was not tried");
    let view = connection(&app).await;
    assert!(view["held"].as_str().unwrap().contains("no refresh token"), "{view}");
}

#[tokio::test]
async fn disconnecting_or_changing_the_client_holds_deliveries() {
    let (app, server) = stage(OauthServer::authorization_code).await;
    connect(&app, &server).await;
    let path = CONNECT.replace("/connect", "/disconnect");
    let (status, view) = app.client.post(&path, &json!({})).await.unwrap();
    assert_eq!((status, &view["connected"]), (StatusCode::OK, &json!(false)));
    app.track("one").await;
    connect(&app, &server).await;
    app.until_settled(1).await;

    // The same settings keep the connection; another scope needs another grant.
    let before = connection(&app).await;
    apply(&app, &server, server.authorization_code()).await;
    assert_eq!(connection(&app).await, before);
    let begun = begin(&app).await;
    let link = server.grant(&begun.url).await;
    let mut other = server.authorization_code();
    other["scopes"] = json!(["less"]);
    apply(&app, &server, other).await;
    let view = connection(&app).await;
    assert_eq!(view["held"], json!("not connected any more: its auth was changed"));
    let page = begun.come_back(&link).await;
    assert_eq!(page.status, StatusCode::BAD_GATEWAY, "begun under what was before");
    app.track("two").await;
    apply(&app, &server, server.authorization_code()).await;
    connect(&app, &server).await;
    app.until_settled(2).await;
    server.assert_correct();
}

#[tokio::test]
async fn connecting_without_authorization_code_auth_is_a_conflict() {
    let (app, _server) = stage(OauthServer::client_credentials).await;
    let disconnect = CONNECT.replace("/connect", "/disconnect");
    for path in [CONNECT, &disconnect] {
        let (status, problem) = app.client.post(path, &json!({})).await.unwrap();
        assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("conflict")));
    }
    let nowhere = "/api/v1/destinations/website/no%20such/connect";
    let (status, _) = app.client.post(nowhere, &json!({})).await.unwrap();
    assert_eq!(status, StatusCode::NOT_FOUND);
    let anybody = visit(&format!("http://{}{CONNECT}", app.app.address)).await;
    assert_eq!(anybody.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_link_from_the_api_or_the_command_line_asks_for_a_sign_in_first() {
    let (app, _server) = stage(OauthServer::authorization_code).await;
    let (_, begun) = app.client.post(CONNECT, &json!({})).await.unwrap();
    let (code, stdout, stderr) = ask(&app, &["connect", "website/crm", "--no-wait"]).await;
    assert_eq!((code, stdout.trim()), (0, begun["authorize_url"].as_str().unwrap()), "{stderr}");
    let page = stdout.trim().strip_suffix("#connection").unwrap();
    let answer = visit(page).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let leads_to = answer.headers["location"].to_str().unwrap();
    assert!(leads_to.starts_with("/sign-in?"), "{leads_to}");
}

#[tokio::test]
async fn only_the_browser_that_began_completes_a_connection() {
    let (app, server) = stage(OauthServer::authorization_code).await;
    let come_back =
        async |url: &Url, cookie: Option<&str>| visit_with(url.as_str(), cookie).await.status;
    let mut visitor = Visitor::signed_in(&app).await;
    for foreign in [None, Some("postrider_connect=another"), Some("postrider_connect=")] {
        let Begun { url, cookie } = begin_in(&mut visitor, "crm").await;
        let back = server.grant(&url).await;
        assert_eq!(come_back(&back, foreign).await, StatusCode::BAD_REQUEST, "{foreign:?}");
        assert_eq!(come_back(&back, Some(&cookie)).await, StatusCode::BAD_REQUEST, "used up");
        assert_eq!(connection(&app).await["connected"], json!(false));
    }
    let Begun { url, cookie } = begin_in(&mut visitor, "crm").await;
    let back = server.grant(&url).await;
    assert_eq!(come_back(&back, Some(&cookie)).await, StatusCode::OK);
    assert_eq!(connection(&app).await["connected"], json!(true));
}
