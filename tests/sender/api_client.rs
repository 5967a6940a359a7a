//! The API client: responses as they are, and errors that name the server and the cause.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use postrider::sender::{ApiClient, ApiClientError};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::support::receiver::{Behaviour, Receiver, by_request};

fn client(receiver: &Receiver) -> ApiClient {
    ApiClient::new(&receiver.url(""), Some(SecretString::from("hunter2"))).unwrap()
}

#[tokio::test]
async fn json_is_sent_with_the_token_and_parsed() {
    let script = by_request(|request| match request.method.as_str() {
        "GET" => Behaviour::status(404).body(r#"{"title":"no such thing"}"#),
        _ => Behaviour::status(201).body(request.body.clone()),
    });
    let receiver = Receiver::start(script).await;
    let client = client(&receiver);

    let (status, answer) = client.get("/api/v1/things?limit=2").await.unwrap();
    assert_eq!((status, answer), (StatusCode::NOT_FOUND, json!({"title": "no such thing"})));
    let (status, answer) = client.post("/api/v1/things", &json!({"a": 1})).await.unwrap();
    assert_eq!((status, answer), (StatusCode::CREATED, json!({"a": 1})));

    let requests = receiver.requests();
    assert_eq!(requests[0].path, "/api/v1/things?limit=2");
    assert_eq!(requests[1].header("content-type"), Some("application/json"));
    for request in requests {
        assert_eq!(request.header("authorization"), Some("Bearer hunter2"));
    }
}

#[tokio::test]
async fn raw_bytes_are_sent_unchanged_and_their_authorization_overrides_the_token() {
    let receiver = Receiver::start(Behaviour::ok().body("not json")).await;
    let basic = HeaderValue::from_static("Basic a2V5Og==");
    let headers = HeaderMap::from_iter([(http::header::AUTHORIZATION, basic)]);
    let body = Bytes::from_static(b"{\"a\" : 1}");
    let answer = client(&receiver).post_bytes("/v1/track", headers, body).await.unwrap();
    assert_eq!(answer.json(), Value::String("not json".to_owned()));
    let request = &receiver.requests()[0];
    assert_eq!(request.text(), "{\"a\" : 1}");
    assert_eq!(request.header("authorization"), Some("Basic a2V5Og=="));
}

#[tokio::test]
async fn a_base_url_with_a_path_keeps_it() {
    let receiver = Receiver::start(Behaviour::ok().body("{}")).await;
    let client = ApiClient::new(&receiver.url("/under"), None).unwrap();
    client.get("/healthz").await.unwrap();
    assert_eq!(receiver.requests()[0].path, "/under/healthz");
    assert_eq!(receiver.requests()[0].header("authorization"), None);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = Receiver::start(Behaviour::ok()).await;
    let redirect = Behaviour::status(302).header("Location", &target.url("/"));
    let receiver = Receiver::start(redirect).await;
    let (status, _) = client(&receiver).get("/").await.unwrap();
    assert_eq!(status, StatusCode::FOUND);
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn a_connection_error_names_the_server_and_the_cause() {
    let closed = super::closed_port();
    let error = ApiClient::new(&format!("http://{closed}"), None).unwrap().get("/").await;
    let error = error.unwrap_err();
    assert!(matches!(error, ApiClientError::Unreachable { .. }));
    let expected =
        format!("no service answers at http://{closed}: connecting failed: connection refused");
    assert_eq!(error.to_string(), expected);

    let receiver = Receiver::start(Behaviour::close()).await;
    let error = client(&receiver).get("/").await.unwrap_err();
    assert!(matches!(error, ApiClientError::Broken { .. }), "{error}");
}

#[test]
fn malformed_urls_and_tokens_are_refused_and_the_token_is_not_shown() {
    for url in ["localhost:8080", "not a url", "ftp://localhost", "http://"] {
        let error = ApiClient::new(url, None).unwrap_err();
        assert!(error.to_string().contains(url), "{error}");
    }
    let token = || Some(SecretString::from("hunter2\n"));
    let error = ApiClient::new("http://localhost", token()).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    let client = ApiClient::new("http://localhost", Some(SecretString::from("hunter2"))).unwrap();
    assert!(!format!("{client:?}").contains("hunter2"));
}
