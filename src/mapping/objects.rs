//! Operations on whole values: merge, flatten, remove nulls, copy. The result borrows from its sources
//! where they outlive it.

use super::budget::{Budget, MAX_DEPTH, SLOT};
use super::error::ErrorKind;
use super::value::{Computed, Fields, Shape, View};
use crate::json::{Object, Text, TextBuilder, Value};

/// `Object.assign({}, ...)`: later sources win, and a key keeps its first position. Strings and arrays
/// give their items under their indices; other values give nothing.
pub(super) fn merge<'v>(
    sources: Vec<Computed<'v>>,
    budget: &mut Budget,
) -> Result<Computed<'v>, ErrorKind> {
    let mut fields: Vec<(Text<'v>, Computed<'v>)> = Vec::new();
    for source in sources {
        match source {
            Computed::Object(object) => {
                budget.take(SLOT * object.len())?;
                fields.extend(object.into_fields());
            }
            Computed::Array(items) => {
                budget.take(SLOT * items.len())?;
                fields.extend(items.into_iter().enumerate().map(|(at, item)| (index(at), item)));
            }
            Computed::View(view) => spread(view, &mut fields, budget)?,
            Computed::Value(value) => {
                let mut spread_fields = Vec::new();
                spread(View::Value(&value), &mut spread_fields, budget)?;
                for (key, value) in spread_fields {
                    fields.push((key.into_owned(), copy(value.view(), 0, budget)?));
                }
            }
        }
    }
    Ok(Computed::Object(Object::from_literal(fields)))
}

fn spread<'v>(
    source: View<'v>,
    fields: &mut Vec<(Text<'v>, Computed<'v>)>,
    budget: &mut Budget,
) -> Result<(), ErrorKind> {
    match source.shape() {
        Shape::Object(own) => {
            budget.take(SLOT * own.len())?;
            fields.extend(own.iter().map(|(key, view)| (key.reborrow(), Computed::View(view))));
        }
        Shape::Array(items) => {
            budget.take(SLOT * items.len())?;
            let items = items.iter().enumerate();
            fields.extend(items.map(|(at, view)| (index(at), Computed::View(view))));
        }
        Shape::String(text) => {
            let units = text.units();
            budget.take(2 * SLOT * units.len())?;
            let units = units.iter().enumerate();
            fields.extend(units.map(|(at, unit)| {
                (index(at), Computed::Value(Value::String(Text::from_units(&[*unit]))))
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
    /// One level of fields, their keys joined. A value that is not an object is under the empty key.
    pub(super) fn apply<'v>(
        &self,
        value: View<'v>,
        budget: &mut Budget,
    ) -> Result<Computed<'v>, ErrorKind> {
        let mut fields = Vec::new();
        self.collect(value, &Text::from_plain(""), 0, &mut fields, budget)?;
        Ok(Computed::Object(Object::from_literal(fields)))
    }

    fn collect<'v>(
        &self,
        value: View<'v>,
        prefix: &Text<'static>,
        depth: usize,
        fields: &mut Vec<(Text<'v>, Computed<'v>)>,
        budget: &mut Budget,
    ) -> Result<(), ErrorKind> {
        if depth > MAX_DEPTH {
            return Err(ErrorKind::TooDeep);
        }
        budget.take(SLOT + prefix.printed().len())?;
        match value.shape() {
            Shape::Object(own) => {
                for (key, inner) in own.iter() {
                    let key = self.join(prefix, key);
                    self.collect(inner, &key, depth + 1, fields, budget)?;
                }
            }
            Shape::Array(items) if !self.omit_arrays => {
                for (at, inner) in items.iter().enumerate() {
                    let key = self.join(prefix, &index(at));
                    self.collect(inner, &key, depth + 1, fields, budget)?;
                }
            }
            Shape::Missing
            | Shape::Null
            | Shape::Bool(_)
            | Shape::Number(_)
            | Shape::String(_)
            | Shape::Array(_) => fields.push((prefix.clone(), Computed::View(value))),
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

/// Without null fields, nested objects included; arrays stay as they are.
pub(super) fn without_nulls<'v>(
    value: Computed<'v>,
    depth: usize,
    budget: &mut Budget,
) -> Result<Computed<'v>, ErrorKind> {
    match value {
        Computed::View(view) => view_without_nulls(view, depth, budget),
        Computed::Value(value @ Value::Object(_)) => {
            let copied = copy(View::Value(&value), depth, budget)?;
            without_nulls(copied, depth, budget)
        }
        Computed::Object(object) => {
            let fields = object.into_fields().into_iter().map(|(key, value)| {
                let exists = value.view().exists();
                let value = if exists {
                    without_nulls(value, depth + 1, budget)?
                } else {
                    Computed::MISSING
                };
                Ok((key, value))
            });
            Ok(Computed::Object(Object::from_literal(fields.collect::<Result<_, ErrorKind>>()?)))
        }
        Computed::Value(_) | Computed::Array(_) => Ok(value),
    }
}

fn view_without_nulls<'v>(
    value: View<'v>,
    depth: usize,
    budget: &mut Budget,
) -> Result<Computed<'v>, ErrorKind> {
    let Shape::Object(fields) = value.shape() else { return Ok(Computed::View(value)) };
    if depth > MAX_DEPTH {
        return Err(ErrorKind::TooDeep);
    }
    budget.take(SLOT * fields.len())?;
    let clean = |view: View<'v>, budget: &mut Budget| {
        if view.exists() {
            view_without_nulls(view, depth + 1, budget)
        } else {
            Ok(Computed::MISSING)
        }
    };
    Ok(Computed::Object(match fields {
        Fields::Values(object) => object.try_map(|_, value| clean(View::Value(value), budget))?,
        Fields::Computed(object) => object.try_map(|_, value| clean(value.view(), budget))?,
    }))
}

/// A deep copy that borrows nothing.
pub(super) fn copy(
    value: View<'_>,
    depth: usize,
    budget: &mut Budget,
) -> Result<Computed<'static>, ErrorKind> {
    if depth > MAX_DEPTH {
        return Err(ErrorKind::TooDeep);
    }
    budget.take(SLOT)?;
    Ok(match value.shape() {
        Shape::Missing => Computed::MISSING,
        Shape::Null => Computed::Value(Value::Null),
        Shape::Bool(bool) => Computed::Value(Value::Bool(bool)),
        Shape::Number(number) => Computed::Value(Value::Number(number)),
        Shape::String(text) => {
            budget.take(text.printed().len())?;
            Computed::Value(Value::String(text.clone().into_owned()))
        }
        Shape::Array(items) => {
            let items = items.iter().map(|item| copy(item, depth + 1, budget));
            Computed::Array(items.collect::<Result<_, _>>()?)
        }
        Shape::Object(fields) => {
            let mut copied = Vec::with_capacity(fields.len());
            for (key, field) in fields.iter() {
                budget.take(key.printed().len())?;
                copied.push((key.clone().into_owned(), copy(field, depth + 1, budget)?));
            }
            Computed::Object(Object::from_literal(copied))
        }
    })
}
