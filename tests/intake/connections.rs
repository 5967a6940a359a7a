//! Misbehaving connections and the listener's limits.

use std::time::Duration;

use postrider::server::listener;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::client::{Client, Request, gzip};
use super::stage::{Conditions, Stage};

const TRACK: &str = r#"{"userId":"u","event":"E"}"#;

fn track() -> Vec<u8> {
    Request::post("/v1/track", TRACK).bytes()
}

/// The head of a track with the write key, without the blank line.
const HEAD: &str = "POST /v1/track HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer KEY\r\n";

#[tokio::test]
async fn keep_alive_and_pipelining_work() {
    let stage = Stage::new().await;
    let mut client = stage.connect().await;
    for _ in 0..3 {
        client.write(track()).await;
        client.answer().await.expect("a response").assert_success();
    }
    let bad = Request::post("/v1/track", "{").bytes();
    client.write([track(), bad, track()].concat()).await;
    client.answer().await.expect("a response").assert_success();
    client.answer().await.expect("a response").assert_refused(400, "invalid_json");
    client.answer().await.expect("a response").assert_success();
    assert_eq!(stage.store.take_events().len(), 5);
}

#[tokio::test]
async fn chunked_bodies_are_accepted() {
    let stage = Stage::new().await;
    let mut client = stage.connect().await;
    client.write(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n")).await;
    for piece in TRACK.as_bytes().chunks(5) {
        client.write(format!("{:x}\r\n", piece.len())).await;
        client.write(piece).await;
        client.write("\r\n").await;
    }
    client.write("0\r\n\r\n").await;
    client.answer().await.expect("a response").assert_success();
    assert_eq!(&stage.store.take_events()[0].event.body[..], TRACK.as_bytes());
}

#[tokio::test]
async fn endless_chunked_bodies_are_refused_at_the_limit() {
    let stage = Stage::new().await;
    let mut client = stage.connect().await;
    client.write(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n")).await;
    let chunk = [b"10000\r\n".as_slice(), &vec![b' '; 0x10000], b"\r\n"].concat();
    for _ in 0..40 {
        client.try_write(&chunk).await;
    }
    client.try_write("0\r\n\r\n").await;
    client.answer().await.expect("a response").assert_refused(400, "too_large");
}

#[tokio::test]
async fn a_refusal_before_a_large_body_reaches_the_sender() {
    let stage = Stage::new().await;
    let large = vec![b' '; 3 * 1024 * 1024];
    let unknown = Request::anonymous("/v1/batch", large).header("authorization", "Bearer NO");
    stage.send(&unknown).await.assert_refused(401, "write_key_unknown");
}

#[tokio::test]
async fn expect_100_continue_is_answered_before_the_body() {
    let stage = Stage::new().await;
    let head = |key: &str, length: usize| {
        format!(
            "POST /v1/track HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {key}\r\n\
             Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let mut client = stage.connect().await;
    client.write(head("KEY", TRACK.len())).await;
    assert_eq!(client.answer().await.expect("a response").status, 100);
    client.write(TRACK).await;
    client.answer().await.expect("a response").assert_success();
    // The body may have the right key.
    let mut client = stage.connect().await;
    client.write(head("NO", TRACK.len())).await;
    assert_eq!(client.answer().await.expect("a response").status, 100);
    client.write(TRACK).await;
    client.answer().await.expect("a response").assert_refused(401, "write_key_unknown");
    for (key, length, status, code) in
        [("NO", 2_000_000, 401, "write_key_unknown"), ("KEY", 2_000_000, 400, "too_large")]
    {
        let mut client = stage.connect().await;
        client.write(head(key, length)).await;
        client.answer().await.expect("a response").assert_refused(status, code);
        client.closed().await;
    }
}

#[tokio::test]
async fn http_1_0_clients_are_served() {
    let stage = Stage::new().await;
    let mut client = stage.connect().await;
    let head = HEAD.replace("HTTP/1.1", "HTTP/1.0");
    client.write(format!("{head}Content-Length: {}\r\n\r\n{TRACK}", TRACK.len())).await;
    client.answer().await.expect("a response").assert_success();
    client.closed().await;
}

#[tokio::test]
async fn a_connection_that_is_not_http_is_closed() {
    let stage = Stage::new().await;
    for nonsense in ["\x16\x03\x01\x02\x00\x01", "GET\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    {
        let mut client = stage.connect().await;
        client.write(nonsense).await;
        client.finish_writing().await;
        client.closed().await;
    }
    stage.send(&Request::post("/v1/track", TRACK)).await.assert_success();
}

#[tokio::test]
async fn a_head_timeout_closes_the_connection() {
    let header_timeout = Duration::from_millis(50);
    let stage = Stage::with(Conditions { header_timeout, ..Conditions::default() }).await;
    let mut silent = stage.connect().await;
    let mut slow = stage.connect().await;
    slow.write(HEAD).await;
    silent.closed().await;
    slow.closed().await;
    assert!(stage.store.take_events().is_empty());
}

#[tokio::test]
async fn a_slow_body_is_answered_503_which_sdks_retry() {
    let body_timeout = Duration::from_millis(50);
    let stage = Stage::with(Conditions { body_timeout, ..Conditions::default() }).await;
    let mut client = stage.connect().await;
    client.write(format!("{HEAD}Content-Length: 100\r\n\r\n{{")).await;
    let answer = client.answer().await.expect("a response");
    answer.assert_refused(503, "timeout");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    client.closed().await;
}

#[tokio::test]
async fn an_incomplete_body_is_not_accepted() {
    let stage = Stage::new().await;
    let mut client = stage.connect().await;
    client.write(format!("{HEAD}Content-Length: 100\r\n\r\n{TRACK}")).await;
    client.finish_writing().await;
    client.closed().await;
    let mut client = stage.connect().await;
    client.write(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\nzz\r\n")).await;
    client.closed().await;
    stage.shutdown.cancel();
    stage.stopped().await;
    stage.intake.finish().await;
    assert!(stage.store.take_events().is_empty());
}

#[tokio::test]
async fn a_sender_that_ends_its_side_after_the_request_gets_its_answer() {
    let stage = Stage::new().await;
    for _ in 0..20 {
        let hold = stage.store.hold();
        let mut client = stage.connect().await;
        client.write(track()).await;
        client.finish_writing().await;
        // The end of its side arrives before the commit.
        hold.entered().await;
        hold.release();
        client.answer().await.expect("a response").assert_success();
        client.closed().await;
    }
    assert_eq!(stage.store.take_events().len(), 20);
}

#[tokio::test]
async fn request_heads_are_bounded() {
    let stage = Stage::new().await;
    let mut client = stage.connect().await;
    client.try_write(HEAD).await;
    client.try_write(format!("X-Large: {}\r\n\r\n", "x".repeat(64 * 1024))).await;
    assert_eq!(client.answer().await.expect("a response").status, 431);
    client.closed().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let stage = Stage::with(Conditions { max_connections: 1, ..Conditions::default() }).await;
    let mut first = stage.connect().await;
    first.write(track()).await;
    first.answer().await.expect("a response").assert_success();
    let mut second = stage.connect().await;
    second.write(track()).await;
    // The first connection is served while the second waits.
    first.write(track()).await;
    first.answer().await.expect("a response").assert_success();
    assert_eq!(stage.store.take_events().len(), 2);
    drop(first);
    second.answer().await.expect("a response").assert_success();
}

#[tokio::test]
async fn while_connections_hang_health_is_answered_and_requests_get_503() {
    let stage = Stage::with(Conditions { max_connections: 4, ..Conditions::default() }).await;
    let mut hanging = Vec::new();
    for _ in 0..4 {
        let mut client = stage.connect().await;
        client.write(format!("{HEAD}Content-Length: 100\r\n\r\n{{")).await;
        hanging.push(client);
    }
    let mut watcher = stage.connect().await;
    watcher.write("GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert_eq!(watcher.answer().await.expect("a response").status, 200);
    watcher.write(track()).await;
    let refused = watcher.answer().await.expect("a response");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    watcher.closed().await;
    assert!(stage.store.take_events().is_empty());
}

#[tokio::test]
async fn every_routes_body_has_to_arrive_within_the_timeout() {
    let within = Duration::from_millis(200);
    let stage = Stage::with(Conditions { body_timeout: within, ..Conditions::default() }).await;
    let mut dripping = stage.connect().await;
    dripping.write("POST /sign-in HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nto").await;
    let answer = dripping.answer().await.expect("a response");
    assert!((400..500).contains(&answer.status), "{}", answer.status);
    dripping.closed().await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_disconnected() {
    let within = Duration::from_millis(200);
    let stage = Stage::with(Conditions { write_timeout: within, ..Conditions::default() }).await;
    let mut greedy = stage.connect().await;
    // More responses than the buffers of both sides hold; none is read.
    let pipelined = "GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n".repeat(1_000);
    let ended = async { while greedy.write_some(&pipelined).await {} };
    tokio::time::timeout(Duration::from_secs(60), ended).await.expect("disconnected");
}

#[tokio::test]
async fn shutdown_drains_requests_in_flight_and_closes_idle_connections() {
    let stage = Stage::new().await;
    let hold = stage.store.hold();
    let mut idle = stage.connect().await;
    idle.write(track()).await;
    hold.entered().await;
    hold.release();
    idle.answer().await.expect("a response").assert_success();
    let mut busy = stage.connect().await;
    busy.write(track()).await;
    hold.entered().await;
    stage.shutdown.cancel();
    idle.closed().await;
    hold.release();
    busy.answer().await.expect("a response").assert_success();
    busy.closed().await;
    stage.stopped().await;
    assert!(tokio::net::TcpStream::connect(stage.address).await.is_err());
}

#[tokio::test]
async fn shutdown_ends_after_the_grace_period() {
    let grace = Duration::from_millis(50);
    let stage = Stage::with(Conditions { grace, ..Conditions::default() }).await;
    let mut slow = stage.connect().await;
    slow.write(format!("{HEAD}Content-Length: 100\r\n\r\n{{")).await;
    let hold = stage.store.hold();
    let mut stuck = stage.connect().await;
    stuck.write(track()).await;
    hold.entered().await;
    stage.shutdown.cancel();
    stage.stopped().await;
    slow.closed().await;
    stuck.closed().await;
}

#[tokio::test]
async fn a_port_in_use_is_reported_with_a_hint() {
    let first = listener::bind("127.0.0.1:0").await.expect("a free port");
    let address = first.local_addr().expect("bound").to_string();
    let error = listener::bind(&address).await.expect_err("in use");
    assert_eq!(error.to_string(), format!("cannot listen on {address}"));
    assert_eq!(
        error.hint,
        "another process listens there; stop it, or set `listen` to another port"
    );
    for none in ["nonsense", "127.0.0.1", "127.0.0.1:99999"] {
        let error = listener::bind(none).await.expect_err("no address");
        assert!(error.hint.contains("should be like 127.0.0.1:8080"), "{error}");
    }
}

/// Any bytes as a body: no panic, and a well-formed response.
#[test]
fn any_body_gets_a_well_formed_response() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let stage = runtime.block_on(Stage::new());
    let body = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "[\\[\\]{},:\"\\\\ batchtypeuserId1-]{0,60}".prop_map(String::into_bytes),
        prop::collection::vec(piece(), 0..12).prop_map(|pieces| pieces.concat().into_bytes()),
    ];
    let path = prop::sample::select(vec!["/v1/track", "/v1/batch", "/v1/alias", "/v1/delete/"]);
    let mut runner = TestRunner::new(Config { cases: 500, ..Config::default() });
    let ran = runner.run(&(path, body, any::<bool>()), |(path, body, packed)| {
        runtime.block_on(async {
            let mut request = Request::post(path, body.clone());
            if packed {
                request = Request::post(path, gzip(&body)).header("content-encoding", "gzip");
            }
            let mut client = Client::connect(stage.address).await;
            client.write(request.bytes()).await;
            let answer = client.answer().await.expect("a response");
            if answer.status == 200 {
                answer.assert_success();
            } else {
                answer.assert_refused(400, "invalid_json");
            }
        });
        Ok(())
    });
    ran.expect("every body is answered");
}

fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        r#"{"batch":["#,
        r#"{"type":"track""#,
        r#""userId":"u""#,
        ",",
        "]",
        "}",
        "{",
        "[",
        "null",
        r#""context":{"a":1}"#,
        r#""sentAt":1e400"#,
        r#""messageId":"\ud800""#,
        r#""event":"""#,
        r#""batch":"#,
        r#""\u0062atch":["#,
        ":",
        "-0",
        r#""writeKey":"x""#,
        " ",
    ])
}
