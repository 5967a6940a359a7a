//! A mapping as a form: filled from what is set up, and read back as the document that is saved. What
//! is no plain text stands there as JSON, so that a form which is sent as it was filled changes nothing.

use serde_json::{Map, Value};

use super::super::form::{Field, Form};
use super::super::setup::{STALE, TAG};
use super::super::text::Outside;
use crate::pipeline::{FieldError, MappingDocument};
use crate::service::preview::trigger_breaks_at;

/// The type of the sample that a mapping is tried on where its source has no event yet.
const SAMPLE: &str = "track";
/// The content type under which a body is a form.
const FORM_TYPE: &str = "application/x-www-form-urlencoded";

/// Every field that shows what is wrong with it.
pub(super) const FIELDS: [&str; 17] = [
    "name",
    "trigger",
    "method",
    "url",
    "format",
    "headers",
    "data",
    "batching",
    "batching.size",
    "batching.linger_ms",
    "function.source",
    "function.settings",
    "on",
    "event",
    "document",
    TAG,
    STALE,
];

/// A trigger with the place in it at which it cannot be read on.
pub(in super::super) struct Marked {
    pub(in super::super) before: Outside,
    pub(in super::super) at: Outside,
    pub(in super::super) after: Outside,
}

/// The form of a mapping, new or as it is.
pub(in super::super) struct Edit {
    pub(super) form: Form,
    is_new: bool,
}

impl Edit {
    /// Of one that is to be made.
    pub(super) fn blank() -> Self {
        let fields = [("method", "POST"), ("format", "json"), ("batching", "one"), ("on", "last")];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { form: Form::of(fields.into()), is_new: true }
    }

    /// Of one as it is.
    pub(super) fn of(document: &MappingDocument, tag: &str) -> Self {
        Self { form: filled(document, tag), is_new: false }
    }

    /// What was typed.
    pub(super) fn typed(form: Form, is_new: bool) -> Self {
        Self { form, is_new }
    }

    /// Chooses a sample to be tried on.
    pub(super) fn choose_sample(&mut self) {
        self.form.put("on", SAMPLE);
    }

    pub(in super::super) fn field(&self, name: &'static str) -> Field {
        self.form.field(name)
    }

    pub(in super::super) fn faults(&self) -> Vec<FieldError> {
        self.form.other_faults(&FIELDS)
    }

    pub(in super::super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Where the trigger cannot be read on.
    pub(in super::super) fn marked(&self) -> Option<Marked> {
        let trigger = self.form.text("trigger");
        let at = trigger_breaks_at(trigger)?;
        let from = trigger.char_indices().nth(at).map_or(trigger.len(), |(from, _)| from);
        let (before, rest) = trigger.split_at(from);
        let length = rest.chars().next().map_or(0, char::len_utf8);
        let (at, after) = rest.split_at(length);
        let at = if at.trim().is_empty() { " " } else { at };
        Some(Marked { before: before.into(), at: at.into(), after: after.into() })
    }

    /// Whether any of these was filled in or is at fault: then they are shown from the start.
    pub(in super::super) fn uses(&self, names: &[&'static str]) -> bool {
        let used = |name: &&'static str| {
            self.form.filled(name).is_some() || self.form.field(name).fault.is_some()
        };
        names.iter().any(used)
    }

    /// What the form says, as a document without its name; what cannot be read is noted in the form.
    pub(super) fn document(&mut self, enabled: bool) -> Value {
        let form = &mut self.form;
        let mut document = Map::new();
        document.insert("enabled".to_owned(), enabled.into());
        let trigger = form.text("trigger").to_owned();
        let trigger = if trigger.trim().is_empty() { String::new() } else { trigger };
        document.insert("trigger".to_owned(), trigger.into());
        document.insert("method".to_owned(), form.text("method").into());
        document.insert("url".to_owned(), url(form));
        document.insert("headers".to_owned(), headers(form).into());
        if let Some(data) = json(form, "data") {
            document.insert("data".to_owned(), data);
        }
        if let Some(batching) = batching(form) {
            document.insert("batching".to_owned(), batching);
        }
        if let Some(function) = function(form) {
            document.insert("function".to_owned(), function);
        }
        Value::Object(document)
    }
}

/// A field's JSON; none when it is empty or cannot be read.
fn json(form: &mut Form, name: &'static str) -> Option<Value> {
    match serde_json::from_str(form.filled(name)?) {
        Ok(value) => Some(value),
        Err(error) => {
            form.fault(name, format!("is not JSON: {error}"));
            None
        }
    }
}

/// A plain text, or a directive as JSON.
fn url(form: &mut Form) -> Value {
    match form.filled("url") {
        Some(text) if text.starts_with('{') => json(form, "url").unwrap_or_default(),
        text => text.unwrap_or_default().into(),
    }
}

/// A header a line: its value is plain text, or JSON where it begins like that.
fn headers(form: &mut Form) -> Map<String, Value> {
    let text = form.text("headers").to_owned();
    let mut headers = Map::new();
    if form.text("format") == "form" {
        headers.insert("Content-Type".to_owned(), FORM_TYPE.into());
    }
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let read = line.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
        let Some((name, value)) = read else {
            form.fault("headers", format!("{line}: should be name: value, a line each"));
            continue;
        };
        let value = if value.starts_with(['{', '[', '"']) {
            match serde_json::from_str(value) {
                Ok(value) => value,
                Err(error) => {
                    form.fault("headers", format!("{name}: is not JSON: {error}"));
                    continue;
                }
            }
        } else {
            value.into()
        };
        if headers.keys().any(|known| known.eq_ignore_ascii_case(name)) {
            form.fault(
                "headers",
                format!("{name}: is there already; the body’s format is one too"),
            );
        }
        headers.insert(name.to_owned(), value);
    }
    headers
}

