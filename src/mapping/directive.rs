//! Directives ready to run, and their evaluation for one event. What they look at and refer to is
//! theirs; how they are written and what is refused is `compile`'s.

use super::error::{Allowance, MAX_BODY, Misfit, Why};
use super::path::Path;
use super::print;
use super::replace::{Swap, change_case};
use super::reshape::{self, Flattening};
use super::template::Template;
use super::value::{Made, Shape, View};
use super::words;
use crate::json::{self, Object, Text, Value, number_text};

/// What an item takes, about.
const SLOT: usize = 96;
/// What `@transform` applies to where there is nothing, as in Segment.
const NO_FIELDS: &Value<'static> = &Value::Object(Object::new());
/// What a byte of JSON text takes when it is read, at most.
const PARSED: usize = 16;

/// A part of a mapping.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// Nothing, whatever the event.
    Missing,
    /// The same value, whatever the event.
    Fixed(Value<'static>),
    Object(Object<'static, Node>),
    Array(Vec<Node>),
    Path(Path),
    /// A path that comes from a directive itself.
    PathFrom(Box<Node>),
    Template(Template),
    /// A template that comes from a directive itself.
    TemplateFrom(Box<Node>),
    If(Box<Condition>),
    /// One value made of another.
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

/// The directives that make one value of another.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Case { upper: bool },
    Replace(Vec<Swap>),
    Encode,
    Decode,
    Flatten(Flattening),
    ExcludeWhenNull,
}

/// `@if`.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    pub(super) subject: Node,
    /// Whether blank values count as absent: `blank`, and not `exists`.
    pub(super) unless_blank: bool,
    pub(super) then: Node,
    pub(super) otherwise: Node,
}

impl Node {
    /// Whether it gives something that is no text, whatever the event.
    pub(super) const fn gives_structure(&self) -> bool {
        match self {
            Self::Fixed(value) => !matches!(value, Value::String(_)),
            Self::Object(_) | Self::Array(_) => true,
            Self::Missing
            | Self::Path(_)
            | Self::PathFrom(_)
            | Self::Template(_)
            | Self::TemplateFrom(_)
            | Self::If(_)
            | Self::Change { .. }
            | Self::ArrayPath { .. }
            | Self::Merge(_)
            | Self::Transform { .. } => false,
        }
    }

    /// What the part gives for a payload: the event, or what `@transform` or `@arrayPath` put in
    /// its place.
    pub(super) fn evaluate<'v>(
        &'v self,
        payload: View<'v>,
        allowance: &mut Allowance,
    ) -> Result<Made<'v>, Misfit> {
        match self {
            Self::Missing => Ok(Made::MISSING),
            Self::Fixed(value) => Ok(Made::View(View::Value(value))),
            Self::Object(object) => {
                allowance.take(SLOT * object.len())?;
                let made = object.try_map(|key, node| {
                    let inner = node.evaluate(payload, allowance);
                    inner.map_err(|misfit| misfit.under(&key.plain()))
                });
                made.map(Made::Object)
            }
            Self::Array(items) => {
                allowance.take(SLOT * items.len())?;
                let items = items.iter().enumerate().map(|(index, node)| {
                    let inner = node.evaluate(payload, allowance);
                    inner.map_err(|misfit| misfit.under_index(index))
                });
                items.collect::<Result<_, _>>().map(Made::Array)
            }
            Self::Path(path) => Ok(path.walk(payload)),
            Self::PathFrom(text) => {
                let path = text_of("@path", text.evaluate(payload, allowance)?)?;
                Ok(Path::parse(&path.plain()).walk(payload))
            }
            Self::Template(template) => Ok(string(template.fill(payload, allowance)?)),
            Self::TemplateFrom(text) => {
                let template = text_of("@template", text.evaluate(payload, allowance)?)?;
                Ok(string(Template::compile(&template).fill(payload, allowance)?))
            }
            Self::If(condition) => condition.evaluate(payload, allowance),
            Self::Change { of, by } => {
                let made = of.evaluate(payload, allowance)?;
                Ok(by.apply(made, allowance)?)
            }
            Self::ArrayPath { root, shape } => {
                array_path(root, shape.as_deref(), payload, allowance)
            }
            Self::Merge(objects) => {
                let sources = objects.iter().map(|node| node.evaluate(payload, allowance));
                let sources = sources.collect::<Result<_, _>>()?;
                Ok(reshape::merge(sources, allowance)?)
            }
            Self::Transform { apply, mapping } => {
                let payload = match payload.shape() {
                    Shape::Object(_) => payload,
                    Shape::Missing => View::Value(NO_FIELDS),
                    other @ (Shape::Null
                    | Shape::Bool(_)
                    | Shape::Number(_)
                    | Shape::String(_)
                    | Shape::Array(_)) => return Err(Why::NotApplicable(other.name()).into()),
                };
                let applied = apply.evaluate(payload, allowance)?;
                let made = mapping.evaluate(applied.view(), allowance)?;
                Ok(reshape::copy(made.view(), 0, allowance)?)
            }
        }
    }
}

