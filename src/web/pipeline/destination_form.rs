//! The form of a destination: filled from its document, and parsed back into one. Secrets are never
//! sent to the browser; an empty secret field keeps the stored one.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};

use super::super::form::{Field, Form};
use super::super::format::duration;
use super::editor::{CONFLICT, TAG};
use crate::domain::destination::{DestinationSettings, XSignatureKey};
use crate::pipeline::{AuthDocument, DestinationDocument, FieldError};
use crate::settings::secrets::{SecretError, generate_shared_secret};

/// Integer fields.
const NUMBERS: [&str; 4] = ["timeout_ms", "window_ms", "max_in_flight", "rate_per_second"];
/// Text fields of `auth`, with the kinds that have them.
const AUTH_TEXTS: [(&str, &str, &[&str]); 6] = [
    ("auth.token_url", "token_url", OAUTH),
    ("auth.client_id", "client_id", OAUTH),
    ("auth.client_auth", "client_auth", OAUTH),
    ("auth.token_prefix", "token_prefix", OAUTH),
    ("auth.authorize_url", "authorize_url", CODE),
    ("auth.refresh_url", "refresh_url", CODE),
];
/// Secret fields of `auth`, with the kinds that have them.
const AUTH_SECRETS: [(&str, &str, &[&str]); 2] =
    [("auth.token", "token", &["bearer"]), ("auth.client_secret", "client_secret", OAUTH)];
const OAUTH: &[&str] = &["client_credentials", "authorization_code"];
const CODE: &[&str] = &["authorization_code"];
/// Empty rows for new secret headers.
const EMPTY_ROWS: usize = 2;
/// The repeated fields of secret headers, one row each.
const HEADER_NAME: &str = "header_name";
const HEADER_VALUE: &str = "header_value";
/// The rows of secret headers and of secret query parameters.
const HEADERS: Rows = Rows {
    name: HEADER_NAME,
    value: HEADER_VALUE,
    field: "secret_headers",
    kept: |document, name| {
        let mut names = document.secret_headers.iter().flat_map(BTreeMap::keys);
        names.find(|kept| kept.eq_ignore_ascii_case(name))
    },
};
const PARAMETERS: Rows = Rows {
    name: "parameter_name",
    value: "parameter_value",
    field: "secret_parameters",
    kept: |document, name| {
        let mut names = document.secret_parameters.iter().flat_map(BTreeMap::keys);
        names.find(|kept| *kept == name)
    },
};

/// Secrets by name, as rows of a form.
struct Rows {
    name: &'static str,
    value: &'static str,
    field: &'static str,
    /// The stored name, in its spelling.
    kept: for<'d> fn(&'d DestinationDocument, &str) -> Option<&'d String>,
}

/// The fields that show their own faults.
pub(super) const FIELDS: [&str; 26] = [
    "name",
    "timeout_ms",
    "window_ms",
    "max_in_flight",
    "rate_per_second",
    "policy",
    "on_gone",
    "shared_secret",
    "secret_headers",
    "secret_parameters",
    "allowed_hosts",
    "allow_http",
    "allow_weak_secret",
    "x_signature",
    "auth.kind",
    "auth.token",
    "auth.token_url",
    "auth.client_id",
    "auth.client_secret",
    "auth.client_auth",
    "auth.token_prefix",
    "auth.authorize_url",
    "auth.refresh_url",
    "auth.scopes",
    "auth.parameters",
    CONFLICT,
];

/// A row for a secret header.
pub(super) struct HeaderRow {
    pub(super) name: String,
    pub(super) is_kept: bool,
}

/// The form of a destination.
pub(super) struct DestinationForm {
    pub(super) form: Form,
    /// The stored document; none for a new destination.
    current: Option<DestinationDocument>,
    /// The shared secret generated for a new destination.
    pub(super) generated: Option<SecretString>,
}

impl DestinationForm {
    /// The form of a new destination.
    pub(super) fn blank() -> Self {
        let fields =
            [("policy", "all"), ("on_gone", "dead"), ("signing", "made"), ("auth.kind", "none")];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { form: Form::of(fields.into()), current: None, generated: None }
    }

    /// The form of a stored destination.
    pub(super) fn stored(document: DestinationDocument, tag: &str) -> Self {
        Self { form: filled(&document, tag), current: Some(document), generated: None }
    }

