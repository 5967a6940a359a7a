//! Values made from whole values: merged, flattened, without nulls, copied. What is made refers to
//! what it is made from wherever that outlives it.

use super::error::{Allowance, MAX_DEPTH, Why};
use super::value::{Fields, Made, Shape, View};
use crate::json::{Object, Text, TextBuilder, Value};

/// What a field or an item takes, about.
const SLOT: usize = 96;

/// `Object.assign({}, ...)`: later sources win, and a key stays where it came first. Strings and
/// arrays give their items under their indices; what has none gives nothing.
pub(super) fn merge<'v>(
    sources: Vec<Made<'v>>,
    allowance: &mut Allowance,
) -> Result<Made<'v>, Why> {
    let mut fields: Vec<(Text<'v>, Made<'v>)> = Vec::new();
    for source in sources {
        match source {
            Made::Object(object) => {
                allowance.take(SLOT * object.len())?;
                fields.extend(object.into_fields());
            }
            Made::Array(items) => {
                allowance.take(SLOT * items.len())?;
                fields.extend(items.into_iter().enumerate().map(|(at, item)| (index(at), item)));
            }
            Made::View(view) => spread(view, &mut fields, allowance)?,
            Made::Value(value) => {
                let mut own = Vec::new();
                spread(View::Value(&value), &mut own, allowance)?;
                for (key, made) in own {
                    fields.push((key.into_owned(), copy(made.view(), 0, allowance)?));
                }
            }
        }
    }
    Ok(Made::Object(Object::from_literal(fields)))
}

fn spread<'v>(
    source: View<'v>,
    fields: &mut Vec<(Text<'v>, Made<'v>)>,
    allowance: &mut Allowance,
) -> Result<(), Why> {
    match source.shape() {
        Shape::Object(own) => {
            allowance.take(SLOT * own.len())?;
            fields.extend(own.iter().map(|(key, view)| (key.reborrow(), Made::View(view))));
        }
        Shape::Array(items) => {
            allowance.take(SLOT * items.len())?;
            let items = items.iter().enumerate();
            fields.extend(items.map(|(at, view)| (index(at), Made::View(view))));
        }
        Shape::String(text) => {
            let units = text.units();
            allowance.take(2 * SLOT * units.len())?;
            let units = units.iter().enumerate();
            fields.extend(units.map(|(at, unit)| {
                (index(at), Made::Value(Value::String(Text::from_units(&[*unit]))))
            }));
        }
        Shape::Missing | Shape::Null | Shape::Bool(_) | Shape::Number(_) => {}
    }
    Ok(())
}

fn index(at: usize) -> Text<'static> {
    Text::from(at.to_string())
}

/// How `@flatten` joins keys, and whether it stops at arrays.
#[derive(Clone, Debug)]
pub(super) struct Flattening {
    pub(super) separator: Text<'static>,
    pub(super) omit_arrays: bool,
}

impl Flattening {
    /// One level of fields, the keys on the way joined. What is no object is under the empty key.
    pub(super) fn apply<'v>(
        &self,
        value: View<'v>,
        allowance: &mut Allowance,
    ) -> Result<Made<'v>, Why> {
        let mut fields = Vec::new();
        self.collect(value, &Text::from_plain(""), 0, &mut fields, allowance)?;
        Ok(Made::Object(Object::from_literal(fields)))
    }

    fn collect<'v>(
        &self,
        value: View<'v>,
        prefix: &Text<'static>,
        depth: usize,
        fields: &mut Vec<(Text<'v>, Made<'v>)>,
        allowance: &mut Allowance,
    ) -> Result<(), Why> {
        if depth > MAX_DEPTH {
            return Err(Why::TooDeep);
        }
        allowance.take(SLOT + prefix.printed().len())?;
        match value.shape() {
            Shape::Object(own) => {
                for (key, inner) in own.iter() {
                    let key = self.join(prefix, key);
                    self.collect(inner, &key, depth + 1, fields, allowance)?;
                }
            }
            Shape::Array(items) if !self.omit_arrays => {
                for (at, inner) in items.iter().enumerate() {
                    let key = self.join(prefix, &index(at));
                    self.collect(inner, &key, depth + 1, fields, allowance)?;
                }
            }
            Shape::Missing
            | Shape::Null
            | Shape::Bool(_)
            | Shape::Number(_)
            | Shape::String(_)
            | Shape::Array(_) => fields.push((prefix.clone(), Made::View(value))),
        }
        Ok(())
    }

    fn join(&self, prefix: &Text<'_>, key: &Text<'_>) -> Text<'static> {
        let mut joined = TextBuilder::new();
        if !prefix.printed().is_empty() {
            joined.push(prefix);
            joined.push(&self.separator);
        }
        joined.push(key);
        joined.finish()
    }
}

