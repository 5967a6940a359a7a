//! `auth` and `secret_headers` of a destination as they are written, and what is wrong with them.

use std::collections::BTreeMap;

use http::HeaderName;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use url::{Host, Url};

use super::auth_document::{AuthDocument, AuthKind};
use super::document::{DestinationDocument, MappingDocument};
use super::given_secret::GivenSecret;
use crate::sender::is_credential;

/// The longest token, client secret or header value, in bytes.
const MAX_CREDENTIAL: usize = 8 * 1024;
/// The longest client id, scope, parameter or URL, in bytes.
const MAX_TEXT: usize = 2 * 1024;
/// So many secret headers, scopes or parameters at most.
const MAX_COUNT: usize = 32;
/// Headers that are made from the request itself.
const OURS: [&str; 6] =
    ["connection", "content-length", "content-type", "host", "transfer-encoding", "x-signature"];
/// What the standards give a meaning, which a parameter of one's own must not change.
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

/// What is wrong, each as (field, message), and the URLs that the address policy is to judge.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) faults: Vec<(String, String)>,
    pub(super) urls: Vec<(String, Url)>,
}

impl Findings {
    fn fault(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.faults.push((field.into(), message.into()));
    }

    /// Of a destination's `auth` and `secret_headers`.
    pub(super) fn of(destination: &DestinationDocument) -> Self {
        let mut findings = Self::default();
        if let Some(auth) = &destination.auth {
            findings.auth(auth);
        }
        findings.secret_headers(destination);
        findings
    }

    fn auth(&mut self, auth: &AuthDocument) {
        for (field, is_there, kinds) in auth.fields() {
            if is_there && !kinds.contains(&auth.kind) {
                let kind = auth.kind.as_str();
                self.fault(format!("auth.{field}"), format!("has no meaning with kind {kind}"));
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
            None | Some("") => self.fault("auth.client_id", "is needed with this kind"),
            Some(id) if id.len() > MAX_TEXT || id.chars().any(char::is_control) => {
                self.fault("auth.client_id", "should be a short text without control characters");
            }
            Some(_) => {}
        }
        self.credential("auth.client_secret", auth.client_secret.as_ref(), is_printable);
        self.scopes(auth.scopes.as_deref().unwrap_or_default());
        self.parameters(auth.parameters.iter().flatten());
    }

    /// A URL; one that the service itself asks carries secrets, and is judged by its address too.
    fn url(&mut self, field: &str, text: Option<&str>, is_asked: bool) {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return self.fault(field, "is needed with this kind");
        };
        let url = match Url::parse(text) {
            Ok(url) if text.len() <= MAX_TEXT && url.host().is_some() => url,
            Ok(_) | Err(_) => return self.fault(field, "should be an https URL"),
        };
        if url.scheme() != "https" && !(url.scheme() == "http" && is_near(&url)) {
            return self.fault(
                field,
                "should be an https URL: secrets go there (http is for this machine and private \
                 addresses)",
            );
        }
        if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
            return self.fault(field, "should have no fragment, user name or password");
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
                    1..=MAX_CREDENTIAL => "holds characters that it cannot be sent with",
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
                self.fault(field, "is a parameter of the standard, which the settings give");
            } else if is_credential(name) {
                self.fault(field, "looks like a secret, and parameters are not kept as one");
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
                self.fault(field, "is not a header's name");
            } else if OURS.contains(&lower.as_str()) || lower.starts_with("webhook-") {
                self.fault(field, "is made from the request itself and cannot be set");
            } else if lower == "authorization" && authorizes {
                self.fault(field, "is what auth sets: have one or the other");
            } else if seen.contains(&lower) {
                self.fault(field, "is there twice");
            }
            seen.push(lower);
        }
    }
}

/// What is wrong with a mapping's headers beside its destination's auth, each as (header, message).
pub(super) fn header_faults(
    destination: &DestinationDocument,
    mapping: &MappingDocument,
) -> Vec<(String, String)> {
    let authorizes = destination.auth.as_ref().is_some_and(|it| it.kind != AuthKind::None);
    let mut faults = Vec::new();
    for (name, value) in &mapping.headers {
        let same = |other: &String| other.eq_ignore_ascii_case(name);
        let message = if authorizes && name.eq_ignore_ascii_case("authorization") {
            "is what the destination's auth sets: have one or the other"
        } else if destination.secret_headers.iter().flat_map(BTreeMap::keys).any(same) {
            "is one of the destination's secret_headers: have one or the other"
        } else if is_credential(name) && holds_text(value) {
            "looks like a secret, and mappings are kept in clear: use the destination's auth, or \
             its secret_headers"
        } else {
            continue;
        };
        faults.push((name.clone(), message.to_owned()));
    }
    faults
}

/// Whether a header's value holds text of its own rather than only what an event brings.
fn holds_text(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => values.iter().any(holds_text),
        Value::Object(fields) => fields.iter().any(|(key, value)| brings_text(key, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn brings_text(directive: &str, value: &Value) -> bool {
    match (directive, value) {
        ("@path" | "_metadata" | "exists" | "blank", _) => false,
        // A word such as `Bearer` before what the event brings is no secret.
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

/// Whether a URL's host is this machine or in a private network.
fn is_near(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || !name.contains('.'),
        Some(Host::Ipv4(ip)) => ip.is_loopback() || ip.is_private(),
        Some(Host::Ipv6(ip)) => ip.is_loopback() || ip.is_unique_local(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_of_ones_own_is_told_from_what_an_event_brings() {
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

    #[test]
    fn plain_http_is_for_what_is_near() {
        for near in
            ["http://localhost/t", "http://127.0.0.1:1/t", "http://[::1]/t", "http://idp:8080/t"]
        {
            assert!(is_near(&Url::parse(near).expect("a URL")), "{near}");
        }
        for far in ["http://id.example.com/t", "http://8.8.8.8/t", "http://[2001:db8::1]/t"] {
            assert!(!is_near(&Url::parse(far).expect("a URL")), "{far}");
        }
    }
}