    /// A submitted form, with the document that it edits.
    ///
    /// # Errors
    /// [`SecretError`] when no shared secret can be generated.
    pub(super) fn submitted(
        form: Form,
        current: Option<DestinationDocument>,
    ) -> Result<Self, SecretError> {
        let generates = current.is_none()
            && form.text("signing") == "made"
            && form.non_empty("shared_secret").is_none();
        let generated = generates.then(generate_shared_secret).transpose()?;
        Ok(Self { form, current, generated })
    }

    pub(super) fn field(&self, name: &'static str) -> Field {
        self.form.field(name)
    }

    pub(super) fn faults(&self) -> Vec<FieldError> {
        self.form.other_faults(&FIELDS)
    }

    pub(super) fn is_new(&self) -> bool {
        self.current.is_none()
    }

    pub(super) fn is_signed(&self) -> bool {
        self.current.as_ref().is_some_and(|it| it.shared_secret.is_some())
    }

    /// Whether a rejected form had secrets, which are not sent back.
    pub(super) fn lost_secrets(&self) -> bool {
        let typed = ["shared_secret", "auth.token", "auth.client_secret"];
        let any = typed.iter().any(|name| self.form.non_empty(name).is_some())
            || [HEADERS, PARAMETERS]
                .iter()
                .any(|rows| self.form.all(rows.value).any(|value| !value.trim().is_empty()));
        any && !self.form.is_valid()
    }

