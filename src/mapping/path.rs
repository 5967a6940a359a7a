//! Paths of Segment's mappings: steps between dots, in brackets, with or without quotes. A falsy value
//! along the path is the result, and strings and arrays have a `length`.

use super::value::{Computed, Shape, View};
use crate::json::{Text, Value};

/// A parsed path; without steps it gives its start.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
struct Step {
    key: Text<'static>,
    index: Option<usize>,
}

impl Path {
    /// From `@path`'s text, without its first `$.`, at whatever position.
    pub(super) fn parse(text: &str) -> Self {
        match text.split_once("$.") {
            Some((before, after)) => Self::parse_placeholder(&format!("{before}{after}")),
            None => Self::parse_placeholder(text),
        }
    }

    /// From a placeholder's text.
    pub(super) fn parse_placeholder(text: &str) -> Self {
        let steps = split(text).into_iter().map(|part| {
            let key = part.replace(['\'', '"'], "");
            let key = Text::from(key);
            let index = key.array_index().and_then(|index| usize::try_from(index).ok());
            Step { key, index }
        });
        Self(steps.collect())
    }

    /// The value at the path from `start`.
    pub(super) fn walk<'v>(&self, start: View<'v>) -> Computed<'v> {
        let mut at = start;
        for (taken, step) in self.0.iter().enumerate() {
            if !at.is_truthy() {
                return Computed::View(at);
            }
            at = match at.shape() {
                Shape::Object(fields) => fields.get(&step.key),
                Shape::Array(items) => match step.index {
                    Some(index) => items.get(index),
                    None if step.is_length() => {
                        return walk_computed(length(items.len()), &self.0[taken + 1..]);
                    }
                    None => View::Missing,
                },
                Shape::String(text) => {
                    return step.of_string(text).map_or(Computed::MISSING, |value| {
                        walk_computed(value, &self.0[taken + 1..])
                    });
                }
                Shape::Missing | Shape::Null | Shape::Bool(_) | Shape::Number(_) => View::Missing,
            };
        }
        Computed::View(at)
    }
}

/// Continues from a length or a character, which are stored nowhere.
fn walk_computed<'v>(start: Value<'static>, steps: &[Step]) -> Computed<'v> {
    let mut at = start;
    for step in steps {
        if !View::Value(&at).is_truthy() {
            break;
        }
        let next = if let Value::String(text) = &at { step.of_string(text) } else { None };
        let Some(next) = next else { return Computed::MISSING };
        at = next;
    }
    Computed::Value(at)
}

impl Step {
    fn is_length(&self) -> bool {
        self.key.printed() == "length"
    }

    fn of_string(&self, text: &Text<'_>) -> Option<Value<'static>> {
        let units = text.units();
        match self.index {
            Some(index) => {
                let unit = units.get(index)?;
                Some(Value::String(Text::from_units(&[*unit])))
            }
            None => self.is_length().then(|| length(units.len())),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "no length reaches 2^53")]
const fn length(length: usize) -> Value<'static> {
    Value::Number(length as f64)
}

/// The parts between separators: a dot, a bracket that opens before a quote or digit, and brackets
/// that close after one. Empty parts do not count.
fn split(text: &str) -> Vec<&str> {
    let opens_index = |byte: Option<&u8>| matches!(byte, Some(b'"' | b'\'' | b'0'..=b'9'));
    let bytes = text.as_bytes();
    let (mut parts, mut start, mut at) = (Vec::new(), 0, 0);
    while at < bytes.len() {
        let next = match bytes[at] {
            b'.' => at + 1,
            b'[' if opens_index(bytes.get(at + 1)) => at + 1,
            b']' if at > 0 && opens_index(bytes.get(at - 1)) => {
                at + bytes[at..].iter().take_while(|byte| **byte == b']').count()
            }
            _ => {
                at += 1;
                continue;
            }
        };
        parts.push(&text[start..at]);
        start = next;
        at = next;
    }
    parts.push(&text[start..]);
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{parse, to_string};

    fn keys(path: &str) -> Vec<String> {
        Path::parse(path).0.iter().map(|step| step.key.plain().into_owned()).collect()
    }

    #[test]
    fn paths_are_split_as_segment_splits_them() {
        for (path, expected) in [
            ("", &[] as &[&str]),
            ("$.", &[]),
            (".", &[]),
            ("$", &["$"]),
            ("$.a.b[0].c", &["a", "b", "0", "c"]),
            ("a.b.0", &["a", "b", "0"]),
            ("$.a['b c'][\"d\"]]", &["a", "b c", "d"]),
            ("a[b].c]", &["a[b]", "c]"]),
            ("..a..", &["a"]),
            ("a$.b", &["ab"]),
            ("a['']", &["a", ""]),
        ] {
            assert_eq!(keys(path), expected, "{path}");
        }
    }

    #[test]
    fn the_first_falsy_value_on_a_path_is_its_value() {
        let text = r#"{"a":{"b":[{"c":1},null]},"n":0,"z":null,"e":"","s":"hé😀","t":true}"#;
        let event = parse(text.as_bytes()).expect("JSON");
        let walk = |path: &str| match Path::parse(path).walk(View::Value(&event)) {
            Computed::View(View::Value(value)) => to_string(value),
            Computed::Value(value) => to_string(&value),
            Computed::View(View::Missing) => "missing".to_owned(),
            other @ (Computed::View(View::Computed(_))
            | Computed::Array(_)
            | Computed::Object(_)) => {
                panic!("{other:?}")
            }
        };
        for (path, expected) in [
            ("$.a.b[0].c", "1"),
            ("$.a.b[1].c", "null"),
            ("$.a.b[2].c", "missing"),
            ("$.a.b.length", "2"),
            ("$.a.b.length.x", "missing"),
            ("$.n.x", "0"),
            ("$.z.x.y", "null"),
            ("$.e.length", "\"\""),
            ("$.s.length", "4"),
            ("$.s[1]", "\"é\""),
            ("$.s[1][0].length", "1"),
            ("$.s[2]", "\"\\ud83d\""),
            ("$.t.x", "missing"),
            ("$.A", "missing"),
        ] {
            assert_eq!(walk(path), expected, "{path}");
        }
    }
}