/// Without null fields, also in objects within objects; what stands in arrays stays.
pub(super) fn without_nulls<'v>(
    made: Made<'v>,
    depth: usize,
    allowance: &mut Allowance,
) -> Result<Made<'v>, Why> {
    match made {
        Made::View(view) => seen_without_nulls(view, depth, allowance),
        Made::Value(value @ Value::Object(_)) => {
            let copied = copy(View::Value(&value), depth, allowance)?;
            without_nulls(copied, depth, allowance)
        }
        Made::Object(object) => {
            let fields = object.into_fields().into_iter().map(|(key, made)| {
                let exists = made.view().exists();
                let made =
                    if exists { without_nulls(made, depth + 1, allowance)? } else { Made::MISSING };
                Ok((key, made))
            });
            Ok(Made::Object(Object::from_literal(fields.collect::<Result<_, Why>>()?)))
        }
        Made::Value(_) | Made::Array(_) => Ok(made),
    }
}

fn seen_without_nulls<'v>(
    value: View<'v>,
    depth: usize,
    allowance: &mut Allowance,
) -> Result<Made<'v>, Why> {
    let Shape::Object(fields) = value.shape() else { return Ok(Made::View(value)) };
    if depth > MAX_DEPTH {
        return Err(Why::TooDeep);
    }
    allowance.take(SLOT * fields.len())?;
    let clean = |view: View<'v>, allowance: &mut Allowance| {
        if view.exists() {
            seen_without_nulls(view, depth + 1, allowance)
        } else {
            Ok(Made::MISSING)
        }
    };
    Ok(Made::Object(match fields {
        Fields::Values(object) => {
            object.try_map(|_, value| clean(View::Value(value), allowance))?
        }
        Fields::Made(object) => object.try_map(|_, made| clean(made.view(), allowance))?,
    }))
}

/// A copy that refers to nothing.
pub(super) fn copy(
    value: View<'_>,
    depth: usize,
    allowance: &mut Allowance,
) -> Result<Made<'static>, Why> {
    if depth > MAX_DEPTH {
        return Err(Why::TooDeep);
    }
    allowance.take(SLOT)?;
    Ok(match value.shape() {
        Shape::Missing => Made::MISSING,
        Shape::Null => Made::Value(Value::Null),
        Shape::Bool(bool) => Made::Value(Value::Bool(bool)),
        Shape::Number(number) => Made::Value(Value::Number(number)),
        Shape::String(text) => {
            allowance.take(text.printed().len())?;
            Made::Value(Value::String(text.clone().into_owned()))
        }
        Shape::Array(items) => {
            let items = items.iter().map(|item| copy(item, depth + 1, allowance));
            Made::Array(items.collect::<Result<_, _>>()?)
        }
        Shape::Object(fields) => {
            let mut copied = Vec::with_capacity(fields.len());
            for (key, field) in fields.iter() {
                allowance.take(key.printed().len())?;
                copied.push((key.clone().into_owned(), copy(field, depth + 1, allowance)?));
            }
            Made::Object(Object::from_literal(copied))
        }
    })
}
