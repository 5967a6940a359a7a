//! Prints a document as YAML: block style, text in double quotes unless it is a plain word. The output
//! parses to the same values.

use serde_json::Value;

/// Prints a document.
pub(super) fn print(document: &Value) -> String {
    let mut out = String::new();
    block(document, 0, &mut out);
    out
}

/// Words that are not strings in some version of YAML.
const RESERVED: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];

fn block(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (index, (name, below)) in fields.iter().enumerate() {
                // The first field of an item follows its dash.
                if index > 0 || !out.ends_with("- ") {
                    out.push_str(&"  ".repeat(depth));
                }
                out.push_str(&word(name));
                out.push(':');
                nested(below, depth, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 || !out.ends_with("- ") {
                    out.push_str(&"  ".repeat(depth));
                }
                out.push_str("- ");
                block(item, depth + 1, out);
            }
        }
        Value::String(text) => line(&word(text), out),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            line(&value.to_string(), out);
        }
    }
}

fn nested(value: &Value, depth: usize, out: &mut String) {
    let is_block = match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    out.push(if is_block { '\n' } else { ' ' });
    block(value, depth + 1, out);
}

fn line(text: &str, out: &mut String) {
    out.push_str(text);
    out.push('\n');
}

fn word(text: &str) -> String {
    let is_plain = text.starts_with(|char: char| char.is_ascii_alphabetic() || char == '/')
        && text.chars().all(|char| char.is_ascii_alphanumeric() || "_-./".contains(char))
        && !RESERVED.contains(&text.to_ascii_lowercase().as_str());
    // A JSON string is a YAML string in double quotes, except characters that JSON does not escape.
    if is_plain {
        text.to_owned()
    } else {
        Value::from(text).to_string().replace('\u{7f}', "\\u007f")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn it_reads_like_a_pipeline_file() {
        let document =
            json!({"sources": [{"name": "a b", "enabled": true, "below": [[1, {}], "x"]}, []]});
        let expected = "\
sources:
  - name: \"a b\"
    enabled: true
    below:
      - - 1
        - {}
      - x
  - []
";
        assert_eq!(print(&document), expected);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[ -~é\\n\\t\u{7f}]{0,8}".prop_map(Value::from),
            prop_oneof![
                Just("null"),
                Just("No"),
                Just("a: b"),
                Just("- a"),
                Just("1e3"),
                Just("~")
            ]
            .prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[a-z@ :.#-]{1,5}", inner), 0..4)
                    .prop_map(|pairs| pairs.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_it_prints_reads_back(document in any_json()) {
            let printed = print(&document);
            let read: Value = serde_saphyr::from_str(&printed)
                .map_err(|error| TestCaseError::fail(format!("{printed}\n{error}")))?;
            prop_assert_eq!(read, document, "{}", printed);
        }
    }
}
