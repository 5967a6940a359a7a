//! A request's URL and headers: constant ones are validated when the mapping is compiled, those that
//! depend on the event each time they are rendered.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value as Json};
use url::Url;

use super::budget::Budget;
use super::compile;
use super::compiler::Compiler;
use super::directive::Node;
use super::error::{ErrorKind, Fault, MappingError};
use super::location::Location;
use super::url_template::MAX_URL;
use super::value::{Shape, View};
use crate::domain::connection_headers::is_hop_by_hop;
use crate::domain::mapping::UrlValues;
use crate::json::{Text, Value, number_text};

/// The longest header value that an event may give, in bytes.
const MAX_HEADER: usize = 8_192;
/// Initial capacity of a header map: a mapping's headers and those of a delivery.
const CAPACITY: usize = 16;
/// Headers of one mapping.
const MAX_HEADERS: usize = 100;

/// Headers that belong to the connection or to the signature.
const RESERVED: [HeaderName; 4] =
    [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION];

/// Where requests go.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Fixed(Url),
    FromEvent {
        node: Node,
        /// The origins that the mapping alone decides on; none where the event does.
        origins: Option<Vec<Url>>,
    },
}

impl Target {
    /// None where there are faults.
    pub(super) fn compile(
        json: &Json,
        values: UrlValues,
        compiler: &mut Compiler,
        faults: &mut Vec<Fault>,
    ) -> Option<Self> {
        compiler.enter_url(Some(values));
        let node = compile::field(compiler, Location::of("url"), json);
        compiler.enter_url(None);
        if node.gives_structure() {
            let expected = "should be a URL such as \"https://example.com/hook\", or a directive that \
                          gives one";
            faults.push(Fault::new("url", expected));
            return None;
        }
        let Node::Fixed(Value::String(text)) = &node else {
            let origins = node.literal_origins();
            return Some(Self::FromEvent { node, origins });
        };
        match fixed_url(&text.plain()) {
            Ok(url) => Some(Self::Fixed(url)),
            Err(message) => {
                faults.push(Fault::new("url", message));
                None
            }
        }
    }

    /// The URL for an event.
    pub(super) fn render(&self, event: View<'_>, budget: &mut Budget) -> Result<Url, MappingError> {
        let (node, origins) = match self {
            Self::Fixed(url) => return Ok(url.clone()),
            Self::FromEvent { node, origins } => (node, origins),
        };
        let value = node.evaluate(event, budget)?;
        let shape = value.view().shape();
        let Shape::String(text) = shape else {
            return Err(ErrorKind::NotAUrl(shape.name()).into());
        };
        let url = validated_url(&text.plain())?;
        let changed = |origins: &Vec<Url>| origins.iter().all(|it| it.origin() != url.origin());
        if origins.as_ref().is_some_and(changed) {
            return Err(ErrorKind::UrlOrigin.into());
        }
        Ok(url)
    }

    /// The origins of its URLs, where the mapping alone decides on them.
    pub(super) fn literal_origins(&self) -> Option<&[Url]> {
        match self {
            Self::Fixed(url) => Some(std::slice::from_ref(url)),
            Self::FromEvent { origins, .. } => origins.as_deref(),
        }
    }
}

fn validated_url(text: &str) -> Result<Url, ErrorKind> {
    if text.len() > MAX_URL {
        return Err(ErrorKind::UrlLength);
    }
    // The parser silently drops line breaks and tabs.
    if text.chars().any(char::is_control) {
        return Err(ErrorKind::UrlControl);
    }
    let url = Url::parse(text).map_err(ErrorKind::BadUrl)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(ErrorKind::UrlScheme);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ErrorKind::UrlCredentials);
    }
    Ok(url)
}

fn fixed_url(text: &str) -> Result<Url, String> {
    validated_url(text).map_err(|kind| {
        if let ErrorKind::BadUrl(error) = kind {
            format!("is not a URL: {error}")
        } else if kind == ErrorKind::UrlScheme {
            "should have the scheme http or https".to_owned()
        } else if kind == ErrorKind::UrlCredentials {
            "a user name or password in a URL would be on record in every attempt: leave it out \
             and use a header"
                .to_owned()
        } else {
            kind.to_string()
        }
    })
}

/// The headers of a mapping.
#[derive(Clone, Debug)]
pub(super) struct Headers {
    fixed: HeaderMap,
    /// Whether the content type, if it is fixed, is a form's.
    is_form: bool,
    from_event: Vec<(HeaderName, Node)>,
}

