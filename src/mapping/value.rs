//! Values while a mapping is evaluated: parts of the event are looked at where they lie, and what is
//! made refers to them. `Missing` is JavaScript's `undefined`, which JSON does not have.

use crate::json::{Object, Text, Value};

/// A value that lies somewhere: in the event, in the mapping, or in what a directive made.
#[derive(Clone, Copy, Debug)]
pub(super) enum View<'v> {
    /// There is none.
    Missing,
    /// In the event or in the mapping.
    Value(&'v Value<'v>),
    /// In what a directive made.
    Made(&'v Made<'v>),
}

/// A value that a directive made.
#[derive(Clone, Debug)]
pub(super) enum Made<'v> {
    /// What lies there.
    View(View<'v>),
    /// A value of its own.
    Value(Value<'v>),
    /// An array.
    Array(Vec<Made<'v>>),
    /// An object; its missing fields are left out when it is printed.
    Object(Object<'v, Made<'v>>),
}

/// What a value is, wherever it lies.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape<'v> {
    Missing,
    Null,
    Bool(bool),
    Number(f64),
    String(&'v Text<'v>),
    Array(Items<'v>),
    Object(Fields<'v>),
}

/// The items of an array.
#[derive(Clone, Copy, Debug)]
pub(super) enum Items<'v> {
    Values(&'v [Value<'v>]),
    Made(&'v [Made<'v>]),
}

/// The fields of an object.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fields<'v> {
    Values(&'v Object<'v>),
    Made(&'v Object<'v, Made<'v>>),
}

impl Made<'_> {
    /// What is not there.
    pub(super) const MISSING: Self = Made::View(View::Missing);

    /// A look at it.
    pub(super) const fn view(&self) -> View<'_> {
        match self {
            Made::View(view) => *view,
            Made::Value(value) => View::Value(value),
            Made::Array(_) | Made::Object(_) => View::Made(self),
        }
    }
}

impl<'v> View<'v> {
    /// What it is.
    pub(super) const fn shape(self) -> Shape<'v> {
        let mut view = self;
        loop {
            match view {
                View::Missing => return Shape::Missing,
                View::Value(value) => return Shape::of(value),
                View::Made(Made::View(inner)) => view = *inner,
                View::Made(Made::Value(value)) => return Shape::of(value),
                View::Made(Made::Array(items)) => {
                    return Shape::Array(Items::Made(items.as_slice()));
                }
                View::Made(Made::Object(object)) => return Shape::Object(Fields::Made(object)),
            }
        }
    }

    /// Whether JavaScript takes it for true.
    pub(super) fn is_truthy(self) -> bool {
        match self.shape() {
            Shape::Missing | Shape::Null => false,
            Shape::Bool(bool) => bool,
            Shape::Number(number) => number != 0.0,
            Shape::String(text) => !text.printed().is_empty(),
            Shape::Array(_) | Shape::Object(_) => true,
        }
    }

    /// Whether it is neither missing nor null.
    pub(super) const fn exists(self) -> bool {
        !matches!(self.shape(), Shape::Missing | Shape::Null)
    }
}

impl<'v> Shape<'v> {
    const fn of(value: &'v Value<'v>) -> Self {
        match value {
            Value::Null => Shape::Null,
            Value::Bool(bool) => Shape::Bool(*bool),
            Value::Number(number) => Shape::Number(*number),
            Value::String(text) => Shape::String(text),
            Value::Array(items) => Shape::Array(Items::Values(items.as_slice())),
            Value::Object(object) => Shape::Object(Fields::Values(object)),
        }
    }

    /// What to call it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Shape::Missing => "nothing",
            Shape::Null => "null",
            Shape::Bool(_) => "a boolean",
            Shape::Number(_) => "a number",
            Shape::String(_) => "a string",
            Shape::Array(_) => "an array",
            Shape::Object(_) => "an object",
        }
    }
}

impl<'v> Items<'v> {
    pub(super) const fn len(self) -> usize {
        match self {
            Items::Values(items) => items.len(),
            Items::Made(items) => items.len(),
        }
    }

    /// The item at an index; missing, where there is none.
    pub(super) fn get(self, index: usize) -> View<'v> {
        match self {
            Items::Values(items) => items.get(index).map_or(View::Missing, View::Value),
            Items::Made(items) => items.get(index).map_or(View::Missing, Made::view),
        }
    }

    pub(super) fn iter(self) -> impl Iterator<Item = View<'v>> {
        (0..self.len()).map(move |index| self.get(index))
    }
}

impl<'v> Fields<'v> {
    pub(super) const fn len(self) -> usize {
        match self {
            Fields::Values(object) => object.len(),
            Fields::Made(object) => object.len(),
        }
    }

    /// The value of a key; missing, where there is none.
    pub(super) fn get(self, key: &Text<'_>) -> View<'v> {
        match self {
            Fields::Values(object) => object.get_text(key).map_or(View::Missing, View::Value),
            Fields::Made(object) => object.get_text(key).map_or(View::Missing, Made::view),
        }
    }

    /// Keys and values in order; a value may be missing.
    pub(super) fn iter(self) -> impl Iterator<Item = (&'v Text<'v>, View<'v>)> {
        let (values, made) = match self {
            Fields::Values(object) => (Some(object.iter()), None),
            Fields::Made(object) => (None, Some(object.iter())),
        };
        let values = values.into_iter().flatten().map(|(key, value)| (key, View::Value(value)));
        values.chain(made.into_iter().flatten().map(|(key, made)| (key, made.view())))
    }
}
