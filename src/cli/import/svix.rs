//! `import svix`: the endpoints of an application, as Svix's API lists them.

use serde_json::{Map, Value};

use super::super::failure::Failure;
use super::endpoint::{Destinations, Endpoint, Route};
use super::export::{object, text};
use super::report::{Imported, Kind};

/// Fields that are carried over, or say nothing about deliveries.
const KNOWN: [&str; 15] = [
    "id",
    "uid",
    "url",
    "version",
    "description",
    "filterTypes",
    "channels",
    "disabled",
    "rateLimit",
    "throttleRate",
    "createdAt",
    "updatedAt",
    "headers",
    "secret",
    "sensitive",
];

/// The document, and the list of differences.
///
/// # Errors
/// When the last page is missing, or there are no endpoints.
pub(super) fn import(answers: &[Value]) -> anyhow::Result<Imported> {
    let mut endpoints = Vec::new();
    answers.iter().for_each(|answer| take(answer, &mut endpoints));
    let done = |answer: &Value| answer.get("done").and_then(Value::as_bool);
    if answers.iter().any(|it| done(it) == Some(false))
        && !answers.iter().any(|it| done(it) == Some(true))
    {
        let iterator = answers.iter().rev().find_map(|it| it.get("iterator")?.as_str());
        let message = format!(
            "the page of endpoints that follows is missing: its iterator is {}",
            iterator.unwrap_or("not given")
        );
        let hint =
            "ask for it with ?iterator=…, and give all pages: postrider import svix PAGE1 PAGE2";
        return Err(Failure::usage(message).hint(hint).into());
    }
    if endpoints.is_empty() {
        return Err(Failure::usage("there are no endpoints in what was read")
            .hint("postrider import svix --help says what the file should hold")
            .into());
    }
    let mut destinations = Destinations::of("svix");
    for endpoint in endpoints {
        convert(endpoint, &mut destinations);
    }
    Ok(Imported { document: destinations.document(), findings: destinations.findings })
}

fn take<'a>(value: &'a Value, endpoints: &mut Vec<&'a Map<String, Value>>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| take(item, endpoints)),
        Value::Object(object) if object.contains_key("url") => endpoints.push(object),
        Value::Object(object) => {
            for name in ["data", "endpoints"] {
                object.get(name).into_iter().for_each(|below| take(below, endpoints));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn convert(given: &Map<String, Value>, destinations: &mut Destinations) {
    let wanted = ["description", "uid", "id", "url"].into_iter().find_map(|it| text(given, it));
    let (name, at) = destinations.take_name(wanted.unwrap_or("endpoint"));
    let texts = |field: &str| {
        let items = given.get(field).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str).map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let mut enabled = given.get("disabled") != Some(&Value::Bool(true));
    if !texts("channels").is_empty() {
        let message = "channels have no counterpart: the destination is disabled. Write what they select into \
                       the trigger, then enable it";
        destinations.findings.add(&at, "channels", Kind::ToDo, message);
        enabled = false;
    }
    let rate = ["throttleRate", "rateLimit"].into_iter().find_map(|it| given.get(it)?.as_u64());
    for field in given.keys().filter(|field| !KNOWN.contains(&field.as_str())) {
        let is_empty =
            given[field].as_object().is_some_and(Map::is_empty) || given[field].is_null();
        if !is_empty {
            let message = "nothing is imported from it";
            destinations.findings.add(&at, field, Kind::LeftOut, message);
        }
    }
    let endpoint = Endpoint {
        name,
        url: text(given, "url").unwrap_or_default().to_owned(),
        enabled,
        rate_per_second: rate,
        timeout_ms: None,
        headers: object(given, "headers"),
        hidden_headers: texts("sensitive"),
        routes: vec![Route {
            name: "messages".to_owned(),
            enabled: true,
            types: texts("filterTypes"),
        }],
    };
    destinations.add(&at, endpoint);
}
