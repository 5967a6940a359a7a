//! A request's headers: constant ones are validated when the mapping is compiled, those that depend on the
//! event each time they are rendered. They decide whether the body is a form.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value as Json};

use super::budget::Budget;
use super::compile;
use super::compiler::Compiler;
use super::directive::Node;
use super::error::{ErrorKind, Fault, MappingError};
use super::location::Location;
use super::to_string;
use super::value::{Fields, Shape, View};
use crate::domain::connection_headers::is_hop_by_hop;
use crate::domain::header_spelling::HeaderSpellings;
use crate::domain::profile::{ContentTypeRule, HeaderValueRule, RequestRules};
use crate::json::{Text, TextBuilder, number_text};

/// The longest header value that an event may give, in bytes.
const MAX_HEADER: usize = 8_192;
/// Initial capacity of a header map: a mapping's headers and those of a delivery.
const CAPACITY: usize = 16;
/// Headers of one mapping.
const MAX_HEADERS: usize = 100;
/// The media type of forms.
const FORM: &str = "application/x-www-form-urlencoded";
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Headers that belong to the connection or to the signature.
const RESERVED: [HeaderName; 4] =
    [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION];

/// The headers of a mapping, without the default content type.
#[derive(Clone, Debug)]
pub(super) struct Headers {
    rules: &'static RequestRules,
    given: Given,
    spellings: HeaderSpellings,
}

#[derive(Clone, Debug)]
enum Given {
    /// Each by its name.
    Each { fixed: RenderedHeaders, from_event: Vec<(HeaderName, Node)> },
    /// An object that a directive gives.
    Whole(Node),
}

/// The headers of a request.
#[derive(Clone, Debug)]
pub(super) struct RenderedHeaders {
    pub(super) map: HeaderMap,
    /// Whether the mapping gives a content type; else it is that of JSON.
    has_content_type: bool,
    /// Whether they make the body a form.
    pub(super) is_form: bool,
    /// How their names are written.
    pub(super) spellings: HeaderSpellings,
}

impl RenderedHeaders {
    fn new(spellings: &HeaderSpellings) -> Self {
        let mut map = HeaderMap::with_capacity(CAPACITY);
        map.insert(header::CONTENT_TYPE, JSON);
        Self { map, has_content_type: false, is_form: false, spellings: spellings.clone() }
    }

    /// Decides on the content type. A request without a body has what the mapping gives.
    pub(super) fn set_content_type(&mut self, rules: &RequestRules, has_body: bool) {
        let is_sent = match rules.content_type {
            ContentTypeRule::Sent | ContentTypeRule::HeaderOnly => true,
            ContentTypeRule::Json => false,
            ContentTypeRule::ExactForm => self.is_form,
        };
        if has_body && !is_sent {
            self.map.insert(header::CONTENT_TYPE, JSON);
        } else if !has_body && !self.has_content_type {
            self.map.remove(header::CONTENT_TYPE);
        }
    }

    fn set(&mut self, name: &HeaderName, value: HeaderValue) {
        self.has_content_type |= name == header::CONTENT_TYPE;
        self.map.insert(name, value);
    }

    /// Adds a header. One that is given already gets both values (RFC 9110, 5.3).
    fn add(&mut self, name: &HeaderName, value: HeaderValue) -> Result<(), ErrorKind> {
        let is_default = name == header::CONTENT_TYPE && !self.has_content_type;
        let value = match self.map.get(name).filter(|_| !is_default) {
            Some(before) => {
                let both = [before.as_bytes(), b", ", value.as_bytes()].concat();
                HeaderValue::from_bytes(&both).map_err(|_printable| ErrorKind::HeaderText)?
            }
            None => value,
        };
        self.set(name, value);
        Ok(())
    }

    /// Notes whether a header makes the body a form; `name` as it is written.
    fn judge(&mut self, rules: &RequestRules, name: &str, value: Shape<'_>) {
        if !name.eq_ignore_ascii_case(header::CONTENT_TYPE.as_str()) {
            return;
        }
        let Shape::String(text) = value else { return };
        let text = text.plain();
        self.is_form = match rules.content_type {
            ContentTypeRule::Sent => {
                let essence = text.split(';').next().unwrap_or_default().trim();
                essence.eq_ignore_ascii_case(FORM)
            }
            ContentTypeRule::Json | ContentTypeRule::HeaderOnly => false,
            ContentTypeRule::ExactForm => {
                matches!(name, "Content-Type" | "content-type") && text == FORM
            }
        };
    }
}

