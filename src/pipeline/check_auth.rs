//! Validation of `auth` and `secret_headers` of a destination.

use std::collections::BTreeMap;

use http::HeaderName;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use url::Url;

use super::auth_document::{AuthDocument, AuthKind};
use super::check_request::{HOP_BY_HOP, invisible_fault};
use super::document::{DestinationDocument, MappingDocument};
use super::given_secret::GivenSecret;
use super::secret_text::blank_fault;
use crate::domain::connection_headers::{is_connection_header, is_hop_by_hop};
use crate::domain::credential_origin::is_private_host;
use crate::sender::{is_credential, is_secret_parameter};

/// The maximum length of a token, client secret or header value, in bytes.
const MAX_CREDENTIAL: usize = 8 * 1024;
/// The maximum length of a client id, scope, parameter or URL, in bytes.
const MAX_TEXT: usize = 2 * 1024;
/// The maximum number of secret headers, scopes or parameters.
const MAX_COUNT: usize = 32;
/// Headers that the sender sets, beside those of the connection.
const OURS: [&str; 2] = ["content-type", "x-signature"];
/// Parameters of the standards, which additional parameters must not override.
const STANDARD: [&str; 14] = [
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_secret",
    "code",
    "code_challenge",
    "code_challenge_method",
    "code_verifier",
    "grant_type",
    "redirect_uri",
    "refresh_token",
    "response_type",
    "scope",
    "state",
];

/// The errors, each as (field, message), and the URLs to check against the address policy.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) faults: Vec<(String, String)>,
    pub(super) urls: Vec<(String, Url)>,
}

impl Findings {
    fn fault(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.faults.push((field.into(), message.into()));
    }

    /// Validates a destination's `auth` and `secret_headers`.
    pub(super) fn of(destination: &DestinationDocument) -> Self {
        let mut findings = Self::default();
        if let Some(auth) = &destination.auth {
            findings.auth(auth);
        }
        findings.secret_headers(destination);
        findings.secret_parameters(destination);
        findings
    }

    fn auth(&mut self, auth: &AuthDocument) {
        for (field, is_there, kinds) in auth.fields() {
            if is_there && !kinds.contains(&auth.kind) {
                let kind = auth.kind.as_str();
                self.fault(format!("auth.{field}"), format!("does not apply to kind {kind}"));
            }
        }
        match auth.kind {
            AuthKind::None => return,
            AuthKind::Bearer => {
                return self.credential("auth.token", auth.token.as_ref(), is_graphic);
            }
            AuthKind::ClientCredentials => {}
            AuthKind::AuthorizationCode => {
                self.url("auth.authorize_url", auth.authorize_url.as_deref(), false);
                if auth.refresh_url.is_some() {
                    self.url("auth.refresh_url", auth.refresh_url.as_deref(), true);
                }
            }
        }
        self.url("auth.token_url", auth.token_url.as_deref(), true);
        match auth.client_id.as_deref() {
            None | Some("") => self.fault("auth.client_id", "is required with this kind"),
            Some(id) if id.len() > MAX_TEXT || id.chars().any(char::is_control) => {
                self.fault("auth.client_id", "should be a short text without control characters");
            }
            Some(_) => {}
        }
        self.credential("auth.client_secret", auth.client_secret.as_ref(), is_printable);
        self.scopes(auth.scopes.as_deref().unwrap_or_default());
        self.parameters(auth.parameters.iter().flatten());
        let fits = |prefix: &String| (1..=64).contains(&prefix.len()) && is_graphic(prefix);
        if auth.token_prefix.as_ref().is_some_and(|prefix| !fits(prefix)) {
            self.fault("auth.token_prefix", "should be one word of visible ASCII characters");
        }
    }

