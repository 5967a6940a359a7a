//! One subscription, or one hook of a classic webhook, as a mapping.

use std::collections::BTreeMap;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use super::{Finding, Kind};
use crate::domain::connection_headers::is_connection_header;
use crate::domain::mapping::MappingDefinition;
use crate::mapping::CompiledMapping;
use crate::sender::masked_headers;

/// Maximum events of a request.
const MAX_BATCH: u64 = 4_000;
/// Segment's default batch size.
const DEFAULT_BATCH: u64 = 1_000;

/// A mapping, and its secret headers.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) mapping: Map<String, Value>,
    /// By lower-case name; none when a directive gives the value.
    pub(super) credentials: BTreeMap<String, Option<String>>,
}

/// Converts one subscription.
pub(super) struct Taking<'a> {
    at: &'a str,
    findings: &'a mut Vec<Finding>,
}

impl<'a> Taking<'a> {
    /// For the mapping `at` this path.
    pub(super) fn new(at: &'a str, findings: &'a mut Vec<Finding>) -> Self {
        Self { at, findings }
    }

    fn find(&mut self, field: &str, kind: Kind, message: impl Into<String>) {
        let (at, field) = (self.at.to_owned(), field.to_owned());
        self.findings.push(Finding { at, field, kind, message: message.into() });
    }

    /// The mapping; none when it would be refused.
    pub(super) fn draft(
        &mut self,
        name: String,
        enabled: bool,
        trigger: &str,
        settings: &Map<String, Value>,
    ) -> Option<Draft> {
        let mut mapping = Map::new();
        let trigger = self.trigger(trigger);
        if !trigger.is_empty() {
            mapping.insert("trigger".to_owned(), Value::from(trigger));
        }
        let url = settings.get("url").cloned().unwrap_or_default();
        if !url.is_string() {
            // Segment inserts values of the event as they are.
            mapping.insert("url_values".to_owned(), Value::from("raw"));
        }
        mapping.insert("url".to_owned(), url);
        if let Some(method) = self.method(settings) {
            mapping.insert("method".to_owned(), Value::from(method));
        }
        let mut credentials = BTreeMap::new();
        let headers = self.headers(settings, &mut credentials);
        if !headers.is_empty() {
            mapping.insert("headers".to_owned(), Value::Object(headers));
        }
        if let Some(data) = settings.get("data").filter(|data| !is_whole_event(data)) {
            mapping.insert("data".to_owned(), data.clone());
        }
        if !self.is_usable(&mapping) {
            return None;
        }
        if let Some(batching) = self.batching(settings) {
            mapping.insert("batching".to_owned(), batching);
        }
        self.other_settings(settings);
        let mut named = Map::new();
        named.insert("name".to_owned(), Value::from(name.as_str()));
        named.insert("enabled".to_owned(), Value::from(enabled));
        named.append(&mut mapping);
        Some(Draft { name, mapping: named, credentials })
    }

