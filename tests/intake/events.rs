//! Events of single messages: what is stored, and what is acknowledged but not routed.

use postrider::domain::event::EventType;

use super::client::Request;
use super::stage::{FIRST, NOW, OTHER, SECOND, Stage};

#[tokio::test]
async fn messages_are_stored_byte_for_byte() {
    let stage = Stage::new().await;
    let body = " {\"userId\" :\"u-1\",\n\"event\":\"Order\\u0020Done\", \"messageId\":\"m1\",\"n\":1.50 } ";
    let event = stage.accept_one("/v1/track", body).await;
    assert_eq!(&event.body[..], body.as_bytes());
    assert_eq!(event.message_id, "m1");
    assert_eq!(event.kind, Some(EventType::Track));
    assert_eq!(event.name.as_deref(), Some("Order Done"));
    assert_eq!(event.user_id.as_deref(), Some("u-1"));
    assert_eq!(event.received_at, NOW);
    assert_eq!((&event.envelope, &event.rejection), (&None, &None));
    let screen = r#"{"userId":7,"name":"Main"}"#;
    let event = stage.accept_one("/v1/screen", screen).await;
    assert_eq!((event.name.as_deref(), event.user_id.as_deref()), (Some("Main"), Some("7")));
}

#[tokio::test]
async fn write_keys_are_not_stored() {
    let stage = Stage::new().await;
    let body = r#"{"userId":"u", "writeKey":"KEY","event":"E"}"#;
    let event = stage.accept_one("/v1/track", body).await;
    assert_eq!(&event.body[..], br#"{"userId":"u","event":"E"}"#);
    let batch = r#"{"writeKey":"KEY","batch":[{"type":"page","userId":"u","writeKey":"KEY"}]}"#;
    let event = stage.accept_one("/v1/batch", batch).await;
    assert_eq!(&event.body[..], br#"{"type":"page","userId":"u"}"#);
    let document = event.document().expect("it has one");
    assert!(!String::from_utf8_lossy(document).contains("KEY"));
    let event = stage.accept_one("/v1/batch", r#"{"writeKey":"KEY","batch":[]}"#).await;
    assert_eq!(&event.body[..], br#"{"batch":[]}"#);
}

#[tokio::test]
async fn the_path_determines_the_type_of_a_single_call() {
    let stage = Stage::new().await;
    let event = stage.accept_one("/v1/page", r#"{"type":"track","userId":"u"}"#).await;
    assert_eq!((event.kind, &event.rejection), (Some(EventType::Page), &None));
    let document = String::from_utf8_lossy(event.document().expect("it has one")).into_owned();
    assert!(document.starts_with(r#"{"type":"page","userId":"u","#), "{document}");
}

#[tokio::test]
async fn messages_without_an_id_get_a_uuid() {
    let stage = Stage::new().await;
    let mut ids = Vec::new();
    for id in ["", r#","messageId":null"#, r#","messageId":"""#, r#","messageId":{}"#] {
        let body = format!("{{\"userId\":\"u\",\"event\":\"E\"{id}}}");
        let event = stage.accept_one("/v1/track", &body).await;
        let uuid = uuid::Uuid::parse_str(&event.message_id).expect("a UUID");
        assert_eq!(uuid.get_version_num(), 4);
        assert_eq!(event.rejection, None);
        ids.push(event.message_id.clone());
    }
    ids.dedup();
    assert_eq!(ids.len(), 4);
    let event = stage.accept_one("/v1/track", r#"{"userId":"u","event":"E","messageId":7}"#).await;
    assert_eq!(event.message_id, "7");
}

#[tokio::test]
async fn message_ids_are_limited_to_100_characters() {
    let stage = Stage::new().await;
    let of = |id: &str| format!("{{\"userId\":\"u\",\"event\":\"E\",\"messageId\":\"{id}\"}}");
    let longest = "é".repeat(100);
    let event = stage.accept_one("/v1/track", &of(&longest)).await;
    assert_eq!((&event.message_id, &event.rejection), (&longest, &None));
    let event = stage.accept_one("/v1/track", &of(&"x".repeat(101))).await;
    let reason = "messageId has more than 100 characters";
    assert_eq!(event.rejection.as_deref(), Some(reason));
    assert!(event.message_id.len() <= 100);
}

#[tokio::test]
async fn invalid_messages_are_acknowledged_and_stored_with_the_reason() {
    let stage = Stage::new().await;
    for (path, body, reason) in [
        ("track", r#"{"event":"E"}"#, "there is no userId and no anonymousId"),
        ("track", r#"{"userId":"u"}"#, "there is no event: a track needs the event's name"),
        ("track", r#"{"userId":"u","event":5}"#, "event is not a string"),
        ("track", r#"{"userId":"u","event":"E","properties":[]}"#, "properties is not an object"),
        ("identify", r#"{"userId":"u","traits":"x"}"#, "traits is not an object"),
        ("group", r#"{"userId":"u"}"#, "there is no groupId: a group needs one"),
        ("alias", r#"{"previousId":"p"}"#, "there is no userId: an alias needs one"),
        ("delete", "{}", "there is no userId and no anonymousId"),
        ("track", "[]", "the event is not an object"),
        ("track", "null", "the event is not an object"),
        ("batch", r#"{"batch":[]}"#, "batch is empty"),
        ("batch", "{}", "batch is missing, or not an array"),
        ("batch", r#"{"batch":{}}"#, "batch is missing, or not an array"),
        ("batch", "5", "the event is not an object"),
        ("batch", r#"{"batch":["x"]}"#, "the event is not an object"),
    ] {
        stage.send(&Request::post(&format!("/v1/{path}"), body)).await.assert_success();
        let events = stage.store.take_events();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].event.rejection.as_deref(), Some(reason), "{path} {body}");
        assert!(events[0].deliveries.is_empty());
        if path != "batch" || events[0].event.kind.is_none() && !body.contains("x") {
            assert_eq!(&events[0].event.body[..], body.as_bytes());
        }
    }
}

#[tokio::test]
async fn batch_items_are_validated_independently() {
    let stage = Stage::new().await;
    let items = [
        r#"{"type":"track","userId":"u","event":"E"}"#,
        r#"{"type":"track","event":"E"}"#,
        r#"{"type":"nothing","userId":"u"}"#,
        r#"{"userId":"u","event":"E"}"#,
        r#"{"type":7,"userId":"u"}"#,
        "7",
        r#"{ "type" : "identify" , "anonymousId":"a" }"#,
    ];
    let batch = format!("{{\"batch\":[{}]}}", items.join(" , "));
    stage.send(&Request::post("/v1/batch", batch)).await.assert_success();
    let events = stage.store.take_events();
    let unknown = "type is missing or unknown: should be track, identify, page, screen, group, \
                   alias or delete";
    let expected = [
        (Some(EventType::Track), None),
        (Some(EventType::Track), Some("there is no userId and no anonymousId")),
        (None, Some(unknown)),
        (None, Some(unknown)),
        (None, Some(unknown)),
        (None, Some("the event is not an object")),
        (Some(EventType::Identify), None),
    ];
    assert_eq!(events.len(), items.len());
    for ((new, item), (kind, rejection)) in events.iter().zip(items).zip(expected) {
        assert_eq!(&new.event.body[..], item.as_bytes());
        assert_eq!((new.event.kind, new.event.rejection.as_deref()), (kind, rejection), "{item}");
        let mappings: Vec<_> = new.deliveries.iter().map(|it| it.mapping_id).collect();
        let expected = if rejection.is_none() { vec![FIRST, SECOND, OTHER] } else { Vec::new() };
        assert_eq!(mappings, expected);
    }
}
