//! Properties: rendering never panics, and bodies parse and print to the same bytes.

use bytes::Bytes;
use postrider::domain::mapping::MappingDefinition;
use postrider::json;
use postrider::mapping::CompiledMapping;
use proptest::prelude::*;
use serde_json::{Value, json};

const KEYS: [&str; 10] = ["a", "b", "list", "0", "10", "é", "", "userId", "properties", "@x"];

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(&KEYS[..9]).prop_map(str::to_owned),
        1 => "[a-c0-2.\\[\\]'\" ]{0,4}",
    ]
}

fn text() -> impl Strategy<Value = String> {
    // A private character stands for a lone surrogate, which Rust's strings cannot hold.
    prop_oneof![".{0,6}", "[a-c{}$&. \u{e000}\"\\\\]{0,10}", "(\\{\\{[a-b. ]{0,3}\\}\\}|x){0,4}"]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop_oneof![Just(0.0), Just(-0.0), any::<f64>()].prop_map(Value::from),
        text().prop_map(Value::from),
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((key(), inner), 0..6).prop_map(|it| it.into_iter().collect()),
        ]
    })
}

fn path() -> impl Strategy<Value = String> {
    let step = prop_oneof![3 => key(), 1 => Just("length".to_owned()), 1 => Just("[0]".to_owned())];
    prop::collection::vec(step, 0..4).prop_map(|steps| format!("$.{}", steps.join(".")))
}

fn node() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        2 => scalar(),
        4 => path().prop_map(|path| json!({"@path": path})),
        2 => text().prop_map(|text| json!({"@template": text})),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key(), inner.clone()), 0..4).prop_map(|it| it.into_iter().collect()),
            pair.clone().prop_map(|(a, b)| json!({"@if": {"exists": a, "then": b, "else": "x"}})),
            pair.clone().prop_map(|(a, b)| json!({"@if": {"blank": a, "then": b}})),
            inner.clone().prop_map(|a| json!({"@case": {"operator": "upper", "value": a}})),
            (inner.clone(), text(), text(), any::<bool>()).prop_map(|(a, pattern, replacement, flag)| {
                json!({"@replace": {"pattern": pattern, "replacement": replacement, "value": a, "ignorecase": flag}})
            }),
            (path(), inner.clone()).prop_map(|(path, a)| json!({"@arrayPath": [path, {"k": a}]})),
            pair.clone().prop_map(|(a, b)| json!({"@arrayPath": [a, b]})),
            prop::collection::vec(inner.clone(), 0..3)
                .prop_map(|all| json!({"@merge": {"objects": all, "direction": "left"}})),
            pair.prop_map(|(a, b)| json!({"@transform": {"apply": {"a": a}, "mapping": {"b": b}}})),
            inner.clone().prop_map(|a| json!({"@json": {"mode": "encode", "value": a}})),
            inner.clone().prop_map(|a| json!({"@json": {"mode": "decode", "value": a}})),
            inner.clone().prop_map(|a| json!({"@flatten": {"separator": "1", "value": a}})),
            inner.clone().prop_map(|a| json!({"@path": a})),
            inner.prop_map(|a| json!({"@excludeWhenNull": a})),
        ]
    })
}

/// Invalid parts are pruned, so that the rest is rendered.
fn acceptable(data: Value) -> Option<CompiledMapping> {
    let mut data = json!({"wrapped": data});
    for _ in 0..50 {
        let mapping = json!({"url": "https://example.com", "data": data});
        let definition: MappingDefinition = serde_json::from_value(mapping).ok()?;
        match CompiledMapping::compile(&definition) {
            Ok(compiled) => return Some(compiled),
            Err(_) => data = prune(data),
        }
    }
    None
}

/// Replaces invalid objects, innermost first.
fn prune(data: Value) -> Value {
    let right = |data: &Value| {
        let mapping = json!({"url": "https://example.com", "data": {"wrapped": data}});
        let definition: MappingDefinition = serde_json::from_value(mapping).unwrap();
        CompiledMapping::compile(&definition).is_ok()
    };
    match data {
        Value::Object(fields) => {
            let pruned: Value =
                fields.into_iter().map(|(key, value)| (key, prune(value))).collect();
            if pruned.get("wrapped").is_some() || right(&pruned) {
                pruned
            } else {
                json!({"@path": "$.a"})
            }
        }
        Value::Array(items) => items.into_iter().map(prune).collect(),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}

proptest! {
    #[test]
    fn rendered_bodies_parse_and_print_to_the_same_bytes(
        data in node(),
        event in prop::collection::vec((key(), any_json()), 0..6),
    ) {
        let event: Value = event.into_iter().collect();
        let text = event.to_string().replace('\u{e000}', "\\ud83d");
        let event = json::to_string(&json::parse(text.as_bytes()).unwrap());
        let Some(mapping) = acceptable(data) else { return Ok(()) };
        let Ok(rendered) = mapping.render(&Bytes::from(event)) else { return Ok(()) };
        let read = json::parse(&rendered.body).unwrap();
        let again = json::to_string(&read);
        prop_assert_eq!(again.as_bytes(), &rendered.body[..]);
    }
}
