//! Mappings made runnable: compiled once per revision, rendered once per attempt. What a mapping
//! says and cannot mean is refused here when it is saved, every fault with its path.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use url::Url;

use crate::domain::mapping::{MappingDefinition, Method};
use crate::trigger::Trigger;

/// What is wrong with a mapping, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field, as in `headers.X-Team`.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl Fault {
    fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

/// A mapping revision ready to match and render.
#[derive(Clone, Debug)]
pub struct CompiledMapping {
    trigger: Trigger,
    method: Method,
    url: Url,
    headers: HeaderMap,
}

/// A request made from an event; its signature is still to come.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The HTTP method.
    pub method: http::Method,
    /// Where to.
    pub url: Url,
    /// The mapping's headers and those it may override, without the signature's.
    pub headers: HeaderMap,
    /// The exact bytes of the body.
    pub body: Bytes,
}

/// Why an event cannot be rendered; the delivery is dead with reason `render`.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The document is not JSON; none such is ever made.
    #[error("the event cannot be read")]
    Document(#[source] crate::json::ParseError),
}

/// Headers that are the connection's or the signature's, not a mapping's.
const NOT_FOR_MAPPINGS: [HeaderName; 4] =
    [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION];

impl CompiledMapping {
    /// Compiles what a mapping says.
    ///
    /// # Errors
    /// All faults at once.
    pub fn compile(definition: &MappingDefinition) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let trigger = Trigger::parse(&definition.trigger)
            .map_err(|error| faults.push(Fault::new("trigger", error.to_string())))
            .ok();
        let url = compile_url(&definition.url)
            .map_err(|message| faults.push(Fault::new("url", message)))
            .ok();
        if definition.data.is_some() {
            faults
                .push(Fault::new("data", "this version delivers the whole event: leave data out"));
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in &definition.headers {
            match compile_header(name, value) {
                Ok((name, value)) => {
                    headers.insert(name, value);
                }
                Err(message) => faults.push(Fault::new(format!("headers.{name}"), message)),
            }
        }
        match (trigger, url) {
            (Some(trigger), Some(url)) if faults.is_empty() => {
                Ok(Self { trigger, method: definition.method, url, headers })
            }
            _ => Err(faults),
        }
    }

    /// Whether the mapping wants an event, by the event's document.
    #[must_use]
    pub fn matches(&self, document: &crate::json::Value<'_>) -> bool {
        self.trigger.matches(document)
    }

    /// The URL, where it does not depend on the event.
    #[must_use]
    pub const fn fixed_url(&self) -> Option<&Url> {
        Some(&self.url)
    }

    /// Makes the request for an event's document, which is JSON as `JSON.stringify` prints it.
    ///
    /// # Errors
    /// [`RenderError`] when the event gives none.
    pub fn render(&self, document: &Bytes) -> Result<Rendered, RenderError> {
        Ok(Rendered {
            method: match self.method {
                Method::Post => http::Method::POST,
                Method::Put => http::Method::PUT,
                Method::Patch => http::Method::PATCH,
            },
            url: self.url.clone(),
            headers: self.headers.clone(),
            body: document.clone(),
        })
    }
}

fn compile_url(value: &Value) -> Result<Url, String> {
    let Value::String(text) = value else {
        return Err(not_yet(value, "a URL such as \"https://example.com/hook\""));
    };
    let url = Url::parse(text).map_err(|error| format!("{text:?} is not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("the scheme of {text:?} should be http or https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a user name or password in a URL would be on record in every attempt: \
                    leave it out and use a header"
            .to_owned());
    }
    Ok(url)
}

fn compile_header(name: &str, value: &Value) -> Result<(HeaderName, HeaderValue), String> {
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .map_err(|error| format!("{name:?} is not a header name: {error}"))?;
    if NOT_FOR_MAPPINGS.contains(&parsed) || parsed.as_str().starts_with("webhook-") {
        return Err(format!("{name} is set by Postrider and cannot be overridden"));
    }
    let Value::String(text) = value else {
        return Err(not_yet(value, "a string"));
    };
    if !text.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
        return Err("a header's value should be printable ASCII without line breaks".to_owned());
    }
    let value = HeaderValue::from_str(text)
        .map_err(|error| format!("{text:?} is not a header value: {error}"))?;
    if parsed == header::CONTENT_TYPE && text.to_ascii_lowercase().contains("form") {
        return Err("this version delivers JSON only: leave Content-Type out".to_owned());
    }
    Ok((parsed, value))
}

fn not_yet(value: &Value, wanted: &str) -> String {
    if value.is_object() {
        format!("directives are not supported by this version: give {wanted}")
    } else {
        format!("should be {wanted}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn faults(definition: Value) -> Vec<String> {
        let definition: MappingDefinition =
            serde_json::from_value(definition).expect("well-formed");
        match CompiledMapping::compile(&definition) {
            Ok(_) => Vec::new(),
            Err(faults) => faults.into_iter().map(|fault| fault.path).collect(),
        }
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let definition = json!({
            "trigger": "type",
            "url": "ftp://example.com/",
            "headers": {"Host": "a", "Webhook-Id": "b", "X": "line\nbreak", "Y": "é", "Z": {"@path": "$.a"}, "a b": "c"},
            "data": {},
        });
        assert_eq!(
            faults(definition),
            [
                "trigger",
                "url",
                "data",
                "headers.Host",
                "headers.Webhook-Id",
                "headers.X",
                "headers.Y",
                "headers.Z",
                "headers.a b"
            ]
        );
    }

    #[test]
    fn a_plain_mapping_has_none() {
        let definition = json!({"url": "https://example.com/a?b=c", "method": "PUT", "headers": {"X-Team": "growth"}});
        assert_eq!(faults(definition), Vec::<String>::new());
        assert_eq!(faults(json!({"url": "https://user:pass@example.com/"})), ["url"]);
    }
}
