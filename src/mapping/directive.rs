//! Compiled directives and their evaluation for one event. Their syntax is in `compile`.

use url::Url;

use super::budget::{Budget, MAX_BODY, SLOT};
use super::error::{ErrorKind, MappingError};
use super::objects::{self, Flattening};
use super::path::Path;
use super::print;
use super::replace::{Replacement, change_case};
use super::template::Template;
use super::to_string;
use super::url_template;
use super::value::{Computed, Shape, View};
use crate::domain::mapping::UrlValues;
use crate::json::{self, Object, Text, Value, number_text};

/// What `@transform` applies to when the payload is missing, as in Segment.
const NO_FIELDS: &Value<'static> = &Value::Object(Object::new());
/// The size of a byte of JSON text once it is parsed, at most.
const PARSED: usize = 16;

/// A compiled part of a mapping.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// Nothing, for every event.
    Missing,
    /// The same value for every event.
    Fixed(Value<'static>),
    Object(Object<'static, Node>),
    Array(Vec<Node>),
    Path(Path),
    /// A path that a directive gives.
    PathFrom(Box<Node>),
    Template(Template),
    /// A template that a directive gives.
    TemplateFrom(Box<Node>, Option<UrlValues>),
    If(Box<Condition>),
    /// A function of one value.
    Change {
        of: Box<Node>,
        by: Change,
    },
    ArrayPath {
        root: Box<Node>,
        shape: Option<Box<Node>>,
    },
    /// In the order in which later ones win.
    Merge(Vec<Node>),
    Transform {
        apply: Box<Node>,
        mapping: Box<Node>,
    },
}

/// The directives that are functions of one value.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Case { upper: bool },
    Replace(Vec<Replacement>),
    Encode,
    Decode,
    Flatten(Flattening),
    ExcludeWhenNull,
}

/// `@if`.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    pub(super) subject: Node,
    /// Whether blank values count as missing: `blank` instead of `exists`.
    pub(super) unless_blank: bool,
    pub(super) then: Node,
    pub(super) otherwise: Node,
}

impl Node {
    /// Whether it gives a value that is not text for every event.
    pub(super) const fn gives_structure(&self) -> bool {
        match self {
            Self::Fixed(value) => !matches!(value, Value::String(_)),
            Self::Object(_) | Self::Array(_) => true,
            Self::Missing
            | Self::Path(_)
            | Self::PathFrom(_)
            | Self::Template(_)
            | Self::TemplateFrom(..)
            | Self::If(_)
            | Self::Change { .. }
            | Self::ArrayPath { .. }
            | Self::Merge(_)
            | Self::Transform { .. } => false,
        }
    }

    /// The origins of the URLs that it gives, where the mapping alone decides on them; none where the
    /// event does.
    pub(super) fn literal_origins(&self) -> Option<Vec<Url>> {
        match self {
            Self::Missing => Some(Vec::new()),
            Self::Fixed(Value::String(text)) => Some(vec![Url::parse(&text.plain()).ok()?]),
            Self::Template(template) => {
                url_template::literal_origin(&template.literal_start()).map(|url| vec![url])
            }
            Self::If(condition) => {
                let mut origins = condition.then.literal_origins()?;
                origins.extend(condition.otherwise.literal_origins()?);
                Some(origins)
            }
            Self::Change { of, by: Change::ExcludeWhenNull } => of.literal_origins(),
            Self::Fixed(_)
            | Self::Object(_)
            | Self::Array(_)
            | Self::Path(_)
            | Self::PathFrom(_)
            | Self::TemplateFrom(..)
            | Self::Change { .. }
            | Self::ArrayPath { .. }
            | Self::Merge(_)
            | Self::Transform { .. } => None,
        }
    }

