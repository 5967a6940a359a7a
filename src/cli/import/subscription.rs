//! One subscription, or one hook of a classic webhook, as a mapping.

use serde_json::{Map, Value, json};

use super::credentials::{Credential, Credentials, take_from_url};
use super::draft::Draft;
use super::report::{Findings, Kind};
use crate::domain::connection_headers::is_connection_header;
use crate::domain::mapping::MappingDefinition;
use crate::domain::profile::{HeaderValueRule, Profile};
use crate::mapping::CompiledMapping;
use crate::sender::is_credential;

/// Maximum events of a request.
const MAX_BATCH: u64 = 4_000;
/// Segment's default batch size.
const DEFAULT_BATCH: u64 = 1_000;

/// A mapping to be.
#[derive(Debug)]
pub(super) struct Subscription<'s> {
    pub(super) name: String,
    pub(super) enabled: bool,
    pub(super) trigger: String,
    pub(super) settings: &'s Map<String, Value>,
}

/// Converts one subscription.
pub(super) struct Taking<'a> {
    at: &'a str,
    profile: Profile,
    findings: &'a mut Findings,
}

impl<'a> Taking<'a> {
    /// For the mapping `at` this path, of a definition with this profile.
    pub(super) fn new(at: &'a str, profile: Profile, findings: &'a mut Findings) -> Self {
        Self { at, profile, findings }
    }

    fn find(&mut self, field: &str, kind: Kind, message: impl Into<String>) {
        self.findings.add(self.at, field, kind, message);
    }

    /// The mapping; none when it would be refused.
    pub(super) fn draft(&mut self, subscription: Subscription<'_>) -> Option<Draft> {
        let Subscription { name, enabled, trigger, settings } = subscription;
        let mut mapping = Map::new();
        if !trigger.is_empty() {
            mapping.insert("trigger".to_owned(), Value::from(trigger));
        }
        let mut credentials = Credentials::new();
        let mut url = settings.get("url").cloned().unwrap_or_default();
        take_from_url(&mut url, &mut credentials);
        if !url.is_string() {
            // Segment inserts values of the event as they are.
            mapping.insert("url_values".to_owned(), Value::from("raw"));
        }
        mapping.insert("url".to_owned(), url);
        mapping.insert("profile".to_owned(), Value::from(self.profile.as_str()));
        if let Some(method) = self.method(settings) {
            mapping.insert("method".to_owned(), method);
        }
        let headers = self.headers(settings, &mut credentials);
        if !headers.is_empty() {
            mapping.insert("headers".to_owned(), Value::Object(headers));
        }
        if let Some(data) = data(settings) {
            mapping.insert("data".to_owned(), data);
        }
        if !self.is_usable(&mapping) {
            return None;
        }
        if let Some(batching) = self.batching(settings) {
            mapping.insert("batching".to_owned(), batching);
        }
        self.other_settings(settings);
        if settings.get("data").is_none() && self.profile != Profile::SegmentClassic {
            let message =
                "is not there: the whole event is sent, as the definition has it by default";
            self.find("settings.data", Kind::Changed, message);
        }
        let mut named = Map::new();
        named.insert("name".to_owned(), Value::from(name.as_str()));
        named.insert("enabled".to_owned(), Value::from(enabled));
        named.append(&mut mapping);
        Some(Draft { name, mapping: named, credentials })
    }

    /// A trigger as it is written here.
    pub(super) fn trigger(&mut self, given: &str) -> String {
        let trigger = indexed_trigger(given);
        if trigger != given {
            self.find("trigger", Kind::Changed, "an index is written as a step here: items.0.name");
        }
        trigger
    }

    fn method(&mut self, settings: &Map<String, Value>) -> Option<Value> {
        match settings.get("method") {
            Some(Value::String(method)) if ["POST", "PUT", "PATCH"].contains(&method.as_str()) => {
                Some(Value::from(method.as_str()))
            }
            Some(directive @ Value::Object(_)) => Some(directive.clone()),
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
        credentials: &mut Credentials,
    ) -> Map<String, Value> {
        let mut headers = Map::new();
        let given = match settings.get("headers") {
            None | Some(Value::Null) => return headers,
            Some(Value::Object(given)) => given,
            Some(_) => {
                let message = "is not an object: Segment sends no such request";
                self.find("settings.headers", Kind::LeftOut, message);
                return headers;
            }
        };
        if given.keys().any(|name| name.starts_with('@')) {
            return given.clone();
        }
        let is_text = self.profile.rules().header_values == HeaderValueRule::JavaScript;
        for (name, value) in given {
            let name = name.trim();
            if name.is_empty() || !is_text && (value.is_null() || value == "") {
                continue;
            }
            if is_ours(&name.to_ascii_lowercase()) {
                let field = format!("settings.headers.{name}");
                self.find(&field, Kind::LeftOut, "is set by Postrider and cannot be overridden");
            } else if is_credential(name) && !is_from_event(value) {
                let value = value.as_str().map(str::to_owned);
                credentials.insert(Credential::Header(name.to_owned()), value);
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

/// The data; none: the whole event.
fn data(settings: &Map<String, Value>) -> Option<Value> {
    let data = settings.get("data")?;
    if data.is_null() {
        // Without data Segment sends an empty body.
        return Some(json!({"@literal": null}));
    }
    (!is_whole_event(data)).then(|| data.clone())
}

fn is_whole_event(data: &Value) -> bool {
    let path = data.as_object().filter(|it| it.len() == 1).and_then(|it| it.get("@path"));
    path.is_some_and(|path| path == "$." || path == "$" || path == "")
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

/// A trigger with indices as steps. Segment's UI escapes the brackets of an index; its evaluation reads them as one.
pub(super) fn indexed_trigger(given: &str) -> String {
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
    trigger
}
