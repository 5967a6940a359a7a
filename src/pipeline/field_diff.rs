//! The changed fields of a line of the diff, as text: `timeout_ms: 5000 → 3000`.

use serde::Serialize;
use serde_json::Value;

use super::document::DestinationDocument;
use crate::domain::destination::{Destination, DestinationSettings};
use crate::domain::json_diff::is_printed_alike;
use crate::domain::mapping::{FunctionDefinition, Mapping, MappingDefinition};
use crate::domain::outbound_auth::Auth;
use crate::domain::source::SourceLimits;

/// The maximum length of a value, in characters.
const SHOWN: usize = 80;

/// Headers whose values may be secrets: only their names are shown.
const SECRET_WORDS: [&str; 5] = ["authorization", "cookie", "key", "secret", "token"];

/// Adds the text of a field where it differs.
pub(super) fn differ<T: Serialize>(details: &mut Vec<String>, field: &str, from: &T, to: &T) {
    if is_printed_alike(from, to) {
        return;
    }
    let value = |it: &T| serde_json::to_value(it).unwrap_or_default();
    // The order of keys decides the bytes of a request: another order alone is a change.
    if value(from) == value(to) {
        return details.push(format!("{field}: order changed"));
    }
    details.push(match (show(from), show(to)) {
        (from, to) if from == to => format!("{field}: changed"),
        (from, to) => format!("{field}: {from} → {to}"),
    });
}

pub(super) fn source(details: &mut Vec<String>, from: &SourceLimits, to: &SourceLimits) {
    differ(details, "rate_per_second", &from.rate_per_second, &to.rate_per_second);
    differ(details, "burst", &from.burst, &to.burst);
    differ(details, "daily_quota", &from.daily_quota, &to.daily_quota);
    differ(details, "client_ip", &from.client_ip, &to.client_ip);
}

pub(super) fn destination(
    details: &mut Vec<String>,
    current: &Destination,
    desired: &DestinationDocument,
    to: &DestinationSettings,
) {
    let from = &current.settings;
    differ(details, "enabled", &current.enabled, &desired.enabled);
    differ(details, "timeout_ms", &from.timeout_ms, &to.timeout_ms);
    differ(details, "window_ms", &from.window_ms, &to.window_ms);
    differ(details, "max_in_flight", &from.max_in_flight, &to.max_in_flight);
    differ(details, "rate_per_second", &from.rate_per_second, &to.rate_per_second);
    differ(details, "policy", &from.policy, &to.policy);
    auth(details, &from.auth, &to.auth);
    differ(details, "allowed_hosts", &from.allowed_hosts, &to.allowed_hosts);
    differ(details, "allow_http", &from.allow_http, &to.allow_http);
    differ(details, "on_gone", &from.on_gone, &to.on_gone);
    differ(details, "x_signature", &from.x_signature, &to.x_signature);
    differ(details, "secret_header_names", &from.secret_header_names, &to.secret_header_names);
}

fn auth(details: &mut Vec<String>, from: &Auth, to: &Auth) {
    differ(details, "auth", &from.kind(), &to.kind());
    if let (Some(from), Some(to)) = (from.client(), to.client()) {
        differ(details, "auth.token_url", &from.token_url, &to.token_url);
        differ(details, "auth.client_id", &from.client_id, &to.client_id);
        differ(details, "auth.client_auth", &from.client_auth, &to.client_auth);
        differ(details, "auth.scopes", &from.scopes, &to.scopes);
        differ(details, "auth.parameters", &from.parameters, &to.parameters);
        differ(details, "auth.token_prefix", &from.token_prefix, &to.token_prefix);
    }
    if let (Auth::AuthorizationCode(from), Auth::AuthorizationCode(to)) = (from, to) {
        differ(details, "auth.authorize_url", &from.authorize_url, &to.authorize_url);
        differ(details, "auth.refresh_url", &from.refresh_url, &to.refresh_url);
    }
}

pub(super) fn mapping(
    details: &mut Vec<String>,
    current: &Mapping,
    enabled: bool,
    to: &MappingDefinition,
) {
    let from = &current.revision.definition;
    differ(details, "enabled", &current.enabled, &enabled);
    differ(details, "trigger", &from.trigger, &to.trigger);
    differ(details, "url", &from.url, &to.url);
    differ(details, "url_values", &from.url_values, &to.url_values);
    differ(details, "profile", &from.profile, &to.profile);
    differ(details, "method", &from.method, &to.method);
    headers(details, from, to);
    differ(details, "data", &from.data, &to.data);
    function(details, from.function.as_deref(), to.function.as_deref());
    if let (Some(from), Some(to)) = (&from.batching, &to.batching) {
        differ(details, "batching.size", &from.size, &to.size);
        differ(details, "batching.linger_ms", &from.linger_ms, &to.linger_ms);
    } else {
        differ(details, "batching", &from.batching, &to.batching);
    }
    if details.is_empty() && from != to {
        details.push("order changed".to_owned());
    }
}

/// Without the source, which is long, and the settings, which may be secret.
fn function(
    details: &mut Vec<String>,
    from: Option<&FunctionDefinition>,
    to: Option<&FunctionDefinition>,
) {
    let mut tell = |words: &str| details.push(format!("function{words}"));
    match (from, to) {
        (None, None) => {}
        (None, Some(_)) => tell(": added"),
        (Some(_), None) => tell(": removed"),
        (Some(from), Some(to)) => {
            if from.source != to.source {
                tell(".source: changed");
            }
            if !is_printed_alike(&from.settings, &to.settings) {
                tell(".settings: changed");
            }
        }
    }
}

fn headers(details: &mut Vec<String>, from: &MappingDefinition, to: &MappingDefinition) {
    for (name, value) in &to.headers {
        match from.headers.get(name) {
            Some(before) if is_printed_alike(before, value) => {}
            _ if is_secret(name) => details.push(format!("headers.{name}: changed")),
            Some(before) => differ(details, &format!("headers.{name}"), before, value),
            None => details.push(format!("headers.{name}: {}", show(value))),
        }
    }
    for name in from.headers.keys().filter(|name| !to.headers.contains_key(*name)) {
        details.push(format!("headers.{name}: removed"));
    }
    let kept = from.headers.keys().filter(|name| to.headers.contains_key(*name));
    if !kept.eq(to.headers.keys().filter(|name| from.headers.contains_key(*name))) {
        details.push("headers: order changed".to_owned());
    }
}

fn is_secret(header: &str) -> bool {
    let header = header.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| header.contains(word))
}

/// The method and URL of a new mapping.
pub(super) fn route(definition: &MappingDefinition) -> String {
    format!("{} {}", show(&definition.method), show(&definition.url))
}

fn show<T: Serialize>(value: &T) -> String {
    let text = match serde_json::to_value(value).unwrap_or_default() {
        Value::Null => "none".to_owned(),
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text,
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            other.to_string()
        }
    };
    if text.chars().count() > SHOWN {
        return text.chars().take(SHOWN - 1).chain(['…']).collect();
    }
    text
}
