//! Documents: what mappings render from is derived from the stored event and printed as JavaScript does.

use postrider::domain::clock::Timestamp;
use postrider::domain::event::{Document, Event, EventType};
use postrider::domain::event_time::{correct, parse_time};
use postrider::domain::id::SourceId;
use postrider::json;
use proptest::prelude::*;

use super::client::Request;
use super::stage::{NOW, NOW_ISO, Stage};

/// The event as it is read from the store after a restart.
fn stored(event: &Event) -> Event {
    Event { document: Document::default(), ..event.clone() }
}

fn text(event: &Event) -> String {
    String::from_utf8(event.document().expect("it has one").to_vec()).expect("UTF-8")
}

#[tokio::test]
async fn acceptance_adds_fields_to_the_document() {
    let stage = Stage::new().await;
    stage.dispatch.set_room(1);
    let body = r#"{"userId":"u","2":true,"event":"E","messageId":"m","n":1.50,"channel":"server",
        "timestamp":"2023-11-14T22:00:00Z","sentAt":"2023-11-14T22:00:10.000Z"}"#;
    let event = stage.accept_one("/v1/track", body).await;
    assert!(event.document.get().is_some(), "cached for the first attempt");
    assert_eq!(
        text(&event),
        r#"{"2":true,"userId":"u","event":"E","messageId":"m","n":1.5,"channel":"server",
        "timestamp":"2023-11-14T22:13:10.123Z","sentAt":"2023-11-14T22:00:10.000Z","type":"track",
        "originalTimestamp":"2023-11-14T22:00:00Z","receivedAt":"2023-11-14T22:13:20.123Z"}"#
            .replace("\n        ", "")
    );
    assert_eq!(text(&stored(&event)), text(&event));
}

#[tokio::test]
async fn batch_fields_are_merged_into_items() {
    let stage = Stage::new().await;
    let batch = r#"{"batch":[
        {"type":"page","userId":"u","messageId":"1"},
        {"type":"page","userId":"u","messageId":"2","context":{"b":9,"c":3},"sentAt":"2023-11-14T22:13:00Z","integrations":{"Hook":true}},
        {"type":"page","userId":"u","messageId":"3","context":"own","integrations":null}
      ],"context":{"a":1,"b":{"x":2}},"integrations":{"All":false},"sentAt":"2023-11-14T22:13:10Z","other":1}"#;
    stage.send(&Request::post("/v1/batch", batch)).await.assert_success();
    let events = stage.store.take_events();
    let envelope = r#"{"context":{"a":1,"b":{"x":2}},"integrations":{"All":false},"sentAt":"2023-11-14T22:13:10Z"}"#;
    let expected = [
        r#""context":{"a":1,"b":{"x":2}},"integrations":{"All":false},"sentAt":"2023-11-14T22:13:10Z""#,
        r#""context":{"a":1,"b":9,"c":3},"sentAt":"2023-11-14T22:13:00Z","integrations":{"All":false,"Hook":true}"#,
        r#""context":"own","integrations":{"All":false},"sentAt":"2023-11-14T22:13:10Z""#,
    ];
    for (number, (new, expected)) in (1..).zip(events.iter().zip(expected)) {
        assert_eq!(new.event.envelope.as_deref(), Some(envelope));
        let start = format!(r#"{{"type":"page","userId":"u","messageId":"{number}",{expected},"#);
        let document = text(&new.event);
        assert!(document.starts_with(&start), "{document}\n{start}");
        assert!(!document.contains("other"));
        assert_eq!(text(&stored(&new.event)), document);
    }
    assert_eq!(events.iter().map(|new| new.deliveries.len()).collect::<Vec<_>>(), [0, 2, 0]);
}