    /// Validates a URL. The service itself sends secrets to a `is_asked` URL, so its address is
    /// checked too.
    fn url(&mut self, field: &str, text: Option<&str>, is_asked: bool) {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return self.fault(field, "is required with this kind");
        };
        if let Some(message) = invisible_fault(text) {
            return self.fault(field, message);
        }
        let url = match Url::parse(text) {
            Ok(url) if text.len() <= MAX_TEXT && url.host().is_some() => url,
            Ok(_) | Err(_) => return self.fault(field, "should be an https URL"),
        };
        if url.scheme() != "https" && !(url.scheme() == "http" && is_private_host(&url)) {
            return self.fault(
                field,
                "should be an https URL: secrets go there (http is for this machine and private \
                 addresses)",
            );
        }
        if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
            return self.fault(field, "should have no fragment, user name or password");
        }
        if let Some(name) = secrets_in(url.query().unwrap_or_default()).next() {
            let message = format!(
                "its parameter {name} looks like a secret, and URLs are stored and shown in plain text"
            );
            return self.fault(field, message);
        }
        if is_asked {
            self.urls.push((field.to_owned(), url));
        }
    }

    fn credential(&mut self, field: &str, given: Option<&GivenSecret>, fits: fn(&str) -> bool) {
        let message = match given {
            None | Some(GivenSecret::Kept) => return,
            Some(GivenSecret::Value(hidden)) => {
                let text = hidden.0.expose_secret();
                match text.len() {
                    0 => "is empty",
                    1..=MAX_CREDENTIAL if fits(text) => return,
                    1..=MAX_CREDENTIAL if blank_fault(text).is_some() => {
                        blank_fault(text).unwrap_or_default()
                    }
                    1..=MAX_CREDENTIAL => "contains characters that cannot be sent",
                    _ => "is longer than 8192 bytes",
                }
            }
            Some(GivenSecret::Env(_) | GivenSecret::File(_)) => {
                "should be a value: variables and files are read where `postrider apply` runs"
            }
        };
        self.fault(field, message);
    }

    fn scopes(&mut self, scopes: &[String]) {
        if scopes.len() > MAX_COUNT {
            self.fault("auth.scopes", format!("should be at most {MAX_COUNT}"));
        }
        for (index, scope) in scopes.iter().enumerate() {
            // RFC 6749, 3.3.
            let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
            if scope.is_empty() || scope.len() > MAX_TEXT || !scope.bytes().all(fits) {
                self.fault(
                    format!("auth.scopes[{index}]"),
                    "should be one scope of visible ASCII characters: a list has one each",
                );
            }
        }
    }

    fn parameters<'p>(&mut self, parameters: impl Iterator<Item = (&'p String, &'p String)>) {
        for (count, (name, value)) in parameters.enumerate() {
            let field = format!("auth.parameters.{name}");
            if count >= MAX_COUNT {
                return self.fault("auth.parameters", format!("should be at most {MAX_COUNT}"));
            }
            if name.is_empty() || name.len() > MAX_TEXT || value.len() > MAX_TEXT {
                self.fault(field, "should be a short name with a short value");
            } else if STANDARD.contains(&name.as_str()) {
                self.fault(field, "is a standard parameter, which other settings define");
            } else if is_credential(name) {
                self.fault(field, "looks like a secret, and parameters are stored in plain text");
            }
        }
    }

    fn secret_headers(&mut self, destination: &DestinationDocument) {
        let Some(headers) = &destination.secret_headers else { return };
        let authorizes = destination.auth.as_ref().is_some_and(|it| it.kind != AuthKind::None);
        if headers.len() > MAX_COUNT {
            self.fault("secret_headers", format!("should be at most {MAX_COUNT}"));
        }
        let mut seen = Vec::new();
        for (name, value) in headers {
            let field = format!("secret_headers.{name}");
            self.credential(&field, Some(value), is_printable);
            let lower = name.to_ascii_lowercase();
            if HeaderName::try_from(name.as_str()).is_err() {
                self.fault(field, "is not a valid header name");
            } else if is_hop_by_hop(&lower) {
                self.fault(field, HOP_BY_HOP);
            } else if OURS.contains(&lower.as_str())
                || is_connection_header(&lower)
                || lower.starts_with("webhook-")
            {
                self.fault(field, "is set by the sender and cannot be configured");
            } else if lower == "authorization" && authorizes {
                self.fault(field, "conflicts with auth: use one of them");
            } else if seen.contains(&lower) {
                self.fault(field, "is a duplicate");
            }
            seen.push(lower);
        }
    }
}

impl Findings {
    fn secret_parameters(&mut self, destination: &DestinationDocument) {
        let Some(parameters) = &destination.secret_parameters else { return };
        if parameters.len() > MAX_COUNT {
            self.fault("secret_parameters", format!("should be at most {MAX_COUNT}"));
        }
        for (name, value) in parameters {
            let field = format!("secret_parameters.{name}");
            self.credential(&field, Some(value), is_printable);
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            if name.is_empty() || name.len() > MAX_TEXT || !name.bytes().all(fits) {
                self.fault(field, "should be a name of letters, digits and - . _ ~");
            }
        }
    }
}

