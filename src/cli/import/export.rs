//! Parses answers of Segment's Public API in any wrapping: lists, single objects, concatenated pages,
//! several answers in one object. A list whose next page is missing is refused.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::super::failure::Failure;

/// The objects found, in order.
#[derive(Debug, Default)]
pub(super) struct Export {
    pub(super) sources: Vec<Map<String, Value>>,
    pub(super) destinations: Vec<Map<String, Value>>,
    pub(super) subscriptions: Vec<Map<String, Value>>,
    pub(super) filters: Vec<Map<String, Value>>,
    /// Fields of answers that hold something else.
    pub(super) unread: BTreeSet<String>,
    pages: Vec<Page>,
}

/// A page of a list.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    list: String,
    /// The destination whose list it is, where the list is one of a destination's.
    destination: Option<String>,
    current: Option<String>,
    next: Option<String>,
}

/// Fields of an answer that hold objects.
const HOLDERS: [&str; 9] = [
    "data",
    "source",
    "sources",
    "destination",
    "destinations",
    "subscription",
    "subscriptions",
    "filter",
    "filters",
];
/// Fields of an answer that are about it.
const ABOUT: [&str; 3] = ["pagination", "request", "status"];

/// Reads answers.
///
/// # Errors
/// When a page is missing.
pub(super) fn read(answers: &[Value]) -> Result<Export, Failure> {
    let mut export = Export::default();
    for answer in answers {
        export.take(answer, None);
    }
    match export.missing_page() {
        Some(page) => {
            let (list, next) = (&page.list, page.next.as_deref().unwrap_or_default());
            let of = page.destination.iter().map(|it| format!(" of destination {it}"));
            let of: String = of.collect();
            let message =
                format!("the page of {list}{of} that follows is missing: its cursor is {next}");
            let hint = format!(
                "ask for it with ?pagination.cursor={next}, and give all pages: \
                 postrider import segment PAGE1 PAGE2"
            );
            Err(Failure::usage(message).hint(hint))
        }
        None => Ok(export),
    }
}

impl Export {
    /// Takes what a value holds; `destination` is the one that it belongs to, where that is known.
    fn take(&mut self, value: &Value, destination: Option<&str>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.take(item, destination)),
            Value::Object(object) => self.take_object(object, destination),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn take_object(&mut self, object: &Map<String, Value>, destination: Option<&str>) {
        let owned = || {
            let mut object = object.clone();
            if let Some(id) = destination {
                object.entry("destinationId").or_insert_with(|| id.into());
            }
            object
        };
        if object.contains_key("if") && object.contains_key("actions") {
            self.filters.push(owned());
        } else if object.contains_key("destinationId") || destination.is_some() {
            self.subscriptions.push(owned());
        } else if object.contains_key("sourceId") {
            // Some tools keep a destination's lists inside it.
            for list in ["subscriptions", "filters"] {
                if let Some(below) = object.get(list).filter(|below| below.is_array()) {
                    self.take(below, text(object, "id"));
                }
            }
            self.destinations.push(object.clone());
        } else if object.contains_key("workspaceId") {
            self.sources.push(object.clone());
        } else {
            self.pages.extend(page(object));
            for (name, below) in object {
                if HOLDERS.contains(&name.as_str()) {
                    self.take(below, None);
                } else if !ABOUT.contains(&name.as_str()) {
                    self.unread.insert(name.clone());
                }
            }
        }
    }

    /// A page that names a next one which is not there.
    fn missing_page(&self) -> Option<&Page> {
        self.pages.iter().find(|page| {
            page.next.is_some()
                && !self.pages.iter().any(|other| {
                    other.list == page.list
                        && other.destination == page.destination
                        && other.current == page.next
                })
        })
    }
}

/// The page that an answer is, where it has a list.
fn page(answer: &Map<String, Value>) -> Option<Page> {
    let pagination = object(answer, "pagination");
    let (list, items) =
        answer.iter().find(|(name, below)| HOLDERS.contains(&name.as_str()) && below.is_array())?;
    let first = items.get(0).and_then(Value::as_object);
    let cursor = |name| text(&pagination, name).map(ToOwned::to_owned);
    (!pagination.is_empty()).then(|| Page {
        list: list.clone(),
        destination: first.and_then(|it| text(it, "destinationId")).map(ToOwned::to_owned),
        current: cursor("current"),
        next: cursor("next"),
    })
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
