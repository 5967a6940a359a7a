//! The form of a mapping: filled from its document, and parsed back into one. Values that are not plain
//! text are edited as JSON, so that submitting an unedited form changes nothing.

use serde_json::{Map, Value};

use super::super::form::{Field, Form};
use super::super::untrusted::Untrusted;
use super::editor::{CONFLICT, TAG};
use crate::domain::mapping::{RequestMethod, UrlValues};
use crate::pipeline::{FieldError, MappingDocument};
use crate::service::preview::trigger_breaks_at;

/// The sample event of a preview when the source has no events yet.
const DEFAULT_SAMPLE: &str = "track";
/// The content type of form bodies.
const FORM_TYPE: &str = "application/x-www-form-urlencoded";

/// The fields that show their own faults.
pub(super) const FIELDS: [&str; 19] = [
    "name",
    "trigger",
    "profile",
    "method",
    "url",
    "url_values",
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
    CONFLICT,
];

/// A trigger, split at its syntax error.
pub(super) struct SyntaxError {
    pub(super) before: Untrusted,
    pub(super) at: Untrusted,
    pub(super) after: Untrusted,
}

/// The form of a mapping.
pub(super) struct MappingForm {
    pub(super) form: Form,
    is_new: bool,
    /// The stored document that is edited.
    stored: Option<Box<MappingDocument>>,
    /// Whether the stored mapping is enabled, or the new one is to be.
    pub(super) enabled: bool,
}

impl MappingForm {
    /// The form of a new mapping.
    pub(super) fn blank() -> Self {
        let fields = [("method", "POST"), ("format", "json"), ("batching", "one"), ("on", "last")];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { form: Form::of(fields.into()), is_new: true, stored: None, enabled: true }
    }

    /// The form of a stored mapping.
    pub(super) fn stored(document: MappingDocument, tag: &str) -> Self {
        let (form, enabled) = (filled(&document, tag), document.enabled);
        Self { form, is_new: false, stored: Some(Box::new(document)), enabled }
    }

    /// A submitted form of a new mapping.
    pub(super) fn submitted_new(form: Form) -> Self {
        let enabled = form.text("disabled") != "true";
        Self { form, is_new: true, stored: None, enabled }
    }

    /// A submitted form of a stored mapping.
    pub(super) fn submitted(form: Form, document: MappingDocument) -> Self {
        let enabled = document.enabled;
        Self { form, is_new: false, stored: Some(Box::new(document)), enabled }
    }

    /// A submitted form of a stored mapping that is not saved.
    pub(super) fn tried(form: Form) -> Self {
        Self { form, is_new: false, stored: None, enabled: true }
    }

    /// Selects a sample event for the preview.
    pub(super) fn select_sample(&mut self) {
        self.form.set("on", DEFAULT_SAMPLE);
    }

    pub(super) fn field(&self, name: &'static str) -> Field {
        self.form.field(name)
    }

    pub(super) fn faults(&self) -> Vec<FieldError> {
        self.form.other_faults(&FIELDS)
    }

    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// The syntax error of the trigger.
    pub(super) fn syntax_error(&self) -> Option<SyntaxError> {
        let trigger = self.form.text("trigger");
        let at = trigger_breaks_at(trigger)?;
        let from = trigger.char_indices().nth(at).map_or(trigger.len(), |(from, _)| from);
        let (before, rest) = trigger.split_at(from);
        let length = rest.chars().next().map_or(0, char::len_utf8);
        let (at, after) = rest.split_at(length);
        let at = if at.trim().is_empty() { " " } else { at };
        Some(SyntaxError { before: before.into(), at: at.into(), after: after.into() })
    }

    /// Whether any of these fields has a value or a fault.
    pub(super) fn uses(&self, names: &[&'static str]) -> bool {
        let used = |name: &&'static str| {
            self.form.non_empty(name).is_some() || self.form.field(name).fault.is_some()
        };
        names.iter().any(used)
    }