/// The query parameters in a mapping's URL that have the name of a secret and a literal value, each as
/// (field, message).
pub(super) fn url_faults(mapping: &MappingDocument) -> Vec<(&'static str, String)> {
    let mut faults = Vec::new();
    literal_secrets(&mapping.url, &mut |name| {
        let message = format!(
            "its parameter {name} looks like a secret, and mappings are stored and shown in plain \
             text: use the destination's secret_parameters"
        );
        faults.push(("url", message));
    });
    faults
}

/// The parameters of a query that have the name of a secret and a literal value.
fn secrets_in(query: &str) -> impl Iterator<Item = &str> {
    let pairs = query.split(['&', '#', ';']).filter_map(|pair| pair.split_once('='));
    let literal = pairs.filter(|(_, value)| !value.is_empty() && !value.starts_with("{{"));
    literal.map(|(name, _)| name).filter(|name| is_secret_parameter(name))
}

fn literal_secrets(value: &Value, found: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => {
            if let Some((_, query)) = text.split_once('?') {
                secrets_in(query).for_each(found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| literal_secrets(value, found)),
        Value::Object(fields) => fields.values().for_each(|value| literal_secrets(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The conflicts of a mapping's headers with its destination's auth, each as (header, message).
pub(super) fn header_faults(
    destination: &DestinationDocument,
    mapping: &MappingDocument,
) -> Vec<(String, String)> {
    let authorizes = destination.auth.as_ref().is_some_and(|it| it.kind != AuthKind::None);
    let mut faults = Vec::new();
    for (name, value) in &mapping.headers {
        let same = |other: &String| other.eq_ignore_ascii_case(name);
        let message = if authorizes && name.eq_ignore_ascii_case("authorization") {
            "conflicts with the destination's auth: use one of them"
        } else if destination.secret_headers.iter().flat_map(BTreeMap::keys).any(same) {
            "conflicts with the destination's secret_headers: use one of them"
        } else if is_credential(name) && holds_text(value) {
            LITERAL_SECRET
        } else {
            continue;
        };
        faults.push((name.clone(), message.to_owned()));
    }
    let is_directive = |name: &String| name.starts_with('@');
    for (name, value) in mapping.headers.iter().filter(|(name, _)| is_directive(name)) {
        if let Some(secret) = literal_credential(value) {
            let message = format!("{secret} {LITERAL_SECRET}");
            faults.push((name.clone(), message));
        }
    }
    faults
}

const LITERAL_SECRET: &str = "looks like a secret, and mappings are stored in plain text: use the \
                              destination's auth or its secret_headers";

/// The name of a header with literal text that looks like a secret, in headers that a directive gives.
fn literal_credential(value: &Value) -> Option<&str> {
    match value {
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            let is_secret = is_credential(name) && holds_text(value);
            if is_secret { Some(name.as_str()) } else { literal_credential(value) }
        }),
        Value::Array(items) => items.iter().find_map(literal_credential),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// Whether a header's value contains literal text, rather than only data of the event.
fn holds_text(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => values.iter().any(holds_text),
        Value::Object(fields) => fields.iter().any(|(key, value)| contributes_text(key, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn contributes_text(directive: &str, value: &Value) -> bool {
    match (directive, value) {
        ("@path" | "_metadata" | "exists" | "blank", _) => false,
        // A word such as `Bearer` before data of the event is not a secret.
        ("@template", Value::String(text)) => !text.contains("{{"),
        (_, value) => holds_text(value),
    }
}

fn is_graphic(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && text.trim() == text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn literal_text_is_distinguished_from_event_data() {
        for own in [
            json!("Bearer x"),
            json!({"@literal": "x"}),
            json!({"@template": "Bearer x"}),
            json!({"@if": {"exists": {"@path": "$.a"}, "then": "x"}}),
            json!({"@case": {"operator": "upper", "value": "x"}}),
        ] {
            assert!(holds_text(&own), "{own}");
        }
        for brought in [
            json!(""),
            json!({"@path": "$.context.token"}),
            json!({"@template": "Bearer {{context.token}}"}),
            json!({"@literal": ""}),
        ] {
            assert!(!holds_text(&brought), "{brought}");
        }
    }
}
