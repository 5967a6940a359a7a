//! Requests: paths, write keys, media types, limits and error responses.

use postrider::domain::event::EventType;
use postrider::intake::limits::{MAX_BATCH_MESSAGES, MAX_MESSAGE_BYTES, MAX_REQUEST_BYTES};

use super::client::{Request, basic};
use super::stage::{Failure, Stage};

const TRACK: &str = r#"{"userId":"u","event":"E"}"#;

/// Valid for every type.
const ANY: &str = r#"{"userId":"u","event":"E","groupId":"g","previousId":"p"}"#;

/// A track whose body has exactly this many bytes.
fn track_of(bytes: usize) -> String {
    let start = r#"{"userId":"u","event":"E","pad":""#;
    format!("{start}{}\"}}", "x".repeat(bytes - start.len() - 2))
}

#[tokio::test]
async fn every_endpoint_is_accepted_under_all_its_paths() {
    let stage = Stage::new().await;
    let names = [
        ("track", EventType::Track),
        ("t", EventType::Track),
        ("identify", EventType::Identify),
        ("i", EventType::Identify),
        ("page", EventType::Page),
        ("p", EventType::Page),
        ("screen", EventType::Screen),
        ("s", EventType::Screen),
        ("group", EventType::Group),
        ("g", EventType::Group),
        ("alias", EventType::Alias),
        ("a", EventType::Alias),
        ("delete", EventType::Delete),
    ];
    for (name, kind) in names {
        for path in [format!("/v1/{name}"), format!("/v1/{name}/")] {
            let event = stage.accept_one(&path, ANY).await;
            assert_eq!((event.kind, &event.rejection), (Some(kind), &None), "{path}");
        }
    }
    let batch = format!("{{\"batch\":[{}]}}", ANY.replace('{', r#"{"type":"page","#));
    for name in ["batch", "b", "import", "batch/"] {
        let event = stage.accept_one(&format!("/v1/{name}"), &batch).await;
        assert_eq!((event.kind, &event.rejection), (Some(EventType::Page), &None), "{name}");
    }
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let stage = Stage::new().await;
    for path in ["/v1/nothing", "/v1/track/x", "/v1/d"] {
        stage.send(&Request::post(path, TRACK)).await.assert_refused(404, "not_found");
    }
    for method in ["GET", "PUT", "DELETE", "PATCH"] {
        let answer = stage.send(&Request::post("/v1/track", TRACK).method(method)).await;
        answer.assert_refused(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some("POST, OPTIONS"));
    }
    assert!(stage.store.take_events().is_empty());
}

#[tokio::test]
async fn write_keys_are_accepted_from_basic_bearer_and_body() {
    let stage = Stage::new().await;
    let of = |header: &str| Request::anonymous("/v1/track", TRACK).header("authorization", header);
    for header in [basic("KEY:"), basic("KEY"), basic("KEY:x"), "Bearer KEY".to_owned()] {
        stage.send(&of(&header)).await.assert_success();
    }
    let body = r#"{"writeKey":"KEY","userId":"u","event":"E"}"#;
    stage.send(&Request::anonymous("/v1/track", body)).await.assert_success();
    let batch = format!("{{\"batch\":[{TRACK}],\"writeKey\":\"KEY\"}}");
    stage.send(&Request::anonymous("/v1/batch", batch)).await.assert_success();
    // A header without a key falls back to the body.
    let both = Request::anonymous("/v1/track", body).header("authorization", &basic(":"));
    stage.send(&both).await.assert_success();
}

#[tokio::test]
async fn a_wrong_write_key_is_refused() {
    let stage = Stage::new().await;
    let anonymous = |body: &str| Request::anonymous("/v1/track", body);
    stage.send(&anonymous(TRACK)).await.assert_refused(401, "write_key_missing");
    stage.send(&anonymous("[]")).await.assert_refused(401, "write_key_missing");
    let numeric = r#"{"writeKey":5,"userId":"u","event":"E"}"#;
    stage.send(&anonymous(numeric)).await.assert_refused(401, "write_key_missing");
    let unknown = r#"{"writeKey":"NO","userId":"u","event":"E"}"#;
    stage.send(&anonymous(unknown)).await.assert_refused(401, "write_key_unknown");
    for header in [basic("NO:"), "Bearer NO".to_owned()] {
        let answer = stage.send(&anonymous(TRACK).header("authorization", &header)).await;
        answer.assert_refused(401, "write_key_unknown");
        assert!(answer.header("www-authenticate").is_some());
        assert!(!answer.body.contains("NO"), "{}", answer.body);
    }
    let disabled = anonymous(TRACK).header("authorization", &basic("GONE:"));
    stage.send(&disabled).await.assert_refused(403, "source_disabled");
    assert!(stage.store.take_events().is_empty());
}

#[tokio::test]
async fn all_media_types_except_forms_are_accepted() {
    let stage = Stage::new().await;
    let of = |media: &str| Request::post("/v1/track", TRACK).header("content-type", media);
    for media in ["application/json", "application/json; charset=utf-8", "text/plain", "x/y"] {
        stage.send(&of(media)).await.assert_success();
    }
    for media in ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        stage.send(&of(media)).await.assert_refused(415, "unsupported_media_type");
    }
}

#[tokio::test]
async fn gzip_is_the_only_content_encoding() {
    let stage = Stage::new().await;
    stage.send(&Request::post("/v1/track", TRACK).gzip()).await.assert_success();
    assert_eq!(&stage.store.take_events()[0].event.body[..], TRACK.as_bytes());
    let of = |word: &str| Request::post("/v1/track", TRACK).header("content-encoding", word);
    stage.send(&of("identity")).await.assert_success();
    for word in ["br", "deflate", "gzip, gzip"] {
        stage.send(&of(word)).await.assert_refused(415, "unsupported_encoding");
    }
    stage.send(&of("gzip")).await.assert_refused(400, "invalid_gzip");
}

#[tokio::test]
async fn decompression_bombs_are_refused() {
    let stage = Stage::new().await;
    let bomb = Request::post("/v1/track", vec![b' '; 50 * MAX_REQUEST_BYTES]).gzip();
    assert!(bomb.bytes().len() < 100_000);
    stage.send(&bomb).await.assert_refused(400, "too_large");
}

#[tokio::test]
async fn events_are_limited_to_32_kib() {
    let stage = Stage::new().await;
    let largest = track_of(MAX_MESSAGE_BYTES);
    stage.send(&Request::post("/v1/track", largest.clone())).await.assert_success();
    let answer = stage.send(&Request::post("/v1/track", track_of(MAX_MESSAGE_BYTES + 1))).await;
    answer.assert_refused(400, "too_large");
    assert!(answer.body.contains("32769 bytes"), "{}", answer.body);

    let item = |event: &str| event.replacen('{', r#"{"type":"track","#, 1);
    let fits = item(&track_of(MAX_MESSAGE_BYTES - 15));
    assert_eq!(fits.len(), MAX_MESSAGE_BYTES);
    let batch = format!("{{\"batch\":[{fits}]}}");
    stage.send(&Request::post("/v1/batch", batch)).await.assert_success();
    let batch = format!("{{\"batch\":[{},{}]}}", item(TRACK), item(&largest));
    let answer = stage.send(&Request::post("/v1/batch", batch)).await;
    answer.assert_refused(400, "too_large");
    assert!(answer.body.contains("batch[1] has 32783 bytes"), "{}", answer.body);
    assert_eq!(stage.store.take_events().len(), 2, "nothing of a refused request is stored");
}

#[tokio::test]
async fn batches_are_limited_in_bytes_and_to_2500_events() {
    let stage = Stage::new().await;
    let item = track_of(32_000).replacen('{', r#"{"type":"track","#, 1);
    let batch = format!("{{\"batch\":[{}]}}", vec![item; 17].join(","));
    assert!(batch.len() > 512 * 1024);
    stage.send(&Request::post("/v1/batch", batch.clone())).await.assert_success();
    stage.send(&Request::post("/v1/batch", batch).gzip()).await.assert_success();
    let many = |count: usize| format!("{{\"batch\":[{}]}}", vec!["{}"; count].join(","));
    let most = Request::post("/v1/batch", many(MAX_BATCH_MESSAGES));
    stage.send(&most).await.assert_success();
    let answer = stage.send(&Request::post("/v1/batch", many(MAX_BATCH_MESSAGES + 1))).await;
    answer.assert_refused(400, "too_many_events");
    let large = vec![b' '; MAX_REQUEST_BYTES + 1];
    stage.send(&Request::post("/v1/batch", large)).await.assert_refused(400, "too_large");
}

#[tokio::test]
async fn fields_merged_into_batch_items_are_bounded() {
    let stage = Stage::new().await;
    let batch = |context: usize, count: usize| {
        let context = "x".repeat(context);
        let items = vec![r#"{"type":"page","userId":"u"}"#; count].join(",");
        Request::post(
            "/v1/batch",
            format!("{{\"context\":{{\"k\":\"{context}\"}},\"batch\":[{items}]}}"),
        )
    };
    stage.send(&batch(32_000, 200)).await.assert_success();
    stage.send(&batch(33_000, 1)).await.assert_refused(400, "too_large");
    stage.send(&batch(32_000, 300)).await.assert_refused(400, "too_large");
}

#[tokio::test]
async fn invalid_json_is_refused_with_its_position() {
    let stage = Stage::new().await;
    for (body, place) in [
        ("", "line 1 column 1 (offset 0)"),
        ("{\"userId\":\"u\",\n \"event\": }", "line 2 column 11 (offset 25)"),
        ("{\"batch\":[{},]}", "line 1 column 14 (offset 13)"),
        ("{} {}", "line 1 column 4 (offset 3)"),
        ("userId=u", "line 1 column 1 (offset 0)"),
    ] {
        for path in ["/v1/track", "/v1/batch"] {
            let answer = stage.send(&Request::post(path, body)).await;
            answer.assert_refused(400, "invalid_json");
            assert!(answer.body.contains(place), "{body:?}: {}", answer.body);
        }
    }
    let bytes = b"{\"userId\":\"\xff\"}".to_vec();
    stage.send(&Request::post("/v1/track", bytes)).await.assert_refused(400, "invalid_json");
    let deep = "[".repeat(100_000);
    stage.send(&Request::post("/v1/track", deep)).await.assert_refused(400, "invalid_json");
}

#[tokio::test]
async fn store_failures_are_answered_429_507_or_503() {
    let stage = Stage::new().await;
    stage.dispatch.set_room(10);
    for (failure, status, code) in [
        (Failure::Overloaded, 429, "overloaded"),
        (Failure::Full, 507, "disk_full"),
        (Failure::Closed, 503, "unavailable"),
    ] {
        stage.store.fail(failure);
        let answer = stage.send(&Request::post("/v1/track", TRACK)).await;
        answer.assert_refused(status, code);
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
    }
    assert_eq!(stage.dispatch.leaked(), 0, "reserved slots are released");
    assert!(stage.dispatch.dispatched.lock().expect("not poisoned").is_empty());
}

#[tokio::test]
async fn below_the_free_space_floor_requests_are_answered_507_unread() {
    let stage = Stage::new().await;
    stage.store.set_no_room();
    stage.send(&Request::post("/v1/track", "not JSON")).await.assert_refused(507, "disk_full");
}

#[tokio::test]
async fn cors_preflight_and_requests_are_allowed() {
    let stage = Stage::new().await;
    let ask = Request::anonymous("/v1/t", "")
        .method("OPTIONS")
        .header("origin", "https://shop.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type,x-retry-count");
    let answer = stage.send(&ask).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("access-control-allow-methods"), Some("POST"));
    let allowed = answer.header("access-control-allow-headers").expect("headers are named");
    for name in ["authorization", "content-type", "x-retry-count"] {
        assert!(allowed.contains(name), "{allowed}");
    }
    let of = |body: &str| Request::post("/v1/t", body).header("origin", "https://shop.example");
    for answer in [stage.send(&of(TRACK)).await, stage.send(&of("x")).await] {
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{answer:?}");
    }
}

#[tokio::test]
async fn responses_are_counted() {
    let stage = Stage::new().await;
    stage.send(&Request::post("/v1/track", TRACK)).await.assert_success();
    stage.send(&Request::post("/v1/track", "x")).await.assert_refused(400, "invalid_json");
    let text = stage.metrics.encode(&postrider::store::Ledger::default());
    for line in [
        "postrider_intake_answers_total{status=\"200\"} 1",
        "postrider_intake_answers_total{status=\"400\"} 1",
        "postrider_accept_seconds_count 1",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}
