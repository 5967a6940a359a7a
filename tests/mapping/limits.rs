//! Limits: a small mapping and a small event cannot exhaust memory.

use serde_json::{Value, json};

use super::body;

fn message(data: Value, event: &str) -> String {
    body(data, event).unwrap_err()
}

#[test]
fn a_body_has_four_megabytes_at_most() {
    let event = json!({"text": "x".repeat(30_000)}).to_string();
    let copies = |count: usize| json!({"all": vec![json!({"@path": "$.text"}); count]});
    assert!(body(copies(130), &event).is_ok());
    assert_eq!(message(copies(140), &event), "data gives more than 4 MB");
    let template = "{{text}}".repeat(2_000);
    let data = json!({"a": {"b": {"@template": template}}});
    assert_eq!(message(data, &event), "data.a.b computes more than 32 MiB of values");
}

#[test]
fn repeated_doubling_exceeds_the_budget() {
    let mut data = json!({"@path": "$."});
    for _ in 0..14 {
        data = json!({"@transform": {
            "apply": {"a": {"@path": "$."}, "b": {"@path": "$."}},
            "mapping": data,
        }});
    }
    let event = json!({"text": "x".repeat(1_000)}).to_string();
    assert_eq!(message(data, &event), "data computes more than 32 MiB of values");
    let mut text = json!({"@path": "$.text"});
    for _ in 0..24 {
        text = json!({"@json": {"mode": "encode", "value": text}});
    }
    let event = json!({"text": "\\".repeat(1_000)}).to_string();
    let found = message(json!({"a": text}), &event);
    assert!(found.starts_with("data.a "), "{found}");
}

#[test]
fn flattening_long_keys_exceeds_the_budget() {
    let mut event = json!(vec![1; 500]);
    for _ in 0..100 {
        event = json!({"a-rather-long-key-that-is-repeated-in-every-flattened-one-of-the-leaves": event});
    }
    let flatten = json!({"@flatten": {"value": {"@path": "$."}, "separator": "."}});
    assert!(body(flatten.clone(), &event.to_string()).is_ok());
    let nested =
        json!({"@arrayPath": ["$.list", {"@flatten": {"value": {"@path": ""}, "separator": "."}}]});
    let event = json!({"list": vec![event; 20]}).to_string();
    let found = message(json!({"a": nested}), &event);
    assert_eq!(found, "data.a computes more than 32 MiB of values");
}

#[test]
fn bodies_nested_too_deep_are_refused() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(511), "]".repeat(511));
    assert!(body(json!({"@path": "$."}), &deep).is_ok());
    let found = message(json!({"deeper": {"@path": "$."}}), &deep);
    assert_eq!(found, "data gives values nested deeper than 512 levels");
    let flatten = json!({"@flatten": {"value": {"@path": "$."}, "separator": "/"}});
    assert!(body(flatten, &deep).is_ok());
}