fn batching(form: &mut Form) -> Option<Value> {
    if form.text("batching") != "many" {
        return None;
    }
    let mut batching = Map::new();
    for (field, name) in [("batching.size", "size"), ("batching.linger_ms", "linger_ms")] {
        match form.filled(field).map(str::parse::<u64>) {
            None => {}
            Some(Ok(number)) => {
                batching.insert(name.to_owned(), number.into());
            }
            Some(Err(_)) => form.fault(field, "should be a whole number"),
        }
    }
    Some(Value::Object(batching))
}

fn function(form: &mut Form) -> Option<Value> {
    let settings = json(form, "function.settings");
    let source = form.text("function.source");
    if source.trim().is_empty() && settings.is_none() {
        return None;
    }
    let mut function = Map::new();
    function.insert("source".to_owned(), source.into());
    if let Some(settings) = settings {
        function.insert("settings".to_owned(), settings);
    }
    Some(Value::Object(function))
}

fn filled(document: &MappingDocument, tag: &str) -> Form {
    let mut fields = vec![(TAG.to_owned(), tag.to_owned())];
    let mut fill = |name: &str, text: String| fields.push((name.to_owned(), text));
    fill("on", "last".to_owned());
    fill("trigger", document.trigger.clone());
    fill("method", document.method.as_str().to_owned());
    fill(
        "url",
        match document.url.as_str() {
            Some(text) => text.to_owned(),
            None => pretty(&document.url),
        },
    );
    let is_form = |(name, value): (&String, &Value)| name == "Content-Type" && value == FORM_TYPE;
    let says = |(name, _): (&String, &Value)| name.eq_ignore_ascii_case("content-type");
    let first = document.headers.iter().next().is_some_and(is_form);
    let format = match (first, document.headers.iter().any(says)) {
        (true, _) => "form",
        (false, true) => "header",
        (false, false) => "json",
    };
    fill("format", format.to_owned());
    let headers = document.headers.iter().skip(usize::from(first));
    let lines = headers.map(|(name, value)| format!("{name}: {}", in_line(value)));
    fill("headers", lines.collect::<Vec<_>>().join("\n"));
    fill("data", document.data.as_ref().map(pretty).unwrap_or_default());
    fill("batching", if document.batching.is_some() { "many" } else { "one" }.to_owned());
    if let Some(batching) = document.batching {
        fill("batching.size", batching.size.to_string());
        fill("batching.linger_ms", batching.linger_ms.to_string());
    }
    if let Some(function) = &document.function {
        fill("function.source", function.source.clone().unwrap_or_default());
        if !function.settings.is_empty() {
            fill("function.settings", pretty(&function.settings.clone().into()));
        }
    }
    Form::of(fields)
}

/// A header's value in a line: as it is where it is read back as that, else as JSON.
fn in_line(value: &Value) -> String {
    match value.as_str() {
        Some(text) if text.trim() == text && !text.starts_with(['{', '[', '"']) => text.to_owned(),
        Some(_) | None => value.to_string(),
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_form_that_is_sent_as_it_was_filled_changes_nothing() {
        for more in [
            json!({}),
            json!({"trigger": "type = \"track\" and\nevent != \"x\"", "method": "PUT"}),
            json!({"url": {"@template": "https://a.test/{{userId}}"}, "data": {"b": 1, "a": [{"@path": "$.x"}]}}),
            json!({"headers": {"X-A": "{not json", "X-B": {"@path": "$.b"}, "X-C": "a: b", "X-D": ""}}),
            json!({"headers": {"Content-Type": FORM_TYPE, "X": "1"}}),
            json!({"headers": {"X": "1", "content-type": FORM_TYPE}}),
            json!({"batching": {"size": 5, "linger_ms": 0}}),
            json!({"function": {"source": "function onTrack(e) {\n  return e\n}\n", "settings": {"a": {"b": 1}}}}),
        ] {
            let mut value = json!({"name": "m", "url": "https://a.test/"});
            for (name, field) in more.as_object().unwrap() {
                value[name] = field.clone();
            }
            let document: MappingDocument = serde_json::from_value(value).unwrap();
            let mut edit = Edit::of(&document, "tag");
            let mut read = edit.document(true);
            assert!(edit.form.is_right(), "{more}");
            read["name"] = "m".into();
            let read: MappingDocument = serde_json::from_value(read).unwrap();
            let text = |it: &MappingDocument| serde_json::to_string(it).unwrap();
            assert_eq!(text(&read), text(&document));
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_at_its_field() {
        let text = "url=%7B%22&headers=no+colon&data=%7B&batching=many&batching.size=x&function.settings=1x";
        let mut edit = Edit::typed(Form::parse(text.as_bytes()), true);
        edit.document(true);
        for field in ["url", "headers", "data", "batching.size", "function.settings"] {
            assert!(edit.field(field).fault.is_some(), "{field}");
        }
        assert!(edit.is_new() && edit.uses(&["data"]) && !edit.uses(&["function.source"]));
    }

    #[test]
    fn the_place_of_a_triggers_fault_is_marked() {
        let marked = |trigger: &str| {
            let form = Form::of(vec![("trigger".to_owned(), trigger.to_owned())]);
            let marked = Edit::typed(form, true).marked();
            marked.map(|it| [it.before, it.at, it.after].map(|part| part.0))
        };
        assert_eq!(marked("type = \"track\""), None);
        let parts = ["type = \"ü\" ", "?", " x"].map(ToOwned::to_owned);
        assert_eq!(marked("type = \"ü\" ? x"), Some(parts));
        let parts = ["type = ", " ", ""].map(ToOwned::to_owned);
        assert_eq!(marked("type = "), Some(parts));
    }
}
