//! Values while a mapping is evaluated: views of the event, and computed values that borrow from it.
//! `Missing` is JavaScript's `undefined`, which JSON does not have.

use crate::json::{Object, Text, Value};

/// A borrowed value: in the event, in the mapping, or in a computed value.
#[derive(Clone, Copy, Debug)]
pub(super) enum View<'v> {
    /// No value.
    Missing,
    /// In the event or in the mapping.
    Value(&'v Value<'v>),
    /// In a computed value.
    Computed(&'v Computed<'v>),
}

/// The value that a directive gives.
#[derive(Clone, Debug)]
pub(super) enum Computed<'v> {
    /// A borrowed value.
    View(View<'v>),
    /// An owned value.
    Value(Value<'v>),
    /// An array.
    Array(Vec<Computed<'v>>),
    /// An object; its missing fields are not printed.
    Object(Object<'v, Computed<'v>>),
}

/// A value by its type, wherever it is stored.
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
    Computed(&'v [Computed<'v>]),
}

/// The fields of an object.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fields<'v> {
    Values(&'v Object<'v>),
    Computed(&'v Object<'v, Computed<'v>>),
}

impl Computed<'_> {
    /// No value.
    pub(super) const MISSING: Self = Computed::View(View::Missing);

    /// Borrows it.
    pub(super) const fn view(&self) -> View<'_> {
        match self {
            Computed::View(view) => *view,
            Computed::Value(value) => View::Value(value),
            Computed::Array(_) | Computed::Object(_) => View::Computed(self),
        }
    }
}

impl<'v> View<'v> {
    /// The value by its type.
    pub(super) const fn shape(self) -> Shape<'v> {
        let mut view = self;
        loop {
            match view {
                View::Missing => return Shape::Missing,
                View::Value(value) => return Shape::of(value),
                View::Computed(Computed::View(inner)) => view = *inner,
                View::Computed(Computed::Value(value)) => return Shape::of(value),
                View::Computed(Computed::Array(items)) => {
                    return Shape::Array(Items::Computed(items.as_slice()));
                }
                View::Computed(Computed::Object(object)) => {
                    return Shape::Object(Fields::Computed(object));
                }
            }
        }
    }

    /// Whether it is truthy in JavaScript.
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

    /// Its type, for error messages.
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
            Items::Computed(items) => items.len(),
        }
    }

    /// The item at an index, or missing.
    pub(super) fn get(self, index: usize) -> View<'v> {
        match self {
            Items::Values(items) => items.get(index).map_or(View::Missing, View::Value),
            Items::Computed(items) => items.get(index).map_or(View::Missing, Computed::view),
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
            Fields::Computed(object) => object.len(),
        }
    }

    /// The value of a key, or missing.
    pub(super) fn get(self, key: &Text<'_>) -> View<'v> {
        match self {
            Fields::Values(object) => object.get_text(key).map_or(View::Missing, View::Value),
            Fields::Computed(object) => object.get_text(key).map_or(View::Missing, Computed::view),
        }
    }

    /// Keys and values in order; a value may be missing.
    pub(super) fn iter(self) -> impl Iterator<Item = (&'v Text<'v>, View<'v>)> {
        let (values, computed) = match self {
            Fields::Values(object) => (Some(object.iter()), None),
            Fields::Computed(object) => (None, Some(object.iter())),
        };
        let values = values.into_iter().flatten().map(|(key, value)| (key, View::Value(value)));
        values.chain(computed.into_iter().flatten().map(|(key, computed)| (key, computed.view())))
    }
}