    /// The document that the form describes, without its name; parse errors become faults. A field that
    /// was not touched stays as it is stored, whatever the form can show of it.
    pub(super) fn document(&mut self) -> Value {
        let shown = self.stored.as_deref().map(|stored| filled(stored, ""));
        let stored = serde_json::to_value(self.stored.as_deref()).unwrap_or_default();
        let untouched = |form: &Form, inputs: &[&str]| {
            shown.as_ref().is_some_and(|shown| form.is_untouched(shown, inputs))
        };
        let mut document = Map::new();
        document.insert("enabled".to_owned(), self.enabled.into());
        for (field, inputs, read) in DOCUMENT {
            let value = if untouched(&self.form, inputs) {
                stored.get(field).cloned()
            } else {
                read(&mut self.form)
            };
            document.extend(value.map(|value| (field.to_owned(), value)));
        }
        let source = stored.pointer("/function/source");
        if let (Some(source), Some(function)) = (source, document.get_mut("function"))
            && untouched(&self.form, &["function.source"])
        {
            function["source"] = source.clone();
        }
        Value::Object(document)
    }
}

/// Reads a field of the document; none: it is left out.
type Read = fn(&mut Form) -> Option<Value>;

/// The fields of the document, each with the inputs that it is read from.
const DOCUMENT: [(&str, &[&str], Read); 9] = [
    ("trigger", &["trigger"], |form| {
        let trigger = form.text("trigger");
        Some(if trigger.trim().is_empty() { "" } else { trigger }.into())
    }),
    ("profile", &["profile"], |form| form.non_empty("profile").map(Into::into)),
    ("method", &["method"], |form| Some(text_or_directive(form, "method"))),
    ("url", &["url"], |form| Some(text_or_directive(form, "url"))),
    ("url_values", &["url_values"], |form| form.non_empty("url_values").map(Into::into)),
    ("headers", &["format", "headers"], |form| Some(headers(form).into())),
    ("data", &["data"], |form| json(form, "data")),
    ("batching", &["batching", "batching.size", "batching.linger_ms"], batching),
    ("function", &["function.source", "function.settings"], function),
];

/// A field parsed as JSON; none when it is empty or invalid.
fn json(form: &mut Form, name: &'static str) -> Option<Value> {
    match serde_json::from_str(form.non_empty(name)?) {
        Ok(value) => Some(value),
        Err(error) => {
            form.fault(name, format!("is not JSON: {error}"));
            None
        }
    }
}

/// Text, or a directive as JSON.
fn text_or_directive(form: &mut Form, name: &'static str) -> Value {
    match form.non_empty(name) {
        Some(text) if text.starts_with('{') => json(form, name).unwrap_or_default(),
        text => text.unwrap_or_default().into(),
    }
}