/// Times of an event; its `timestamp` then, and its `originalTimestamp`.
const TIMES: &[(&str, &str, &str)] = &[
    // Neither: the time of acceptance.
    ("", NOW_ISO, NOW_ISO),
    // Without sentAt the sender's clock is trusted.
    (
        r#","timestamp":"2015-12-12T19:11:01.169Z""#,
        "2015-12-12T19:11:01.169Z",
        "2015-12-12T19:11:01.169Z",
    ),
    (
        r#","timestamp":"2015-12-12T19:11:01.169Z","sentAt":"soon""#,
        "2015-12-12T19:11:01.169Z",
        "2015-12-12T19:11:01.169Z",
    ),
    (
        r#","timestamp":"2015-12-12T19:11:01.169Z","sentAt":null"#,
        "2015-12-12T19:11:01.169Z",
        "2015-12-12T19:11:01.169Z",
    ),
    // A clock that is years behind, and one ahead.
    (
        r#","timestamp":"2015-12-12T19:11:01.169Z","sentAt":"2015-12-12T19:11:02.169Z""#,
        "2023-11-14T22:13:19.123Z",
        "2015-12-12T19:11:01.169Z",
    ),
    (
        r#","timestamp":"2030-01-01T00:00:00+00:00","sentAt":"2030-01-01T01:00:00+01:00""#,
        NOW_ISO,
        "2030-01-01T00:00:00+00:00",
    ),
    // Sent before it happened: in the future by our clock too.
    (
        r#","timestamp":"2030-01-01T00:00:05Z","sentAt":"2030-01-01T00:00:00Z""#,
        "2023-11-14T22:13:25.123Z",
        "2030-01-01T00:00:05Z",
    ),
    (r#","timestamp":"yesterday","sentAt":"2030-01-01T00:00:00Z""#, NOW_ISO, "yesterday"),
    (r#","sentAt":"2015-12-12T19:11:02.169Z""#, NOW_ISO, NOW_ISO),
    (
        r#","originalTimestamp":"2015-12-12T19:11:01Z""#,
        "2015-12-12T19:11:01.000Z",
        "2015-12-12T19:11:01Z",
    ),
    (
        r#","timestamp":"-009999-01-02T01:59:59Z","sentAt":"9999-12-30T21:59:59Z""#,
        NOW_ISO,
        "-009999-01-02T01:59:59Z",
    ),
    // Zero times, which say that no time was set.
    (r#","timestamp":"0001-01-01T00:00:00Z""#, NOW_ISO, "0001-01-01T00:00:00Z"),
    (r#","timestamp":"1970-01-01T00:00:00Z""#, NOW_ISO, "1970-01-01T00:00:00Z"),
    (
        r#","timestamp":"2023-11-14T22:00:00Z","sentAt":"0001-01-01T00:00:00Z""#,
        NOW_ISO,
        "2023-11-14T22:00:00Z",
    ),
    (
        r#","timestamp":"2023-11-14T22:00:00Z","sentAt":"1970-01-01T00:00:00Z""#,
        NOW_ISO,
        "2023-11-14T22:00:00Z",
    ),
    (
        r#","timestamp":"2023-11-14T22:00:00Z","sentAt":"9999-01-01T00:00:00Z""#,
        NOW_ISO,
        "2023-11-14T22:00:00Z",
    ),
    // Events of the past are imported by a clock that is right.
    (
        r#","timestamp":"1999-01-01T00:00:00Z","sentAt":"2023-11-14T22:13:20.123Z""#,
        "1999-01-01T00:00:00.000Z",
        "1999-01-01T00:00:00Z",
    ),
    // Text forms and numbers, in either place.
    (
        r#","timestamp":"2015-12-12 19:11:01 +0000 UTC","sentAt":"Sat, 12 Dec 2015 19:11:02 GMT""#,
        "2023-11-14T22:13:19.123Z",
        "2015-12-12 19:11:01 +0000 UTC",
    ),
    (
        r#","timestamp":"1700000000","sentAt":1700000001000"#,
        "2023-11-14T22:13:19.123Z",
        "1700000000",
    ),
];

#[tokio::test]
async fn timestamps_are_corrected_for_clock_skew() {
    let stage = Stage::new().await;
    let at = NOW_ISO;
    for &(times, timestamp, original) in TIMES {
        let body = format!("{{\"userId\":\"u\",\"event\":\"E\"{times}}}");
        let event = stage.accept_one("/v1/track", &body).await;
        let document: serde_json::Value = serde_json::from_str(&text(&event)).expect("JSON");
        assert_eq!(document["timestamp"], timestamp, "{times}");
        assert_eq!(document["originalTimestamp"], original, "{times}");
        assert_eq!(document["receivedAt"], at);
    }
}

#[tokio::test]
async fn numbers_are_times_by_their_size() {
    let stage = Stage::new().await;
    for (given, timestamp) in [
        ("1449947461", "2015-12-12T19:11:01.000Z"),
        ("1449947461.169", "2015-12-12T19:11:01.169Z"),
        ("1449947461169", "2015-12-12T19:11:01.169Z"),
        ("1449947461169000", "2015-12-12T19:11:01.169Z"),
        ("1449947461169000000", "2015-12-12T19:11:01.169Z"),
        ("0", NOW_ISO),
        ("-1", NOW_ISO),
        ("20151212", NOW_ISO),
        ("1e400", NOW_ISO),
        ("true", NOW_ISO),
        ("{}", NOW_ISO),
    ] {
        let body = format!("{{\"userId\":\"u\",\"event\":\"E\",\"timestamp\":{given}}}");
        let event = stage.accept_one("/v1/track", &body).await;
        let document: serde_json::Value = serde_json::from_str(&text(&event)).expect("JSON");
        assert_eq!(document["timestamp"], timestamp, "{given}");
        assert_eq!(text(&stored(&event)), text(&event));
    }
}

#[test]
fn timestamps_are_parsed_in_all_formats_of_sdks() {
    let base = Some(Timestamp::from_micros(1_449_947_461_000_000));
    for text in [
        "2015-12-12T19:11:01Z",
        "2015-12-12T19:11:01.000Z",
        "2015-12-12T19:11:01.000000+00:00",
        "2015-12-12T19:11:01.000000000Z",
        "2015-12-12T20:11:01+01:00",
        "2015-12-12T20:11:01+0100",
        "2015-12-12T14:11:01.0-05:00",
        "2015-12-12 19:11:01Z",
        "2015-12-12t19:11:01z",
        "2015-12-12T19:11:01",
        "20151212T191101Z",
        "2015-12-12T19:11:01.0000000000000Z",
        "2015-12-12 19:11:01 +0000 UTC",
        "2015-12-12 19:11:01.000000001 +0000 UTC",
        "2015-12-12 20:11:01 +0100 CET m=+0.000012345",
        "2015-12-12 19:11:01 UTC",
        "2015-12-12 14:11:01 -0500",
        "2015-12-12 19:11:01+00:00",
        "2015-12-12 19:11:01",
        "2015/12/12 19:11:01 +0000",
        " 2015-12-12T19:11:01Z\n",
        "Sat, 12 Dec 2015 19:11:01 +0000",
        "Sat, 12 Dec 2015 14:11:01 -0500",
        "12 Dec 2015 19:11:01 GMT",
        "Mon, 12 Dec 2015 19:11:01 GMT",
        "Saturday, 12-Dec-15 19:11:01 GMT",
        "Sat Dec 12 19:11:01 2015",
        "Sat Dec 12 2015 20:11:01 GMT+0100 (Central European Standard Time)",
        "Sat Dec 12 19:11:01 UTC 2015",
        "Sat Dec 12 19:11:01 GMT 2015",
        "1449947461",
        "1449947461.0",
        "1449947461000",
        "1449947461000000",
        "1449947461000000000",
    ] {
        assert_eq!(parse_time(text), base, "{text}");
    }
    let midnight = Some(Timestamp::from_micros(1_449_878_400_000_000));
    assert_eq!(parse_time("2015-12-12"), midnight);
    assert_eq!(parse_time("2015-12-12T00:00"), midnight);
    let fraction = Some(Timestamp::from_micros(1_449_947_461_169_123));
    assert_eq!(parse_time("2015-12-12T19:11:01.169123999Z"), fraction);
    for none in [
        "",
        "now",
        "12/12/2015",
        "2015-13-01",
        "2015-12-12T25:00:00Z",
        "0",
        "-1449947461",
        "2015",
        "NaN",
        "inf",
        "1e300",
        "2015-12-12 19:11:01 tomorrow",
        "0000-00-00 00:00:00",
    ] {
        assert_eq!(parse_time(none), None, "{none}");
    }
}

proptest! {
    #[test]
    fn a_corrected_timestamp_keeps_the_age_of_the_event(
        original in 0i64..4_000_000_000_000_000, age in -1_000_000_000_000i64..1_000_000_000_000,
    ) {
        let original = Timestamp::from_micros(original);
        let corrected = correct(original, original.shifted(age), NOW).expect("plausible");
        prop_assert_eq!(corrected.as_micros(), NOW.as_micros() - age);
    }

    #[test]
    fn extreme_timestamps_do_not_overflow(original in any::<i64>(), sent_at in any::<i64>()) {
        let (original, sent_at) = (Timestamp::from_micros(original), Timestamp::from_micros(sent_at));
        let corrected = correct(original, sent_at, NOW);
        prop_assert!(corrected.is_none_or(|at| parse_time(&at.to_iso()).is_some()));
    }

    #[test]
    fn documents_are_deterministic_and_idempotent(
        fields in prop::collection::vec((key(), value()), 0..12),
        envelope in prop::option::of(prop::collection::vec((key(), value()), 0..6)),
    ) {
        let event = Event {
            source_id: SourceId(1),
            kind: Some(EventType::Track),
            message_id: "m".to_owned(),
            received_at: NOW,
            name: None,
            user_id: None,
            body: object(&fields).into(),
            envelope: envelope.as_deref().map(object),
            rejection: None,
            trace: None,
            document: Document::default(),
        };
        let once = text(&event);
        prop_assert_eq!(&text(&stored(&event)), &once);
        let again = json::to_string(&json::parse(once.as_bytes()).expect("JSON"));
        prop_assert_eq!(&again, &once);
        let value = json::parse(once.as_bytes()).expect("JSON");
        let read = |key| value.as_object()?.get(key)?.as_str().map(|text| text.into_owned());
        prop_assert_eq!(read("type").unwrap_or_default(), "track");
        prop_assert_eq!(read("messageId").unwrap_or_default(), "m");
        prop_assert_eq!(read("receivedAt").unwrap_or_default(), NOW_ISO);
        prop_assert_eq!(read("writeKey"), None);
        prop_assert!(parse_time(&read("timestamp").expect("a string")).is_some());
    }
}

fn object(fields: &[(String, String)]) -> String {
    let fields: Vec<String> =
        fields.iter().map(|(key, value)| format!("{key:?}: {value}")).collect();
    format!("{{{}}}", fields.join(" ,"))
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "type",
        "messageId",
        "timestamp",
        "sentAt",
        "originalTimestamp",
        "receivedAt",
        "context",
        "integrations",
        "writeKey",
        "a",
        "1",
        "0",
    ])
    .prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "null",
        "1.0",
        "\"x\"",
        "\"\\ud800\"",
        "{\"b\":1,\"1\":2}",
        "{\"b\":[{\"c\":1e400}]}",
        "[]",
        "\"2015-12-12T19:11:01Z\"",
        "\"2015-12-12T19:11:05+00:00\"",
        "\"m\"",
        "true",
    ])
    .prop_map(str::to_owned)
}