    /// The hint at a secret of `auth`.
    pub(super) fn kept(&self, name: &str) -> &'static str {
        if self.auth().is_some_and(|auth| holds(auth, name)) {
            "Leave empty to keep the current value."
        } else {
            ""
        }
    }

    /// The hint at a number: range and default, and the typed milliseconds as a duration.
    pub(super) fn hint(&self, name: &str, range: &str) -> String {
        let defaults = serde_json::to_value(DestinationSettings::default()).unwrap_or_default();
        let default = shown(&defaults[name]);
        let typed = self.form.non_empty(name).filter(|_| name.ends_with("_ms"));
        let millis = typed.and_then(|text| text.parse::<u64>().ok());
        let typed = millis.map(|millis| format!("= {}. ", duration(Duration::from_millis(millis))));
        format!("{}{range}, default {default}", typed.unwrap_or_default())
    }

    /// Rows for the stored or typed secret headers, and empty ones.
    pub(super) fn headers(&self) -> Vec<HeaderRow> {
        self.rows(&HEADERS)
    }

    /// Rows for the stored or typed secret query parameters, and empty ones.
    pub(super) fn query_parameters(&self) -> Vec<HeaderRow> {
        self.rows(&PARAMETERS)
    }

    fn rows(&self, of: &Rows) -> Vec<HeaderRow> {
        let names = self.form.all(of.name).map(str::trim).filter(|name| !name.is_empty());
        let row = |name: &str| HeaderRow {
            name: name.to_owned(),
            is_kept: self.current.as_ref().is_some_and(|it| (of.kept)(it, name).is_some()),
        };
        let empty = std::iter::repeat_n("", EMPTY_ROWS);
        names.chain(empty).map(row).collect()
    }

    /// Whether the previous shared secret signs `X-Signature` while it is active.
    pub(super) fn signs_with_previous(&self) -> bool {
        let key = self.current.as_ref().and_then(|it| it.x_signature);
        key.unwrap_or_default() == XSignatureKey::Previous
    }

    fn auth(&self) -> Option<&AuthDocument> {
        self.current.as_ref()?.auth.as_ref()
    }

    /// The document that the form describes, without its name; parse errors become faults.
    pub(super) fn document(&mut self) -> Value {
        let mut document = Map::new();
        for name in NUMBERS {
            match self.form.non_empty(name).map(str::parse::<u64>) {
                None => {}
                Some(Ok(number)) => {
                    document.insert(name.to_owned(), number.into());
                }
                Some(Err(_)) => self.form.fault(name, "should be a whole number"),
            }
        }
        document
            .insert("enabled".to_owned(), self.current.as_ref().is_none_or(|it| it.enabled).into());
        document.insert("policy".to_owned(), self.form.text("policy").into());
        if let Some(on_gone) = self.form.non_empty("on_gone") {
            document.insert("on_gone".to_owned(), on_gone.into());
        }
        if let Some(secret) = self.shared_secret() {
            document.insert("shared_secret".to_owned(), secret);
        }
        if let Some(auth) = self.auth_document() {
            document.insert("auth".to_owned(), auth);
        }
        for rows in [HEADERS, PARAMETERS] {
            let secrets = self.secrets(&rows);
            if !secrets.is_empty() {
                document.insert(rows.field.to_owned(), secrets.into());
            }
        }
        let hosts: Vec<_> = self.form.text("allowed_hosts").split_whitespace().collect();
        if !hosts.is_empty() {
            document.insert("allowed_hosts".to_owned(), hosts.into());
        }
        for name in ["allow_http", "allow_weak_secret"] {
            if self.form.text(name) == "true" {
                document.insert(name.to_owned(), true.into());
            }
        }
        if let Some(key) = self.form.non_empty("x_signature") {
            document.insert("x_signature".to_owned(), key.into());
        }
        Value::Object(document)
    }

    fn shared_secret(&mut self) -> Option<Value> {
        let typed = typed_secret(&self.form, "shared_secret").map(ToOwned::to_owned);
        let generated = self.generated.as_ref().map(|secret| secret.expose_secret());
        match (self.form.text("signing"), typed, generated) {
            // A typed secret is used whatever the choice beside it says.
            (_, Some(secret), _) => Some(json!({"value": secret})),
            ("given", None, _) => {
                self.form.fault("shared_secret", "is empty: enter a secret");
                None
            }
            ("made", None, Some(secret)) => Some(json!({"value": secret})),
            ("kept", None, _) => Some("kept".into()),
            _ => None,
        }
    }

    fn auth_document(&mut self) -> Option<Value> {
        let kind = self.form.non_empty("auth.kind").filter(|kind| *kind != "none")?.to_owned();
        let mut auth = Map::new();
        let has = |kinds: &[&str]| kinds.contains(&kind.as_str());
        for (field, name, _) in AUTH_TEXTS.into_iter().filter(|(_, _, kinds)| has(kinds)) {
            let typed = || self.form.non_empty(field).map(Value::from);
            let value = self.untouched(field, name).or_else(typed);
            auth.extend(value.map(|value| (name.to_owned(), value)));
        }
        for (field, name, _) in AUTH_SECRETS.into_iter().filter(|(_, _, kinds)| has(kinds)) {
            let dropped = self.form.text("auth.public") == "true" && name == "client_secret";
            match typed_secret(&self.form, field) {
                Some(secret) => {
                    auth.insert(name.to_owned(), json!({"value": secret}));
                }
                None if !dropped && self.auth().is_some_and(|auth| holds(auth, name)) => {
                    auth.insert(name.to_owned(), "kept".into());
                }
                None => {}
            }
        }
        if has(OAUTH) {
            let scopes = self.untouched("auth.scopes", "scopes").unwrap_or_else(|| {
                self.form.text("auth.scopes").split_whitespace().collect::<Vec<_>>().into()
            });
            auth.insert("scopes".to_owned(), scopes);
            let parameters = self.untouched("auth.parameters", "parameters");
            let parameters = parameters.unwrap_or_else(|| self.parameters().into());
            auth.insert("parameters".to_owned(), parameters);
        }
        auth.insert("kind".to_owned(), kind.into());
        Some(Value::Object(auth))
    }

    /// The stored value of a field of `auth` whose input was not touched.
    fn untouched(&self, input: &str, name: &str) -> Option<Value> {
        let current = self.current.as_ref()?;
        if !self.form.is_untouched(&filled(current, ""), &[input]) {
            return None;
        }
        serde_json::to_value(current.auth.as_ref()?).ok()?.get(name).cloned()
    }

    /// One `name=value` per line; either may be a JSON string.
    fn parameters(&mut self) -> Map<String, Value> {
        let text = self.form.text("auth.parameters").to_owned();
        let mut parameters = Map::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            match parameter(line) {
                Some((name, value)) => {
                    parameters.insert(name, value.into());
                }
                None => {
                    let message = format!("{line}: should be name=value");
                    self.form.fault("auth.parameters", message);
                }
            }
        }
        parameters
    }

    fn secrets(&mut self, of: &Rows) -> Map<String, Value> {
        let names = self.form.all(of.name).map(str::trim);
        let rows: Vec<_> = names.zip(self.form.all(of.value)).collect();
        let (mut secrets, mut faults) = (Map::new(), Vec::new());
        for (name, value) in rows {
            let kept = self.current.as_ref().and_then(|document| (of.kept)(document, name));
            let wrong = match (name, value.trim(), kept) {
                ("", "", _) => continue,
                ("", _, _) => "a value without a name",
                (name, _, _) if secrets.contains_key(name) => "is there twice",
                (_, "", Some(kept)) => {
                    secrets.insert(kept.clone(), "kept".into());
                    continue;
                }
                (_, "", None) => "has no value",
                (name, _, _) => {
                    secrets.insert(name.to_owned(), json!({"value": value}));
                    continue;
                }
            };
            faults.push(FieldError::new(format!("{}.{name}", of.field), wrong));
        }
        self.form.place_faults(&FIELDS, faults);
        secrets
    }
}

