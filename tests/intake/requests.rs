//! Requests: paths, write keys, media types, limits and error responses.

use postrider::domain::event::EventType;
use postrider::domain::oversized::OversizedEvents;
use postrider::intake::limits::{MAX_BATCH_MESSAGES, MAX_MESSAGE_BYTES, MAX_REQUEST_BYTES};

use super::client::{Request, basic};
use super::stage::{Conditions, Failure, Stage};

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
async fn json_is_read_under_any_media_type_and_none_compressed_or_not() {
    let stage = Stage::new().await;
    let of = |media: &str| Request::post("/v1/track", TRACK).header("content-type", media);
    for media in [
        "application/json",
        "application/json; charset=utf-8",
        "text/plain",
        "x/y",
        "",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ] {
        stage.send(&of(media)).await.assert_success();
        stage.send(&of(media).gzip()).await.assert_success();
    }
    stage.send(&Request::post("/v1/track", TRACK)).await.assert_success();
    let form = Request::post("/v1/track", "userId=u&event=E");
    let form = form.header("content-type", "application/x-www-form-urlencoded");
    stage.send(&form).await.assert_refused(400, "invalid_json");
}

#[tokio::test]
async fn gzip_and_deflate_are_read_and_other_encodings_are_refused_by_name() {
    let stage = Stage::new().await;
    stage.send(&Request::post("/v1/track", TRACK).gzip()).await.assert_success();
    assert_eq!(&stage.store.take_events()[0].event.body[..], TRACK.as_bytes());
    stage.send(&Request::post("/v1/track", TRACK).deflate()).await.assert_success();
    assert_eq!(&stage.store.take_events()[0].event.body[..], TRACK.as_bytes());
    let of = |word: &str| Request::post("/v1/track", TRACK).header("content-encoding", word);
    stage.send(&of("identity")).await.assert_success();
    for word in ["br", "zstd", "gzip, gzip"] {
        let answer = stage.send(&of(word)).await;
        answer.assert_refused(415, "unsupported_encoding");
        assert_eq!(answer.header("accept-encoding"), Some("gzip, deflate"));
    }
    stage.send(&of("gzip")).await.assert_refused(400, "invalid_compression");
    stage.send(&of("deflate")).await.assert_refused(400, "invalid_compression");
}

#[tokio::test]
async fn a_right_write_key_in_the_body_counts_beside_a_wrong_one_in_the_head() {
    let stage = Stage::new().await;
    let body = r#"{"writeKey":"KEY","userId":"u","event":"E"}"#;
    let of = |header: &str, body: &str| {
        Request::anonymous("/v1/track", body).header("authorization", header)
    };
    for header in [basic("NO:"), basic("NO"), "Bearer NO".to_owned(), "Digest x".to_owned()] {
        stage.send(&of(&header, body)).await.assert_success();
        stage.send(&of(&header, body).gzip()).await.assert_success();
        let wrong = body.replace("KEY", "NEITHER");
        stage.send(&of(&header, &wrong)).await.assert_refused(401, "write_key_unknown");
    }
    stage.send(&of(&basic("GONE:"), body)).await.assert_refused(403, "source_disabled");
    // The head decides where both are right.
    let gone = body.replace("KEY", "GONE");
    stage.send(&of(&basic("KEY:"), &gone)).await.assert_success();
    for new in stage.store.take_events() {
        let stored = String::from_utf8_lossy(&new.event.body).into_owned();
        assert!(!stored.contains("KEY") && !stored.contains("GONE"), "{stored}");
    }
}

#[tokio::test]
async fn a_pixel_carries_an_event_in_its_url() {
    let stage = Stage::new().await;
    let data = |json: &str| {
        let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, json);
        form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>()
    };
    let pixel = |path: &str, json: &str| {
        Request::anonymous(&format!("/v1/pixel/{path}?data={}", data(json)), "").method("GET")
    };
    let keyed = ANY.replacen('{', r#"{"writeKey":"KEY","#, 1);
    for (path, kind) in [
        ("track", EventType::Track),
        ("identify", EventType::Identify),
        ("page", EventType::Page),
        ("screen", EventType::Screen),
        ("group", EventType::Group),
        ("alias", EventType::Alias),
        ("t", EventType::Track),
    ] {
        let answer = stage.send(&pixel(path, &keyed)).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/gif")));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let events = stage.store.take_events();
        assert_eq!(events.len(), 1, "{path}");
        assert_eq!((events[0].event.kind, &events[0].event.rejection), (Some(kind), &None));
        assert_eq!(&events[0].event.body[..], ANY.as_bytes(), "without its write key");
    }
    stage.send(&pixel("track", ANY)).await.assert_refused(401, "write_key_missing");
    let wrong = keyed.replace("KEY", "NO");
    stage.send(&pixel("track", &wrong)).await.assert_refused(401, "write_key_unknown");
    stage.send(&pixel("track", "{")).await.assert_refused(400, "invalid_json");
    let bare = Request::anonymous("/v1/pixel/track", "").method("GET");
    stage.send(&bare).await.assert_refused(400, "invalid_data");
    let answer = stage.send(&pixel("track", &keyed).method("POST")).await;
    answer.assert_refused(405, "method_not_allowed");
    assert_eq!(answer.header("allow"), Some("GET, OPTIONS"));
    assert!(stage.store.take_events().is_empty());
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
    assert_eq!(stage.store.take_events().len(), 2, "nothing of a refused request is stored");
}

