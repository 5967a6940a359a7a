//! Secrets of a mapping: headers, query parameters and credentials in a URL.

use std::collections::BTreeMap;

use serde_json::Value;
use url::Url;

use crate::sender::is_secret_parameter;

/// Where a request has a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Credential {
    /// A header.
    Header(String),
    /// A query parameter.
    Parameter(String),
}

impl Credential {
    /// The field of Segment's settings.
    pub(super) fn field(&self) -> String {
        match self {
            Self::Header(name) => format!("settings.headers.{name}"),
            Self::Parameter(name) => format!("settings.url?{name}"),
        }
    }

    /// The destination's field for it.
    pub(super) const fn of_destination(&self) -> &'static str {
        match self {
            Self::Header(_) => "secret_headers",
            Self::Parameter(_) => "secret_parameters",
        }
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Header(name) | Self::Parameter(name) => name,
        }
    }

    /// Whether it is `Authorization`.
    pub(super) fn is_authorization(&self) -> bool {
        matches!(self, Self::Header(name) if name.eq_ignore_ascii_case("authorization"))
    }
}

/// Secrets of one mapping; none where a directive gives the value.
pub(super) type Credentials = BTreeMap<Credential, Option<String>>;

/// Takes literal secrets out of a URL: parameters with the name of a secret, a user name and a password.
pub(super) fn take_from_url(url: &mut Value, credentials: &mut Credentials) {
    match url {
        Value::String(text) => {
            take_parameters(text, credentials);
            let parsed = Url::parse(text).ok();
            if let Some(mut parsed) = parsed
                && (!parsed.username().is_empty() || parsed.password().is_some())
            {
                let pair = format!("{}:{}", parsed.username(), parsed.password().unwrap_or(""));
                if parsed.set_username("").is_ok() && parsed.set_password(None).is_ok() {
                    *text = parsed.to_string();
                    let authorization = Credential::Header("authorization".to_owned());
                    credentials.insert(authorization, Some(pair));
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|it| take_from_url(it, credentials)),
        Value::Object(fields) => {
            fields.values_mut().for_each(|it| take_from_url(it, credentials));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn take_parameters(text: &mut String, credentials: &mut Credentials) {
    let Some((before, rest)) = text.split_once('?') else { return };
    let (query, fragment) = match rest.split_once('#') {
        Some((query, fragment)) => (query, Some(fragment)),
        None => (rest, None),
    };
    let mut kept = Vec::new();
    let mut found = Credentials::new();
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some((name, value))
                if !value.is_empty() && !value.starts_with("{{") && is_secret_parameter(name) =>
            {
                found.insert(Credential::Parameter(name.to_owned()), Some(value.to_owned()));
            }
            Some(_) | None => kept.push(pair),
        }
    }
    if found.is_empty() {
        return;
    }
    let mut url = before.to_owned();
    if !kept.is_empty() {
        url.push('?');
        url.push_str(&kept.join("&"));
    }
    if let Some(fragment) = fragment {
        url.push('#');
        url.push_str(fragment);
    }
    *text = url;
    credentials.append(&mut found);
}