    /// The value for a payload: the event, or what `@transform` or `@arrayPath` apply it to.
    pub(super) fn evaluate<'v>(
        &'v self,
        payload: View<'v>,
        budget: &mut Budget,
    ) -> Result<Computed<'v>, MappingError> {
        match self {
            Self::Missing => Ok(Computed::MISSING),
            Self::Fixed(value) => Ok(Computed::View(View::Value(value))),
            Self::Object(object) => {
                budget.take(SLOT * object.len())?;
                let fields = object.try_map(|key, node| {
                    let inner = node.evaluate(payload, budget);
                    inner.map_err(|error| error.under(&key.plain()))
                });
                fields.map(Computed::Object)
            }
            Self::Array(items) => {
                budget.take(SLOT * items.len())?;
                let items = items.iter().enumerate().map(|(index, node)| {
                    let inner = node.evaluate(payload, budget);
                    inner.map_err(|error| error.under_index(index))
                });
                items.collect::<Result<_, _>>().map(Computed::Array)
            }
            Self::Path(path) => Ok(path.walk(payload)),
            Self::PathFrom(text) => {
                let path = text_of("@path", text.evaluate(payload, budget)?)?;
                Ok(Path::parse(&path.plain()).walk(payload))
            }
            Self::Template(template) => Ok(string(template.fill(payload, budget)?)),
            Self::TemplateFrom(text, url) => {
                let template = text_of("@template", text.evaluate(payload, budget)?)?;
                Ok(string(Template::compile(&template, *url).fill(payload, budget)?))
            }
            Self::If(condition) => condition.evaluate(payload, budget),
            Self::Change { of, by } => {
                let value = of.evaluate(payload, budget)?;
                Ok(by.apply(value, budget)?)
            }
            Self::ArrayPath { root, shape } => array_path(root, shape.as_deref(), payload, budget),
            Self::Merge(objects) => {
                let sources = objects.iter().map(|node| node.evaluate(payload, budget));
                let sources = sources.collect::<Result<_, _>>()?;
                Ok(objects::merge(sources, budget)?)
            }
            Self::Transform { apply, mapping } => {
                let payload = match payload.shape() {
                    Shape::Object(_) => payload,
                    Shape::Missing => View::Value(NO_FIELDS),
                    other @ (Shape::Null
                    | Shape::Bool(_)
                    | Shape::Number(_)
                    | Shape::String(_)
                    | Shape::Array(_)) => return Err(ErrorKind::NotApplicable(other.name()).into()),
                };
                let applied = apply.evaluate(payload, budget)?;
                let value = mapping.evaluate(applied.view(), budget)?;
                Ok(objects::copy(value.view(), 0, budget)?)
            }
        }
    }
}

impl Change {
    fn apply<'v>(
        &self,
        value: Computed<'v>,
        budget: &mut Budget,
    ) -> Result<Computed<'v>, ErrorKind> {
        match self {
            Self::Case { upper } => {
                let Shape::String(text) = value.view().shape() else { return Ok(value) };
                budget.take(text.printed().len())?;
                Ok(string(change_case(text, *upper)))
            }
            Self::Replace(replacements) => replace(value.view(), replacements, budget),
            Self::Encode => encode(value.view(), budget),
            Self::Decode => decode(value, budget),
            Self::Flatten(flattening) => match value {
                Computed::View(view) => flattening.apply(view, budget),
                value @ (Computed::Value(_) | Computed::Array(_) | Computed::Object(_)) => {
                    let flat = flattening.apply(value.view(), budget)?;
                    objects::copy(flat.view(), 0, budget)
                }
            },
            Self::ExcludeWhenNull if value.view().exists() => {
                objects::without_nulls(value, 0, budget)
            }
            Self::ExcludeWhenNull => Ok(Computed::MISSING),
        }
    }
}

impl Condition {
    fn evaluate<'v>(
        &'v self,
        payload: View<'v>,
        budget: &mut Budget,
    ) -> Result<Computed<'v>, MappingError> {
        let subject = self.subject.evaluate(payload, budget)?;
        let holds = if self.unless_blank {
            !to_string::is_blank(subject.view(), budget)?
        } else {
            subject.view().exists()
        };
        let branch = if holds { &self.then } else { &self.otherwise };
        branch.evaluate(payload, budget)
    }
}

const fn string<'v>(text: Text<'static>) -> Computed<'v> {
    Computed::Value(Value::String(text))
}

