//! Parses responses of Segment's Public API in any wrapping: lists, single objects, concatenated pages,
//! several responses in one object.

use serde_json::{Map, Value};

/// The objects found, in order.
#[derive(Debug, Default)]
pub(super) struct Export {
    pub(super) sources: Vec<Map<String, Value>>,
    pub(super) destinations: Vec<Map<String, Value>>,
    pub(super) subscriptions: Vec<Map<String, Value>>,
}

/// Reads one JSON text after the other.
pub(super) fn read(text: &str) -> Result<Export, serde_json::Error> {
    let mut export = Export::default();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        export.take(value?);
    }
    Ok(export)
}

impl Export {
    fn take(&mut self, value: Value) {
        match value {
            Value::Array(items) => items.into_iter().for_each(|item| self.take(item)),
            Value::Object(object) if object.contains_key("destinationId") => {
                self.subscriptions.push(object);
            }
            Value::Object(object) if object.contains_key("sourceId") => {
                self.destinations.push(object);
            }
            Value::Object(object) if object.contains_key("workspaceId") => {
                self.sources.push(object);
            }
            Value::Object(object) => {
                const HOLDERS: [&str; 7] = [
                    "data",
                    "source",
                    "sources",
                    "destination",
                    "destinations",
                    "subscription",
                    "subscriptions",
                ];
                for (name, below) in object {
                    if HOLDERS.contains(&name.as_str()) {
                        self.take(below);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

/// The field's text; none when it is missing, empty or not text.
pub(super) fn text<'a>(object: &'a Map<String, Value>, field: &str) -> Option<&'a str> {
    object.get(field).and_then(Value::as_str).filter(|text| !text.trim().is_empty())
}

/// The field's object; empty when it has none. Some tools write it as a JSON text.
pub(super) fn object(object: &Map<String, Value>, field: &str) -> Map<String, Value> {
    match object.get(field) {
        Some(Value::Object(found)) => found.clone(),
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_)) | None => {
            Map::new()
        }
    }
}

/// Whether the field is false; anything else, or a missing field, is true.
pub(super) fn is_enabled(object: &Map<String, Value>) -> bool {
    object.get("enabled") != Some(&Value::Bool(false))
}