/// One `name: value` per line; a value that begins as JSON is a directive.
fn headers(form: &mut Form) -> Map<String, Value> {
    let text = form.text("headers").to_owned();
    let mut headers = Map::new();
    if form.text("format") == "form" {
        headers.insert("Content-Type".to_owned(), FORM_TYPE.into());
    }
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let read = line.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
        let Some((name, value)) = read else {
            form.fault("headers", format!("{line}: should be name: value"));
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
                format!("{name}: is set twice; the content type above sets it too"),
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
        match form.non_empty(field).map(str::parse::<u64>) {
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
    fill("name", document.name.clone());
    fill("on", "last".to_owned());
    fill("trigger", document.trigger.clone());
    fill("profile", document.profile.as_str().to_owned());
    fill(
        "method",
        match &document.method {
            RequestMethod::Fixed(method) => method.as_str().to_owned(),
            RequestMethod::FromEvent(directive) => Value::from(directive.clone()).to_string(),
        },
    );
    fill(
        "url",
        match document.url.as_str() {
            Some(text) => text.to_owned(),
            None => pretty(&document.url),
        },
    );
    fill(
        "url_values",
        if document.url_values == UrlValues::Raw { "raw" } else { "encoded" }.into(),
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
    let lines = headers.map(|(name, value)| format!("{name}: {}", header_value(value)));
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

/// A header value for one line: plain text if it parses back to itself, otherwise JSON.
fn header_value(value: &Value) -> String {
    match value.as_str() {
        Some(text)
            if text.trim() == text
                && !text.starts_with(['{', '[', '"'])
                && !text.contains(char::is_control) =>
        {
            text.to_owned()
        }
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
    fn what_is_edited_is_saved_and_the_rest_stays() {
        let stored = json!({"name": "m", "url": "https://a.test/", "data": {"b": 1, "a": 2},
            "function": {"source": "function onTrack(e) {\r\n  return e\r\n}", "settings": {"k": 1}}});
        let stored: MappingDocument = serde_json::from_value(stored).unwrap();
        let mut form = MappingForm::stored(stored.clone(), "tag").form.as_sent();
        form.set("function.settings", r#"{"k": 2}"#);
        form.set("headers", "X-A: 1");
        let document = MappingForm::submitted(form, stored).document();
        let source = "function onTrack(e) {\r\n  return e\r\n}";
        assert_eq!(document["function"], json!({"source": source, "settings": {"k": 2}}));
        assert_eq!(document["headers"], json!({"X-A": "1"}));
        assert_eq!(document["data"].to_string(), r#"{"b":1,"a":2}"#);
    }

    #[test]
    fn submitting_an_unedited_form_changes_nothing() {
        for more in [
            json!({}),
            json!({"trigger": "type = \"track\" and\nevent != \"x\"", "method": "PUT"}),
            json!({"url": {"@template": "https://a.test/{{userId}}"}, "data": {"b": 1, "a": [{"@path": "$.x"}]}}),
            json!({"url": {"@template": "https://a.test/{{userId}}"}, "url_values": "raw"}),
            json!({"headers": {"X-A": "{not json", "X-B": {"@path": "$.b"}, "X-C": "a: b", "X-D": ""}}),
            json!({"headers": {"Content-Type": FORM_TYPE, "X": "1"}, "profile": "segment_extensible"}),
            json!({"headers": {"@path": "$.properties.headers"}, "method": {"@path": "$.properties.method"}}),
            json!({"headers": {"X": "1", "content-type": FORM_TYPE}}),
            json!({"batching": {"size": 5, "linger_ms": 0}}),
            json!({"trigger": " type = \"track\"\r\nor\r\n type = \"page\" ", "url": "https://a.test/x "}),
            json!({"headers": {"X-A": " edges ", "X-B": "", "content-type": FORM_TYPE, "X-C": "a\tb"}}),
            json!({"function": {"source": "\r\nfunction onTrack(e) {\r\n\treturn e\r\n}\r\n"}}),
            json!({"function": {"source": "", "settings": {"b": 1, "a": " x "}}}),
            json!({"data": {"b": "a\r\nb ", "a": 1.0}, "trigger": "  "}),
            json!({"function": {"source": "function onTrack(e) {\n  return e\n}\n", "settings": {"a": {"b": 1}}}}),
        ] {
            let mut value = json!({"name": "m", "url": "https://a.test/"});
            for (name, field) in more.as_object().unwrap() {
                value[name] = field.clone();
            }
            let document: MappingDocument = serde_json::from_value(value).unwrap();
            let shown = MappingForm::stored(document.clone(), "tag").form;
            let saved = MappingForm::submitted(shown.as_sent(), document.clone());
            for mut edit in [MappingForm::stored(document.clone(), "tag"), saved] {
                let mut read = edit.document();
                assert!(edit.form.is_valid(), "{more}");
                read["name"] = "m".into();
                let read: MappingDocument = serde_json::from_value(read).unwrap();
                let text = |it: &MappingDocument| serde_json::to_string(it).unwrap();
                assert_eq!(text(&read), text(&document));
            }
        }
    }

    #[test]
    fn parse_errors_are_shown_at_their_field() {
        let text = "url=%7B%22&headers=no+colon&data=%7B&batching=many&batching.size=x&function.settings=1x";
        let mut edit = MappingForm::submitted_new(Form::parse(text.as_bytes()));
        edit.document();
        for field in ["url", "headers", "data", "batching.size", "function.settings"] {
            assert!(edit.field(field).fault.is_some(), "{field}");
        }
        assert!(edit.is_new() && edit.uses(&["data"]) && !edit.uses(&["function.source"]));
    }

    #[test]
    fn the_syntax_error_of_a_trigger_is_marked() {
        let split = |trigger: &str| {
            let form = Form::of(vec![("trigger".to_owned(), trigger.to_owned())]);
            let error = MappingForm::submitted_new(form).syntax_error();
            error.map(|it| [it.before, it.at, it.after].map(|part| part.0))
        };
        assert_eq!(split("type = \"track\""), None);
        let parts = ["type = \"ü\" ", "?", " x"].map(ToOwned::to_owned);
        assert_eq!(split("type = \"ü\" ? x"), Some(parts));
        let parts = ["type = ", " ", ""].map(ToOwned::to_owned);
        assert_eq!(split("type = "), Some(parts));
    }
}
