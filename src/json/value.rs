//! Values as `JSON.parse` gives them, borrowed from the text where possible.

use std::borrow::Cow;
use std::collections::HashMap;

use super::text::Text;

/// A JSON value with JavaScript's semantics.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A double.
    Number(f64),
    /// A string.
    String(Text<'a>),
    /// An array.
    Array(Vec<Value<'a>>),
    /// An object.
    Object(Object<'a>),
}

impl Value<'_> {
    /// The string, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<Cow<'_, str>> {
        if let Value::String(text) = self { Some(text.plain()) } else { None }
    }

    /// The number, if it is one.
    #[must_use]
    pub const fn as_f64(&self) -> Option<f64> {
        if let Value::Number(number) = self { Some(*number) } else { None }
    }

    /// The boolean, if it is one.
    #[must_use]
    pub const fn as_bool(&self) -> Option<bool> {
        if let Value::Bool(bool) = self { Some(*bool) } else { None }
    }

    /// Whether it is `null`.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// An owned copy.
    #[must_use]
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Value::Null => Value::Null,
            Value::Bool(bool) => Value::Bool(bool),
            Value::Number(number) => Value::Number(number),
            Value::String(text) => Value::String(text.into_owned()),
            Value::Array(items) => Value::Array(items.into_iter().map(Value::into_owned).collect()),
            Value::Object(object) => Value::Object(Object {
                fields: object
                    .fields
                    .into_iter()
                    .map(|(key, value)| (key.into_owned(), value.into_owned()))
                    .collect(),
                indices: object.indices,
            }),
        }
    }
}

impl<'a> Value<'a> {
    /// A string value.
    pub fn string(plain: impl Into<Text<'a>>) -> Self {
        Value::String(plain.into())
    }

    /// The object, if it is one.
    #[must_use]
    pub const fn as_object(&self) -> Option<&Object<'a>> {
        if let Value::Object(object) = self { Some(object) } else { None }
    }

    /// The object, if it is one, mutable.
    pub const fn as_object_mut(&mut self) -> Option<&mut Object<'a>> {
        if let Value::Object(object) = self { Some(object) } else { None }
    }
}

/// An object's properties in JavaScript's order: array indices first, ascending, then the other keys
/// in insertion order; a repeated key replaces the value and keeps its position.
#[derive(Clone, Debug, PartialEq)]
pub struct Object<'a, V = Value<'a>> {
    fields: Vec<(Text<'a>, V)>,
    /// How many of the first fields have an array index as key.
    indices: usize,
}

/// Up to this many keys are compared pairwise; more are hashed.
const MAX_PAIRWISE: usize = 16;

impl<V> Default for Object<'_, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a, V> Object<'a, V> {
    /// An object without properties.
    #[must_use]
    pub const fn new() -> Self {
        Self { fields: Vec::new(), indices: 0 }
    }

    /// From properties in the order of a text: the last value of a key counts, at its first position.
    #[must_use]
    pub fn from_literal(fields: Vec<(Text<'a>, V)>) -> Self {
        let mut object = Self { fields, indices: 0 };
        object.keep_last_of_each_key();
        object.indices =
            object.fields.iter().filter(|(key, _)| key.array_index().is_some()).count();
        if object.indices > 0 {
            // A stable sort: other keys keep their order.
            object
                .fields
                .sort_by_key(|(key, _)| key.array_index().map_or((1, 0), |index| (0, index)));
        }
        object
    }

    fn keep_last_of_each_key(&mut self) {
        let fields = &mut self.fields;
        if fields.len() <= MAX_PAIRWISE {
            let mut at = 1;
            while at < fields.len() {
                let key = &fields[at].0;
                if let Some(first) = fields[..at].iter().position(|(other, _)| other == key) {
                    let (_, value) = fields.remove(at);
                    fields[first].1 = value;
                } else {
                    at += 1;
                }
            }
            return;
        }
        let mut positions: HashMap<Text<'a>, usize> = HashMap::with_capacity(fields.len());
        let mut kept: Vec<(Text<'a>, V)> = Vec::with_capacity(fields.len());
        for (key, value) in fields.drain(..) {
            if let Some(position) = positions.get(&key) {
                kept[*position].1 = value;
            } else {
                positions.insert(key.clone(), kept.len());
                kept.push((key, value));
            }
        }
        *fields = kept;
    }

    /// How many properties there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    fn position(&self, key: &Text<'_>) -> Option<usize> {
        self.fields.iter().position(|(other, _)| other.printed() == key.printed())
    }

    /// The value under this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&V> {
        self.get_text(&Text::from_plain(key))
    }

    /// The value under this key.
    #[must_use]
    pub fn get_text(&self, key: &Text<'_>) -> Option<&V> {
        let place = self.position(key)?;
        Some(&self.fields[place].1)
    }

    /// Sets the value of a key; an existing key keeps its position.
    pub fn insert(&mut self, key: impl Into<Text<'a>>, value: V) {
        let key = key.into();
        if let Some(place) = self.position(&key) {
            self.fields[place].1 = value;
        } else if let Some(index) = key.array_index() {
            let place = self.fields[..self.indices]
                .partition_point(|(other, _)| other.array_index() < Some(index));
            self.fields.insert(place, (key, value));
            self.indices += 1;
        } else {
            self.fields.push((key, value));
        }
    }

    /// Removes a property and returns its value.
    pub fn remove(&mut self, key: &str) -> Option<V> {
        let place = self.position(&Text::from_plain(key))?;
        self.indices -= usize::from(place < self.indices);
        Some(self.fields.remove(place).1)
    }

    /// The properties in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Text<'a>, &V)> {
        self.fields.iter().map(|(key, value)| (key, value))
    }

    /// The properties in order, owned.
    #[must_use]
    pub fn into_fields(self) -> Vec<(Text<'a>, V)> {
        self.fields
    }

    /// An object with the same keys and mapped values.
    ///
    /// # Errors
    /// The first error of `map`.
    pub fn try_map<'s, W, E>(
        &'s self,
        mut map: impl FnMut(&'s Text<'a>, &'s V) -> Result<W, E>,
    ) -> Result<Object<'s, W>, E> {
        let fields = self.fields.iter();
        let fields = fields.map(|(key, value)| Ok((key.reborrow(), map(key, value)?)));
        Ok(Object { fields: fields.collect::<Result<_, E>>()?, indices: self.indices })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{parse, to_string};

    #[test]
    fn inserting_keeps_javascripts_order() {
        let mut object = Object::new();
        for key in ["b", "10", "a", "2", "b"] {
            object.insert(key, Value::string(key));
        }
        assert_eq!(object.remove("a"), Some(Value::string("a")));
        assert_eq!(object.remove("10"), Some(Value::string("10")));
        object.insert("1", Value::Null);
        assert_eq!(to_string(&Value::Object(object)), r#"{"1":null,"2":"2","b":"b"}"#);
    }

    #[test]
    fn a_key_is_found_by_its_meaning_not_its_spelling() {
        let value = parse(br#"{"\u0061\"":1}"#).expect("valid");
        assert_eq!(value.as_object().and_then(|it| it.get("a\"")), Some(&Value::Number(1.0)));
    }
}