    /// Segment's UI escapes the brackets of an index; its evaluation reads them as an index.
    fn trigger(&mut self, given: &str) -> String {
        let mut trigger = String::with_capacity(given.len());
        let mut rest = given;
        while let Some((before, after)) = rest.split_once("\\[") {
            trigger.push_str(before);
            match after.split_once("\\]") {
                Some((index, beyond))
                    if !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit()) =>
                {
                    trigger.push('.');
                    trigger.push_str(index);
                    rest = beyond;
                }
                Some(_) | None => {
                    trigger.push_str("\\[");
                    rest = after;
                }
            }
        }
        trigger.push_str(rest);
        if trigger != given {
            self.find("trigger", Kind::Changed, "an index is written as a step here: items.0.name");
        }
        trigger
    }

    fn method<'s>(&mut self, settings: &'s Map<String, Value>) -> Option<&'s str> {
        match settings.get("method") {
            Some(Value::String(method)) if ["POST", "PUT", "PATCH"].contains(&method.as_str()) => {
                Some(method)
            }
            None | Some(Value::Null) => None,
            Some(other) => {
                let message = format!("{other} cannot be a method here: it is POST");
                self.find("settings.method", Kind::Changed, message);
                None
            }
        }
    }

    fn headers(
        &mut self,
        settings: &Map<String, Value>,
        credentials: &mut BTreeMap<String, Option<String>>,
    ) -> Map<String, Value> {
        let mut headers = Map::new();
        let given = match settings.get("headers") {
            None | Some(Value::Null) => return headers,
            Some(Value::Object(given)) if !given.keys().any(|name| name.starts_with('@')) => given,
            Some(_) => {
                let message = "headers made as a whole by a directive: write each with its own";
                self.find("settings.headers", Kind::LeftOut, message);
                return headers;
            }
        };
        for (name, value) in given {
            let name = name.trim();
            if name.is_empty() || matches!(value, Value::Null) || value == "" {
                continue;
            }
            let lower = name.to_ascii_lowercase();
            if is_ours(&lower) {
                let field = format!("settings.headers.{name}");
                self.find(&field, Kind::LeftOut, "is set by Postrider and cannot be overridden");
            } else if is_credential(&lower) && !is_from_event(value) {
                credentials.insert(lower, value.as_str().map(str::to_owned));
            } else {
                headers.insert(name.to_owned(), value.clone());
            }
        }
        headers
    }

    fn is_usable(&mut self, mapping: &Map<String, Value>) -> bool {
        let definition =
            serde_json::from_value::<MappingDefinition>(Value::Object(mapping.clone()));
        let faults: Vec<(String, String)> = match definition {
            Ok(definition) => match CompiledMapping::compile(&definition) {
                Ok(_) => Vec::new(),
                Err(faults) => faults.into_iter().map(|it| (it.path, it.message)).collect(),
            },
            Err(error) => vec![(String::new(), error.to_string())],
        };
        for (path, message) in &faults {
            let field = if path == "trigger" { path.clone() } else { format!("settings.{path}") };
            self.find(&field, Kind::LeftOut, format!("the mapping is left out: {message}"));
        }
        faults.is_empty()
    }

    fn batching(&mut self, settings: &Map<String, Value>) -> Option<Value> {
        let is_on = match settings.get("enable_batching") {
            Some(Value::Bool(is_on)) => *is_on,
            Some(Value::String(text)) => text == "true",
            Some(Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_)) | None => {
                false
            }
        };
        if !is_on {
            return None;
        }
        let given = match settings.get("batch_size") {
            Some(Value::Number(size)) => size.as_u64(),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => None,
        };
        let size = match given {
            None | Some(0) => DEFAULT_BATCH,
            Some(size) if size > MAX_BATCH => {
                let message = format!("{size} is more than {MAX_BATCH}, which it is now");
                self.find("settings.batch_size", Kind::Changed, message);
                MAX_BATCH
            }
            Some(size) => size,
        };
        Some(json!({"size": size}))
    }

    fn other_settings(&mut self, settings: &Map<String, Value>) {
        const KNOWN: [&str; 7] =
            ["url", "method", "headers", "data", "enable_batching", "batch_size", "batch_keys"];
        let keys = ["url", "method", "headers"].map(Value::from);
        let alike = |given: &Value| {
            given.as_array().is_some_and(|it| it.iter().all(|key| keys.contains(key)))
        };
        if settings.get("batch_keys").is_some_and(|given| !given.is_null() && !alike(given)) {
            let message = "a batch always shares its URL, method and headers, and nothing else";
            self.find("settings.batch_keys", Kind::LeftOut, message);
        }
        for name in settings.keys().filter(|name| !KNOWN.contains(&name.as_str())) {
            let message = "there is no such setting here";
            self.find(&format!("settings.{name}"), Kind::LeftOut, message);
        }
    }
}

fn is_whole_event(data: &Value) -> bool {
    let path = data.as_object().filter(|it| it.len() == 1).and_then(|it| it.get("@path"));
    data.is_null() || path.is_some_and(|path| path == "$." || path == "$" || path == "")
}

/// Headers that belong to the connection or to the signature.
fn is_ours(lower: &str) -> bool {
    is_connection_header(lower) || lower.starts_with("webhook-")
}

/// Whether the value comes from the event alone.
fn is_from_event(value: &Value) -> bool {
    let only = |name| value.as_object().filter(|it| it.len() == 1).and_then(|it| it.get(name));
    let template = only("@template").and_then(Value::as_str);
    only("@path").is_some() || template.is_some_and(|template| template.contains("{{"))
}

/// Whether a header's value is masked in records.
fn is_credential(lower: &str) -> bool {
    const VALUE: &str = "shown";
    let Ok(name) = HeaderName::from_bytes(lower.as_bytes()) else { return false };
    let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(VALUE))]);
    !masked_headers(&headers, &[]).contains(VALUE)
}