fn text_of(directive: &'static str, value: Computed<'_>) -> Result<Text<'static>, ErrorKind> {
    let shape = value.view().shape();
    let Shape::String(text) = shape else {
        return Err(ErrorKind::NotText { directive, given: shape.name() });
    };
    Ok(text.clone().into_owned())
}

fn replace<'v>(
    value: View<'_>,
    replacements: &[Replacement],
    budget: &mut Budget,
) -> Result<Computed<'v>, ErrorKind> {
    let units = match value.shape() {
        Shape::String(text) => text.units(),
        Shape::Number(number) => number_text(number).units(),
        Shape::Bool(bool) => Text::from_plain(if bool { "true" } else { "false" }).units(),
        Shape::Missing | Shape::Null | Shape::Array(_) | Shape::Object(_) => Vec::new(),
    };
    let mut replaced = units;
    for replacement in replacements {
        replaced = replacement.apply(&replaced, budget)?;
    }
    Ok(string(Text::from_units(&replaced)))
}

fn encode<'v>(value: View<'_>, budget: &mut Budget) -> Result<Computed<'v>, ErrorKind> {
    if matches!(value.shape(), Shape::Missing) {
        return Ok(Computed::MISSING);
    }
    let printed = print::print(value, MAX_BODY)?;
    budget.take(2 * printed.len())?;
    // JSON text is UTF-8.
    Ok(string(Text::from(String::from_utf8(printed).unwrap_or_default())))
}

/// Text that is not JSON, or is nested too deep, stays what it is.
fn decode<'v>(value: Computed<'v>, budget: &mut Budget) -> Result<Computed<'v>, ErrorKind> {
    let Shape::String(text) = value.view().shape() else { return Ok(value) };
    budget.take(PARSED * text.printed().len())?;
    let json = with_escaped_surrogates(text);
    match json::parse(json.as_bytes()) {
        Ok(parsed) => Ok(Computed::Value(parsed.into_owned())),
        Err(_) => Ok(value),
    }
}

/// The text with its lone surrogates as JSON escapes: a Rust string cannot hold them.
fn with_escaped_surrogates(text: &Text<'_>) -> String {
    if !text.printed().contains("\\ud") {
        return text.plain().into_owned();
    }
    let chars = char::decode_utf16(text.units()).map(|char| match char {
        Ok(char) => char.to_string(),
        Err(lone) => format!("\\u{:04x}", lone.unpaired_surrogate()),
    });
    chars.collect()
}

fn array_path<'v>(
    root: &'v Node,
    shape: Option<&'v Node>,
    payload: View<'v>,
    budget: &mut Budget,
) -> Result<Computed<'v>, MappingError> {
    let root = root.evaluate(payload, budget)?;
    let Some(shape) = shape else { return Ok(root) };
    match root {
        Computed::View(view) => each_item(view, shape, budget, |value, _| Ok(value)),
        value @ (Computed::Value(_) | Computed::Array(_) | Computed::Object(_)) => {
            // The items live as long as this call: values that refer to them are copied.
            let keep =
                |value: Computed<'_>, budget: &mut Budget| objects::copy(value.view(), 0, budget);
            each_item(value.view(), shape, budget, keep)
        }
    }
}

fn each_item<'i, 'v>(
    root: View<'i>,
    shape: &'i Node,
    budget: &mut Budget,
    keep: impl Fn(Computed<'i>, &mut Budget) -> Result<Computed<'v>, ErrorKind>,
) -> Result<Computed<'v>, MappingError> {
    if let Shape::Object(_) = root.shape() {
        let value = shape.evaluate(root, budget)?;
        return Ok(Computed::Array(vec![keep(value, budget)?]));
    }
    let Shape::Array(items) = root.shape() else { return Ok(keep(Computed::View(root), budget)?) };
    let mut values = Vec::with_capacity(items.len());
    for item in items.iter() {
        budget.take(SLOT)?;
        let shaped = shape.evaluate(item, budget)?;
        values.push(keep(shaped, budget)?);
    }
    Ok(Computed::Array(values))
}