impl Change {
    fn apply<'v>(&self, made: Made<'v>, allowance: &mut Allowance) -> Result<Made<'v>, Why> {
        match self {
            Self::Case { upper } => {
                let Shape::String(text) = made.view().shape() else { return Ok(made) };
                allowance.take(text.printed().len())?;
                Ok(string(change_case(text, *upper)))
            }
            Self::Replace(swaps) => replace(made.view(), swaps, allowance),
            Self::Encode => encode(made.view(), allowance),
            Self::Decode => decode(made, allowance),
            Self::Flatten(flattening) => match made {
                Made::View(view) => flattening.apply(view, allowance),
                made @ (Made::Value(_) | Made::Array(_) | Made::Object(_)) => {
                    let flat = flattening.apply(made.view(), allowance)?;
                    reshape::copy(flat.view(), 0, allowance)
                }
            },
            Self::ExcludeWhenNull if made.view().exists() => {
                reshape::without_nulls(made, 0, allowance)
            }
            Self::ExcludeWhenNull => Ok(Made::MISSING),
        }
    }
}

impl Condition {
    fn evaluate<'v>(
        &'v self,
        payload: View<'v>,
        allowance: &mut Allowance,
    ) -> Result<Made<'v>, Misfit> {
        let subject = self.subject.evaluate(payload, allowance)?;
        let holds = if self.unless_blank {
            !words::is_blank(subject.view(), allowance)?
        } else {
            subject.view().exists()
        };
        let branch = if holds { &self.then } else { &self.otherwise };
        branch.evaluate(payload, allowance)
    }
}

const fn string<'v>(text: Text<'static>) -> Made<'v> {
    Made::Value(Value::String(text))
}

fn text_of(directive: &'static str, made: Made<'_>) -> Result<Text<'static>, Why> {
    let shape = made.view().shape();
    let Shape::String(text) = shape else {
        return Err(Why::NotText { directive, given: shape.name() });
    };
    Ok(text.clone().into_owned())
}

fn replace<'v>(
    value: View<'_>,
    swaps: &[Swap],
    allowance: &mut Allowance,
) -> Result<Made<'v>, Why> {
    let units = match value.shape() {
        Shape::String(text) => text.units(),
        Shape::Number(number) => number_text(number).units(),
        Shape::Bool(bool) => Text::from_plain(if bool { "true" } else { "false" }).units(),
        Shape::Missing | Shape::Null | Shape::Array(_) | Shape::Object(_) => Vec::new(),
    };
    let mut replaced = units;
    for swap in swaps {
        replaced = swap.apply(&replaced, allowance)?;
    }
    Ok(string(Text::from_units(&replaced)))
}

fn encode<'v>(value: View<'_>, allowance: &mut Allowance) -> Result<Made<'v>, Why> {
    if matches!(value.shape(), Shape::Missing) {
        return Ok(Made::MISSING);
    }
    let printed = print::print(value, MAX_BODY)?;
    allowance.take(2 * printed.len())?;
    // What is printed is UTF-8.
    Ok(string(Text::from(String::from_utf8(printed).unwrap_or_default())))
}

/// Text that is not JSON stays what it is, and so does text nested deeper than we read.
fn decode<'v>(made: Made<'v>, allowance: &mut Allowance) -> Result<Made<'v>, Why> {
    let Shape::String(text) = made.view().shape() else { return Ok(made) };
    allowance.take(PARSED * text.printed().len())?;
    let json = spelled_out(text);
    match json::parse(json.as_bytes()) {
        Ok(value) => Ok(Made::Value(value.into_owned())),
        Err(_) => Ok(made),
    }
}

/// The text with its lone surrogates as JSON's escapes, which is how they can stand in JSON.
fn spelled_out(text: &Text<'_>) -> String {
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
    allowance: &mut Allowance,
) -> Result<Made<'v>, Misfit> {
    let root = root.evaluate(payload, allowance)?;
    let Some(shape) = shape else { return Ok(root) };
    match root {
        Made::View(view) => each_item(view, shape, allowance, |made, _| Ok(made)),
        made @ (Made::Value(_) | Made::Array(_) | Made::Object(_)) => {
            // The items end with this call: what refers to them is copied.
            let keep = |made: Made<'_>, allowance: &mut Allowance| {
                reshape::copy(made.view(), 0, allowance)
            };
            each_item(made.view(), shape, allowance, keep)
        }
    }
}

fn each_item<'i, 'v>(
    root: View<'i>,
    shape: &'i Node,
    allowance: &mut Allowance,
    keep: impl Fn(Made<'i>, &mut Allowance) -> Result<Made<'v>, Why>,
) -> Result<Made<'v>, Misfit> {
    if let Shape::Object(_) = root.shape() {
        let made = shape.evaluate(root, allowance)?;
        return Ok(Made::Array(vec![keep(made, allowance)?]));
    }
    let Shape::Array(items) = root.shape() else { return Ok(keep(Made::View(root), allowance)?) };
    let mut made = Vec::with_capacity(items.len());
    for item in items.iter() {
        allowance.take(SLOT)?;
        let shaped = shape.evaluate(item, allowance)?;
        made.push(keep(shaped, allowance)?);
    }
    Ok(Made::Array(made))
}