/// A secret as it was typed: white space at its ends is an error that is reported, not removed.
fn typed_secret<'f>(form: &'f Form, name: &str) -> Option<&'f str> {
    Some(form.text(name)).filter(|text| !text.trim().is_empty())
}

fn holds(auth: &AuthDocument, name: &str) -> bool {
    match name {
        "token" => auth.token.is_some(),
        "client_secret" => auth.client_secret.is_some(),
        _ => false,
    }
}

/// A line of the parameters.
fn parameter(line: &str) -> Option<(String, String)> {
    let mut quoted = serde_json::Deserializer::from_str(line).into_iter::<String>();
    let (name, value) = match quoted.next() {
        Some(Ok(name)) => (name, line[quoted.byte_offset()..].trim_start().strip_prefix('=')?),
        Some(Err(_)) | None => {
            line.split_once('=').map(|(name, value)| (name.trim().to_owned(), value))?
        }
    };
    let value = value.trim();
    Some((name, serde_json::from_str(value).unwrap_or_else(|_| value.to_owned())))
}

/// A name or value for a line: plain text if it is read back as itself, otherwise a JSON string.
fn parameter_text(text: &str, separator: Option<char>) -> String {
    let is_plain = text.trim() == text
        && !text.starts_with('"')
        && !text.contains(|it: char| it.is_control() || Some(it) == separator);
    if is_plain { text.to_owned() } else { Value::from(text).to_string() }
}

fn filled(document: &DestinationDocument, tag: &str) -> Form {
    let value = serde_json::to_value(document).unwrap_or_default();
    let signing = if document.shared_secret.is_some() { "kept" } else { "none" };
    let mut fields = vec![(TAG.to_owned(), tag.to_owned())];
    let mut fill = |name: &str, text: String| fields.push((name.to_owned(), text));
    fill("name", document.name.clone());
    for name in NUMBERS.into_iter().chain(["policy"]) {
        fill(name, shown(&value[name]));
    }
    fill("signing", signing.to_owned());
    let auth = &value["auth"];
    let kind = shown(&auth["kind"]);
    fill("auth.kind", if kind.is_empty() { "none".to_owned() } else { kind });
    for (field, name, _) in AUTH_TEXTS {
        fill(field, shown(&auth[name]));
    }
    let scopes = auth["scopes"].as_array().into_iter().flatten().map(shown);
    fill("auth.scopes", scopes.collect::<Vec<_>>().join(" "));
    let parameters = auth["parameters"].as_object().into_iter().flatten();
    let lines = parameters.map(|(name, value)| {
        let (name, value) = (parameter_text(name, Some('=')), shown(value));
        format!("{name}={}", parameter_text(&value, None))
    });
    fill("auth.parameters", lines.collect::<Vec<_>>().join("\n"));
    for rows in [HEADERS, PARAMETERS] {
        for name in value[rows.field].as_object().into_iter().flat_map(Map::keys) {
            fill(rows.name, name.clone());
        }
    }
    fill("allowed_hosts", document.allowed_hosts.join(" "));
    fill("allow_http", if document.allow_http { "true" } else { "" }.to_owned());
    fill("on_gone", if document.on_gone.is_dead() { "dead" } else { "pause" }.to_owned());
    fill("x_signature", shown(&value["x_signature"]));
    Form::of(fields)
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            other.to_string()
        }
    }
}

#[cfg(test)]
#[path = "destination_form_tests.rs"]
mod tests;
