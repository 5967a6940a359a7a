//! Bodies as `application/x-www-form-urlencoded` (WHATWG URL, 5): a field for each key, values in
//! words as Segment writes them. Where those words would lose the value, its JSON text stands.

use form_urlencoded::Serializer;

use super::error::{Allowance, MAX_BODY, Why};
use super::value::{Fields, Shape, View};
use super::{print, words};
use crate::json::TextBuilder;

/// Encodes the fields of an object.
pub(super) fn encode(fields: Fields<'_>, allowance: &mut Allowance) -> Result<String, Why> {
    let mut form = Serializer::new(String::new());
    for (key, value) in fields.iter() {
        if matches!(value.shape(), Shape::Missing) {
            continue;
        }
        let value = field(value, allowance)?;
        // An encoded byte takes three at most.
        allowance.take(3 * (key.printed().len() + value.len()))?;
        form.append_pair(&key.plain(), &value);
    }
    let form = form.finish();
    if form.len() > MAX_BODY { Err(Why::TooLong) } else { Ok(form) }
}

fn field(value: View<'_>, allowance: &mut Allowance) -> Result<String, Why> {
    if has_objects(value, allowance)? {
        let json = print::print(value, MAX_BODY)?;
        return Ok(String::from_utf8(json).unwrap_or_default());
    }
    let mut text = TextBuilder::new();
    words::push(value, &mut text, allowance)?;
    Ok(text.finish().plain().into_owned())
}

/// Whether words would say no more of it than `[object Object]`.
fn has_objects(value: View<'_>, allowance: &mut Allowance) -> Result<bool, Why> {
    allowance.take(1)?;
    match value.shape() {
        Shape::Object(_) => Ok(true),
        Shape::Array(items) => {
            for item in items.iter() {
                if has_objects(item, allowance)? {
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
    fn fields_are_words_and_objects_are_json() {
        let text = r#"{"a b":"ü&=","n":1e21,"t":true,"z":null,"list":[1,[2,null],"x"],
            "o":{"k":[1]},"mixed":[1,{"k":"v"}],"":"","*-._~":"+"}"#;
        let event = parse(text.as_bytes()).expect("JSON");
        let Shape::Object(fields) = View::Value(&event).shape() else { panic!("an object") };
        let form = encode(fields, &mut Allowance::new()).expect("within bounds");
        assert_eq!(
            form,
            "a+b=%C3%BC%26%3D&n=1e%2B21&t=true&z=null&list=1%2C2%2C%2Cx\
             &o=%7B%22k%22%3A%5B1%5D%7D&mixed=%5B1%2C%7B%22k%22%3A%22v%22%7D%5D&=&*-._%7E=%2B"
        );
    }
}