impl Headers {
    pub(super) fn compile(
        headers: &Map<String, Json>,
        compiler: &mut Compiler,
        faults: &mut Vec<Fault>,
    ) -> Self {
        let fixed = HeaderMap::with_capacity(CAPACITY);
        let mut compiled = Self { fixed, is_form: false, from_event: Vec::new() };
        compiled.fixed.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if headers.len() > MAX_HEADERS {
            let message = format!("should be at most {MAX_HEADERS}, not {}", headers.len());
            faults.push(Fault::new("headers", message));
        }
        let mut seen: Vec<HeaderName> = Vec::new();
        for (name, json) in headers {
            // Saving a mapping refuses these; older revisions have them, and they were never of use.
            if is_hop_by_hop(name) {
                continue;
            }
            let place = format!("headers.{name}");
            let parsed = match header_name(name) {
                Ok(parsed) if seen.contains(&parsed) => {
                    faults.push(Fault::new(
                        place,
                        "is there twice: upper and lower case are the same",
                    ));
                    continue;
                }
                Ok(parsed) => parsed,
                Err(message) => {
                    faults.push(Fault::new(place, message));
                    continue;
                }
            };
            seen.push(parsed.clone());
            let mut at = Location::of("headers");
            at.push_key(name);
            let node = compile::field(compiler, at, json);
            if node.gives_structure() {
                let expected = "should be a string, or a directive that gives one";
                faults.push(Fault::new(place, expected));
                continue;
            }
            let Node::Fixed(Value::String(text)) = &node else {
                compiled.from_event.push((parsed, node));
                continue;
            };
            match header_value(text) {
                Ok(value) => {
                    compiled.fixed.insert(parsed, value);
                }
                Err(kind) => faults.push(Fault::new(place, fixed_header_fault(kind))),
            }
        }
        compiled.is_form = is_form(&compiled.fixed);
        compiled
    }

    /// Whether they are the same for every event.
    pub(super) const fn are_fixed(&self) -> bool {
        self.from_event.is_empty()
    }

    /// Whether the body is a form, where no header depends on the event.
    pub(super) const fn are_form(&self) -> bool {
        self.is_form
    }

    /// The headers that are the same for every event.
    pub(super) const fn fixed(&self) -> &HeaderMap {
        &self.fixed
    }

    /// The headers for an event. A header whose directive gives nothing or null is left out.
    pub(super) fn render(
        &self,
        event: View<'_>,
        budget: &mut Budget,
    ) -> Result<HeaderMap, MappingError> {
        let mut headers = self.fixed.clone();
        for (name, node) in &self.from_event {
            let value = rendered(node, event, budget);
            if let Some(value) = value.map_err(|error| error.under(name.as_str()))? {
                headers.insert(name.clone(), value);
            }
        }
        Ok(headers)
    }
}

fn rendered(
    node: &Node,
    event: View<'_>,
    budget: &mut Budget,
) -> Result<Option<HeaderValue>, MappingError> {
    let computed = node.evaluate(event, budget)?;
    let value = match computed.view().shape() {
        Shape::Missing | Shape::Null => return Ok(None),
        Shape::String(text) => header_value(text)?,
        Shape::Number(number) => header_value(&number_text(number))?,
        Shape::Bool(bool) => HeaderValue::from_static(if bool { "true" } else { "false" }),
        other @ (Shape::Array(_) | Shape::Object(_)) => {
            return Err(ErrorKind::NotAHeader(other.name()).into());
        }
    };
    Ok(Some(value))
}

/// Whether the content type is `application/x-www-form-urlencoded`, whatever its parameters.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(header::CONTENT_TYPE).map(HeaderValue::to_str) else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

fn header_name(name: &str) -> Result<HeaderName, String> {
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .map_err(|error| format!("{name:?} is not a header name: {error}"))?;
    if RESERVED.contains(&parsed) || parsed.as_str().starts_with("webhook-") {
        return Err(format!("{name} is set by Postrider and cannot be overridden"));
    }
    Ok(parsed)
}

fn header_value(text: &Text<'_>) -> Result<HeaderValue, ErrorKind> {
    let plain = text.plain();
    if plain.len() > MAX_HEADER {
        return Err(ErrorKind::HeaderLength);
    }
    if !plain.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
        return Err(ErrorKind::HeaderText);
    }
    HeaderValue::from_str(&plain).map_err(|_printable| ErrorKind::HeaderText)
}

fn fixed_header_fault(kind: ErrorKind) -> String {
    if kind == ErrorKind::HeaderText {
        return "a header's value should be printable ASCII without line breaks".to_owned();
    }
    kind.to_string()
}
