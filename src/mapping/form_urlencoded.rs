//! Bodies as `application/x-www-form-urlencoded` (WHATWG URL, 5): a field for each key, values converted
//! to text as JavaScript does, or what contains an object as JSON.

use form_urlencoded::Serializer;

use super::budget::{Budget, MAX_BODY};
use super::error::ErrorKind;
use super::value::{Fields, Shape, View};
use super::{print, to_string};
use crate::domain::profile::FormValueRule;
use crate::json::TextBuilder;

/// Encodes the fields of an object.
pub(super) fn encode(
    fields: Fields<'_>,
    rule: FormValueRule,
    budget: &mut Budget,
) -> Result<String, ErrorKind> {
    let mut form = Serializer::new(String::new());
    for (key, value) in fields.iter() {
        if matches!(value.shape(), Shape::Missing) {
            continue;
        }
        let value = field(value, rule, budget)?;
        // An encoded byte takes three at most.
        budget.take(3 * (key.printed().len() + value.len()))?;
        form.append_pair(&key.plain(), &value);
    }
    let form = form.finish();
    if form.len() > MAX_BODY { Err(ErrorKind::TooLong) } else { Ok(form) }
}

fn field(value: View<'_>, rule: FormValueRule, budget: &mut Budget) -> Result<String, ErrorKind> {
    if rule == FormValueRule::JsonForObjects && has_objects(value, budget)? {
        let json = print::print(value, MAX_BODY)?;
        return Ok(String::from_utf8(json).unwrap_or_default());
    }
    let mut text = TextBuilder::new();
    to_string::push(value, &mut text, budget)?;
    Ok(text.finish().plain().into_owned())
}

/// Whether the conversion to text would give `[object Object]`.
fn has_objects(value: View<'_>, budget: &mut Budget) -> Result<bool, ErrorKind> {
    budget.take(1)?;
    match value.shape() {
        Shape::Object(_) => Ok(true),
        Shape::Array(items) => {
            for item in items.iter() {
                if has_objects(item, budget)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Shape::Missing | Shape::Null | Shape::Bool(_) | Shape::Number(_) | Shape::String(_) => {
            Ok(false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    #[test]
    fn fields_are_text_and_objects_are_json() {
        let text = r#"{"a b":"ü&=","n":1e21,"t":true,"z":null,"list":[1,[2,null],"x"],
            "o":{"k":[1]},"mixed":[1,{"k":"v"}],"":"","*-._~":"+"}"#;
        let event = parse(text.as_bytes()).expect("JSON");
        let Shape::Object(fields) = View::Value(&event).shape() else { panic!("an object") };
        let encode = |rule| encode(fields, rule, &mut Budget::new()).expect("within bounds");
        assert_eq!(
            encode(FormValueRule::JsonForObjects),
            "a+b=%C3%BC%26%3D&n=1e%2B21&t=true&z=null&list=1%2C2%2C%2Cx\
             &o=%7B%22k%22%3A%5B1%5D%7D&mixed=%5B1%2C%7B%22k%22%3A%22v%22%7D%5D&=&*-._%7E=%2B"
        );
        assert!(
            encode(FormValueRule::JavaScript)
                .contains("&o=%5Bobject+Object%5D&mixed=1%2C%5Bobject+Object%5D&")
        );
    }
}