#[tokio::test]
async fn an_oversized_event_of_a_batch_is_kept_as_rejected_and_the_others_are_accepted() {
    let large = "ü".repeat(MAX_MESSAGE_BYTES / 2);
    let oversized = format!(
        r#"{{"type":"track","messageId":"large","writeKey":"KEY","userId":"{large}","event":"E"}}"#
    );
    let item = |id: u8| format!(r#"{{"type":"page","userId":"u","messageId":"{id}"}}"#);
    let batch = format!(r#"{{"context":{{"a":1}},"batch":[{},{oversized},{}]}}"#, item(1), item(2));
    let stage = Stage::new().await;
    stage.send(&Request::post("/v1/batch", batch.clone())).await.assert_success();
    let events = stage.store.take_events();
    let ids: Vec<_> = events.iter().map(|it| it.event.message_id.as_str()).collect();
    assert_eq!(ids, ["1", "large", "2"]);
    assert!(!events[0].deliveries.is_empty() && !events[2].deliveries.is_empty());
    let rejected = &events[1];
    assert!(rejected.deliveries.is_empty());
    let reason = rejected.event.rejection.as_deref().expect("rejected");
    assert!(reason.contains(&format!("{} bytes", oversized.len())), "{reason}");
    let head = std::str::from_utf8(&rejected.event.body).expect("UTF-8");
    let whole = oversized.replace(r#""writeKey":"KEY","#, "");
    assert!(head.len() <= 4_096 && head.len() > 4_000 && whole.starts_with(head), "{head}");
    assert_eq!((&rejected.event.user_id, rejected.event.name.as_deref()), (&None, Some("E")));

    let oversized = OversizedEvents::RejectBatch;
    let stage = Stage::with(Conditions { oversized, ..Conditions::default() }).await;
    let answer = stage.send(&Request::post("/v1/batch", batch)).await;
    answer.assert_refused(400, "too_large");
    assert!(answer.body.contains("batch[1] has"), "{}", answer.body);
    assert!(stage.store.take_events().is_empty(), "nothing of a refused request is stored");
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
        .header("access-control-request-headers", "authorization,content-type,x-anything-else");
    let answer = stage.send(&ask).await;
    assert_eq!(answer.status, 200);
    let methods = answer.header("access-control-allow-methods").expect("methods are named");
    assert!(methods.contains("POST"), "{methods}");
    let allowed = answer.header("access-control-allow-headers").expect("headers are named");
    for name in ["authorization", "content-type", "x-anything-else"] {
        assert!(allowed.contains(name), "{allowed}");
    }
    let of = |body: &str| Request::post("/v1/t", body).header("origin", "https://shop.example");
    for answer in [answer, stage.send(&of(TRACK)).await, stage.send(&of("x")).await] {
        // With credentials, as sendBeacon sends, a browser wants its origin by name.
        let origin = answer.header("access-control-allow-origin");
        assert_eq!(origin, Some("https://shop.example"), "{answer:?}");
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert!(answer.header("vary").is_some_and(|it| it.to_ascii_lowercase().contains("origin")));
    }
    stage.store.fail(Failure::Overloaded);
    let refused = stage.send(&of(TRACK)).await;
    assert!(refused.header("retry-after").is_some());
    let exposed = refused.header("access-control-expose-headers").expect("named");
    assert!(exposed.eq_ignore_ascii_case("retry-after"), "{exposed}");
}

#[tokio::test]
async fn sdks_are_told_to_send_events_here() {
    let stage = Stage::new().await;
    for path in
        ["/v1/projects/KEY/settings", "/projects/KEY/settings", "/v1/projects/KEY/settings/"]
    {
        for origin in [None, Some("https://shop.example")] {
            let mut ask = Request::anonymous(path, "").method("GET");
            if let Some(origin) = origin {
                ask = ask.header("origin", origin);
            }
            let answer = stage.send(&ask).await;
            assert_eq!(
                (answer.status, answer.header("content-type")),
                (200, Some("application/json"))
            );
            assert_eq!(answer.header("access-control-allow-origin"), origin);
            let settings: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
            let segment = &settings["integrations"]["Segment.io"];
            let told = [&segment["apiKey"], &segment["apiHost"], &segment["protocol"]];
            assert_eq!(told, ["KEY", "test/v1", "http"]);
            assert_eq!(settings["metrics"]["sampleRate"], 0);
        }
    }
    let unknown = Request::anonymous("/v1/projects/NO/settings", "").method("GET");
    stage.send(&unknown).await.assert_refused(401, "write_key_unknown");
    let post = Request::anonymous("/v1/projects/KEY/settings", "");
    stage.send(&post).await.assert_refused(405, "method_not_allowed");
}

#[tokio::test]
async fn responses_are_counted() {
    let stage = Stage::new().await;
    stage.send(&Request::post("/v1/track", TRACK)).await.assert_success();
    stage.send(&Request::post("/v1/track", "x")).await.assert_refused(400, "invalid_json");
    let text = stage.metrics.encode(&postrider::domain::ledger::Ledger::default());
    for line in [
        "postrider_intake_answers_total{status=\"200\"} 1",
        "postrider_intake_answers_total{status=\"400\"} 1",
        "postrider_accept_seconds_count 1",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}