impl Headers {
    pub(super) fn compile(
        headers: &Map<String, Json>,
        rules: &'static RequestRules,
        compiler: &mut Compiler,
        faults: &mut Vec<Fault>,
    ) -> Self {
        if headers.keys().any(|name| name.starts_with('@')) {
            let directive = Json::Object(headers.clone());
            let node = compile::field(compiler, Location::of("headers"), &directive);
            let spellings = HeaderSpellings::default();
            return Self { rules, given: Given::Whole(node), spellings };
        }
        if headers.len() > MAX_HEADERS {
            let message = format!("should be at most {MAX_HEADERS}, not {}", headers.len());
            faults.push(Fault::new("headers", message));
        }
        // Saving a mapping refuses those of the connection; older revisions have them, and they were never
        // of use.
        let names = || headers.keys().map(String::as_str).filter(|name| !is_hop_by_hop(name));
        let spellings = HeaderSpellings::of(names());
        let mut fixed = RenderedHeaders::new(&spellings);
        let mut from_event = Vec::new();
        let mut seen: Vec<HeaderName> = Vec::new();
        for name in names() {
            match header_name(name) {
                Ok(parsed) if seen.contains(&parsed) => {
                    let message = "is there twice: upper and lower case are the same";
                    faults.push(Fault::new(format!("headers.{name}"), message));
                    continue;
                }
                Ok(parsed) => seen.push(parsed),
                Err(kind) => {
                    let message = name_fault(name, kind);
                    faults.push(Fault::new(format!("headers.{name}"), message));
                    continue;
                }
            }
            let Some(parsed) = seen.last() else { continue };
            let mut at = Location::of("headers");
            at.push_key(name);
            let node = compile::field(compiler, at, &headers[name]);
            match of_node(&node, rules) {
                Ok(Constant::No) => from_event.push((parsed.clone(), node)),
                Ok(Constant::LeftOut) => {}
                Ok(Constant::Value(value)) => {
                    if let Node::Fixed(given) = &node {
                        fixed.judge(rules, name, View::Value(given).shape());
                    }
                    fixed.set(parsed, value);
                }
                Err(message) => faults.push(Fault::new(format!("headers.{name}"), message)),
            }
        }
        Self { rules, given: Given::Each { fixed, from_event }, spellings }
    }

    /// Those that are the same for every event; none where some depend on it.
    pub(super) const fn fixed(&self) -> Option<&RenderedHeaders> {
        match &self.given {
            Given::Each { fixed, from_event } if from_event.is_empty() => Some(fixed),
            Given::Each { .. } | Given::Whole(_) => None,
        }
    }

    /// Writes further names in these letters: headers that a request gets beside the mapping's.
    pub(super) fn spell_also(&mut self, others: &HeaderSpellings) {
        self.spellings = self.spellings.and(others);
        if let Given::Each { fixed, .. } = &mut self.given {
            fixed.spellings = self.spellings.clone();
        }
    }

    /// The headers for an event.
    pub(super) fn render(
        &self,
        event: View<'_>,
        budget: &mut Budget,
    ) -> Result<RenderedHeaders, MappingError> {
        match &self.given {
            Given::Each { fixed, from_event } => {
                let mut headers = fixed.clone();
                for (name, node) in from_event {
                    let computed = node.evaluate(event, budget);
                    let value = computed.and_then(|it| {
                        let shape = it.view().shape();
                        headers.judge(self.rules, self.spellings.spell(name.as_str()), shape);
                        Ok(rendered(it.view(), self.rules, budget)?)
                    });
                    if let Some(value) = value.map_err(|error| error.under(name.as_str()))? {
                        headers.set(name, value);
                    }
                }
                Ok(headers)
            }
            Given::Whole(node) => {
                let computed = node.evaluate(event, budget)?;
                match computed.view().shape() {
                    Shape::Missing | Shape::Null => Ok(RenderedHeaders::new(&self.spellings)),
                    Shape::Object(fields) => self.of_fields(fields, budget),
                    other @ (Shape::Bool(_)
                    | Shape::Number(_)
                    | Shape::String(_)
                    | Shape::Array(_)) => Err(ErrorKind::NotHeaders(other.name()).into()),
                }
            }
        }
    }

