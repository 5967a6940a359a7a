//! A request's URL and headers: what is fixed is made once, when the mapping is compiled; what
//! depends on the event is made and judged for each, and never sent where it is not right.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value as Json};
use url::Url;

use super::Fault;
use super::compile::Compiler;
use super::directive::Node;
use super::error::{Allowance, Misfit, Why};
use super::place::Place;
use super::value::{Shape, View};
use crate::json::{Text, Value, number_text};

/// The longest URL that an event may give, in bytes.
const MAX_URL: usize = 8_192;
/// The longest header value that an event may give, in bytes.
const MAX_HEADER: usize = 8_192;
/// Headers that there is room for from the start: a mapping's own, and those that make it a delivery.
const ROOM: usize = 16;
/// Headers of one mapping.
const MAX_HEADERS: usize = 100;

/// Headers that are the connection's or the signature's, not a mapping's.
const NOT_FOR_MAPPINGS: [HeaderName; 4] =
    [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION];

/// Where requests go.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Fixed(Url),
    FromEvent(Node),
}

impl Target {
    /// None where there are faults.
    pub(super) fn compile(
        json: &Json,
        compiler: &mut Compiler,
        faults: &mut Vec<Fault>,
    ) -> Option<Self> {
        let node = compiler.field(Place::of("url"), json);
        if node.gives_structure() {
            let wanted = "should be a URL such as \"https://example.com/hook\", or a directive that \
                          gives one";
            faults.push(Fault::new("url", wanted));
            return None;
        }
        let Node::Fixed(Value::String(text)) = &node else { return Some(Self::FromEvent(node)) };
        match fixed_url(&text.plain()) {
            Ok(url) => Some(Self::Fixed(url)),
            Err(message) => {
                faults.push(Fault::new("url", message));
                None
            }
        }
    }

    /// The URL for an event.
    pub(super) fn render(&self, event: View<'_>, allowance: &mut Allowance) -> Result<Url, Misfit> {
        let node = match self {
            Self::Fixed(url) => return Ok(url.clone()),
            Self::FromEvent(node) => node,
        };
        let made = node.evaluate(event, allowance)?;
        let shape = made.view().shape();
        let Shape::String(text) = shape else { return Err(Why::NotAUrl(shape.name()).into()) };
        Ok(judged_url(&text.plain())?)
    }
}

fn judged_url(text: &str) -> Result<Url, Why> {
    if text.len() > MAX_URL {
        return Err(Why::UrlLength);
    }
    // The parser drops line breaks and tabs without a word.
    if text.chars().any(char::is_control) {
        return Err(Why::UrlControl);
    }
    let url = Url::parse(text).map_err(Why::BadUrl)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Why::UrlScheme);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Why::UrlCredentials);
    }
    Ok(url)
}

fn fixed_url(text: &str) -> Result<Url, String> {
    judged_url(text).map_err(|why| {
        if let Why::BadUrl(error) = why {
            format!("{text:?} is not a URL: {error}")
        } else if why == Why::UrlScheme {
            format!("the scheme of {text:?} should be http or https")
        } else if why == Why::UrlCredentials {
            "a user name or password in a URL would be on record in every attempt: leave it out \
             and use a header"
                .to_owned()
        } else {
            why.to_string()
        }
    })
}

/// The headers of a mapping.
#[derive(Clone, Debug)]
pub(super) struct Headers {
    fixed: HeaderMap,
    /// Whether the fixed content type, if that is fixed, is a form's.
    form: bool,
    from_event: Vec<(HeaderName, Node)>,
}

impl Headers {
    pub(super) fn compile(
        headers: &Map<String, Json>,
        compiler: &mut Compiler,
        faults: &mut Vec<Fault>,
    ) -> Self {
        let fixed = HeaderMap::with_capacity(ROOM);
        let mut compiled = Self { fixed, form: false, from_event: Vec::new() };
        compiled.fixed.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if headers.len() > MAX_HEADERS {
            let message = format!("should be at most {MAX_HEADERS}, not {}", headers.len());
            faults.push(Fault::new("headers", message));
        }
        let mut seen: Vec<HeaderName> = Vec::new();
        for (name, json) in headers {
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
            let mut at = Place::of("headers");
            at.enter_key(name);
            let node = compiler.field(at, json);
            if node.gives_structure() {
                let wanted = "should be a string, or a directive that gives one";
                faults.push(Fault::new(place, wanted));
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
                Err(why) => faults.push(Fault::new(place, fixed_header_fault(why))),
            }
        }
        compiled.form = is_form(&compiled.fixed);
        compiled
    }

    /// Whether they are the same for every event.
    pub(super) const fn are_fixed(&self) -> bool {
        self.from_event.is_empty()
    }

    /// Whether the body is a form, where no header depends on the event.
    pub(super) const fn are_of_a_form(&self) -> bool {
        self.form
    }

    /// Those that are the same for every event.
    pub(super) const fn fixed(&self) -> &HeaderMap {
        &self.fixed
    }

    /// The headers for an event. One that its directive gives nothing or null for is left out.
    pub(super) fn render(
        &self,
        event: View<'_>,
        allowance: &mut Allowance,
    ) -> Result<HeaderMap, Misfit> {
        let mut headers = self.fixed.clone();
        for (name, node) in &self.from_event {
            let value = rendered(node, event, allowance);
            if let Some(value) = value.map_err(|misfit| misfit.under(name.as_str()))? {
                headers.insert(name.clone(), value);
            }
        }
        Ok(headers)
    }
}

fn rendered(
    node: &Node,
    event: View<'_>,
    allowance: &mut Allowance,
) -> Result<Option<HeaderValue>, Misfit> {
    let made = node.evaluate(event, allowance)?;
    let value = match made.view().shape() {
        Shape::Missing | Shape::Null => return Ok(None),
        Shape::String(text) => header_value(text)?,
        Shape::Number(number) => header_value(&number_text(number))?,
        Shape::Bool(bool) => HeaderValue::from_static(if bool { "true" } else { "false" }),
        other @ (Shape::Array(_) | Shape::Object(_)) => {
            return Err(Why::NotAHeader(other.name()).into());
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
    if NOT_FOR_MAPPINGS.contains(&parsed) || parsed.as_str().starts_with("webhook-") {
        return Err(format!("{name} is set by Postrider and cannot be overridden"));
    }
    Ok(parsed)
}

fn header_value(text: &Text<'_>) -> Result<HeaderValue, Why> {
    let plain = text.plain();
    if plain.len() > MAX_HEADER {
        return Err(Why::HeaderLength);
    }
    if !plain.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
        return Err(Why::HeaderText);
    }
    HeaderValue::from_str(&plain).map_err(|_printable| Why::HeaderText)
}

fn fixed_header_fault(why: Why) -> String {
    if why == Why::HeaderText {
        return "a header's value should be printable ASCII without line breaks".to_owned();
    }
    why.to_string()
}
