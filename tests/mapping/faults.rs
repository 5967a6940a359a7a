//! Validation of mappings: every fault with its path, all at once.

use postrider::domain::mapping::MappingDefinition;
use postrider::mapping::{CompiledMapping, Fault};
use serde_json::{Value, json};

fn faults(data: Value) -> Vec<Fault> {
    let mapping = json!({"url": "https://example.com", "data": data});
    let definition: MappingDefinition = serde_json::from_value(mapping).unwrap();
    CompiledMapping::compile(&definition).err().unwrap_or_default()
}

fn paths(data: Value) -> Vec<String> {
    faults(data).into_iter().map(|fault| fault.path).collect()
}

#[test]
fn all_faults_are_reported_at_once_with_their_paths() {
    let data = json!({
        "good": {"@path": "$.a", "_metadata": {"label": "A"}},
        "two": {"@path": "$.a", "@template": "b"},
        "beside": {"@path": "$.a", "b": 1},
        "unknown": [1, {"@upper": "x"}],
        "liquid": {"@liquid": "{{ a }}"},
        "a.b": [[{"@path": 5}]],
        "if": {"@if": {"exists": "", "then": {"@template": 1}, "els": 2}},
        "case": {"@case": {"operator": "title", "value": 5}},
        "replace": {"@replace": {"pattern": "longer than ten", "replacement": 5, "global": "yes"}},
        "pattern2": {"@replace": {"pattern": "a", "value": "b", "pattern2": "longer than ten"}},
        "arrayPath": [{"@arrayPath": "$.a"}, {"@arrayPath": [1, "x"]}, {"@arrayPath": ["$.a", {"@path": 1}]}],
        "merge": {"@merge": {"objects": [{"@path": "$.a"}, "x", {"b": {"@nope": 1}}], "direction": "up"}},
        "transform": {"@transform": {"apply": "x"}},
        "json": {"@json": {"mode": "print", "value": ""}},
        "flatten": {"@flatten": {"separator": "", "value": 1, "omitArrays": 1}},
        "literal": {"@literal": {"@path": null}},
        "exclude": {"@excludeWhenNull": [{"@path": {"a": 1}}]},
    });
    insta::assert_snapshot!(listed(&faults(data)), @r#"
    data.two: should have one directive, not @path and @template
    data.beside: @path stands alone in its object: move "b" out of it
    data.unknown[1].@upper: there is no directive @upper (there are @path, @template, @literal, @if, @case, @replace, @arrayPath, @merge, @transform, @json, @flatten and @excludeWhenNull)
    data.liquid.@liquid: Liquid templates are not supported: use @template, @if, @case or @replace, or an insert function
    data["a.b"][0][0].@path: should be a path such as "$.userId", or a directive that gives one
    data.if.@if: needs exists or blank, with the value to look at
    data.if.@if.then.@template: should be text such as "Hello {{traits.name}}", or a directive that gives one
    data.if.@if.els: is no option here (there are exists, blank, then, else)
    data.case.@case.operator: should be "upper" or "lower", not "title"
    data.case.@case.value: should be text, or a directive that gives one
    data.replace.@replace.pattern: should be text of 1 to 10 characters
    data.replace.@replace.replacement: should be text
    data.replace.@replace.global: should be true or false, not "yes"
    data.replace.@replace.value: is needed
    data.pattern2.@replace.pattern2: should have at most 10 characters
    data.arrayPath[0].@arrayPath: should be an array: a path and, if wanted, the shape of each item
    data.arrayPath[1].@arrayPath[0]: should be a path such as "$.properties.products", or a directive that gives one
    data.arrayPath[1].@arrayPath[1]: should be an object: the shape of each item
    data.arrayPath[2].@arrayPath[1].@path: should be a path such as "$.userId", or a directive that gives one
    data.merge.@merge.direction: should be "left" or "right", not "up"
    data.merge.@merge.objects[1]: should be an object or a directive
    data.merge.@merge.objects[2].b.@nope: there is no directive @nope (there are @path, @template, @literal, @if, @case, @replace, @arrayPath, @merge, @transform, @json, @flatten and @excludeWhenNull)
    data.transform.@transform.apply: should be an object or a directive
    data.transform.@transform.mapping: is needed
    data.json.@json.mode: should be "encode" or "decode", not "print"
    data.json.@json.value: should be a value that is not empty, zero, false or null
    data.flatten.@flatten.separator: should be text that is not empty
    data.flatten.@flatten.omitArrays: should be true or false, not 1
    data.literal.@literal.@path: should be a path such as "$.userId", or a directive that gives one
    data.exclude.@excludeWhenNull[0].@path: should be a path such as "$.userId", or a directive that gives one
    "#);
}

fn listed(faults: &[Fault]) -> String {
    let lines = faults.iter().map(|fault| format!("{}: {}", fault.path, fault.message));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn constant_data_has_to_be_an_object() {
    for data in [json!(1), json!("x"), json!([]), json!({"@literal": 1}), json!({"@template": "x"})]
    {
        assert_eq!(paths(data.clone()), ["data"], "{data}");
    }
    assert_eq!(paths(json!({"@literal": {}})), Vec::<String>::new());
    assert_eq!(paths(json!({"@path": "$.properties"})), Vec::<String>::new());
}

#[test]
fn depth_and_size_are_bounded() {
    let deep = (0..70).fold(json!(1), |inner, _| json!([inner]));
    assert_eq!(paths(json!({"deep": deep})).len(), 1);
    let fine = (0..50).fold(json!(1), |inner, _| json!([inner]));
    assert_eq!(paths(json!({"fine": fine})), Vec::<String>::new());
    let wide = vec![json!({"@path": "$.a"}); 30_000];
    let found = faults(json!({"wide": wide}));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].message, "is too much: a mapping has at most 20000 values");
}