    /// The headers that an object has.
    fn of_fields(
        &self,
        fields: Fields<'_>,
        budget: &mut Budget,
    ) -> Result<RenderedHeaders, MappingError> {
        if fields.len() > MAX_HEADERS {
            return Err(ErrorKind::HeaderCount.into());
        }
        let names: Vec<_> = fields.iter().map(|(name, _)| name.plain()).collect();
        let spellings = HeaderSpellings::of(names.iter().map(|name| &**name));
        let mut headers = RenderedHeaders::new(&spellings.and(&self.spellings));
        for (name, (_, value)) in names.iter().zip(fields.iter()) {
            let added = header_name(name).and_then(|parsed| {
                headers.judge(self.rules, name, value.shape());
                match rendered(value, self.rules, budget)? {
                    Some(value) => headers.add(&parsed, value),
                    None => Ok(()),
                }
            });
            added.map_err(|kind| MappingError::from(kind).under(name))?;
        }
        Ok(headers)
    }
}

/// A header's value where it is the same for every event.
enum Constant {
    /// It is not.
    No,
    /// There is none.
    LeftOut,
    Value(HeaderValue),
}

fn of_node(node: &Node, rules: &RequestRules) -> Result<Constant, String> {
    let is_scalar = rules.header_values == HeaderValueRule::Scalar;
    if is_scalar && node.gives_structure() {
        return Err("should be a string, or a directive that gives one".to_owned());
    }
    let Node::Fixed(value) = node else { return Ok(Constant::No) };
    match rendered(View::Value(value), rules, &mut Budget::new()) {
        Ok(Some(value)) => Ok(Constant::Value(value)),
        Ok(None) => Ok(Constant::LeftOut),
        Err(ErrorKind::HeaderText) => {
            Err("a header's value should be printable ASCII without line breaks".to_owned())
        }
        Err(kind) => Err(kind.to_string()),
    }
}

/// A header's value; none: it is left out.
fn rendered(
    value: View<'_>,
    rules: &RequestRules,
    budget: &mut Budget,
) -> Result<Option<HeaderValue>, ErrorKind> {
    let is_scalar = rules.header_values == HeaderValueRule::Scalar;
    let value = match value.shape() {
        Shape::Missing => return Ok(None),
        Shape::Null if is_scalar => return Ok(None),
        Shape::String(text) if !is_scalar && text.printed() == "undefined" => return Ok(None),
        Shape::String(text) => header_value(text)?,
        Shape::Number(number) => header_value(&number_text(number))?,
        Shape::Bool(bool) => HeaderValue::from_static(if bool { "true" } else { "false" }),
        other @ (Shape::Array(_) | Shape::Object(_)) if is_scalar => {
            return Err(ErrorKind::NotAHeader(other.name()));
        }
        Shape::Null | Shape::Array(_) | Shape::Object(_) => {
            let mut text = TextBuilder::new();
            to_string::push(value, &mut text, budget)?;
            header_value(&text.finish())?
        }
    };
    Ok(Some(value))
}

fn header_name(name: &str) -> Result<HeaderName, ErrorKind> {
    let parsed =
        HeaderName::from_bytes(name.as_bytes()).map_err(|_not_a_token| ErrorKind::HeaderName)?;
    if RESERVED.contains(&parsed)
        || parsed.as_str().starts_with("webhook-")
        || is_hop_by_hop(parsed.as_str())
    {
        return Err(ErrorKind::HeaderReserved);
    }
    Ok(parsed)
}

fn name_fault(name: &str, kind: ErrorKind) -> String {
    if kind == ErrorKind::HeaderReserved {
        return format!("{name} is set by Postrider and cannot be overridden");
    }
    format!("{name:?} is not a header name")
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
