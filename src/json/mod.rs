//! JSON with JavaScript's semantics: printing gives `JSON.stringify(JSON.parse(text))` byte for byte, so
//! that a receiver that parses and prints again computes the same HMAC (ECMA-262, 25.5). Integer-like
//! keys come first, numbers are doubles, lone surrogates are kept as escapes.

mod number;
mod parse;
mod print;
mod raw;
mod text;
mod text_builder;
mod value;

pub use number::{number_text, print_number};
pub use parse::{MAX_DEPTH, ParseError, parse};
pub use print::{print, print_text, to_string, to_string_indented};
pub use raw::RawJson;
pub use text::Text;
pub use text_builder::TextBuilder;
pub use value::{Object, Value};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Case {
        text: String,
        stringified: String,
    }

    #[test]
    fn every_vector_prints_as_javascript_prints_it() {
        let cases = include_str!("../../tests/vectors/json.jsonl");
        let mut seen = 0;
        for line in cases.lines() {
            let case: Case = serde_json::from_str(line).expect("a vector");
            let value = parse(case.text.as_bytes()).expect("valid JSON");
            assert_eq!(to_string(&value), case.stringified, "{}", case.text);
            seen += 1;
        }
        assert_eq!(seen, 200);
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(serde_json::Value::from),
            any::<f64>().prop_map(serde_json::Value::from),
            any::<i64>().prop_map(serde_json::Value::from),
            ".*".prop_map(serde_json::Value::from),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(serde_json::Value::from),
                prop::collection::vec(("[0-9a-c]{0,3}", inner), 0..40)
                    .prop_map(|pairs| pairs.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn printing_is_idempotent_and_keeps_the_value(json in any_json()) {
            let text = json.to_string();
            let once = to_string(&parse(text.as_bytes()).expect("valid"));
            let twice = to_string(&parse(once.as_bytes()).expect("valid"));
            prop_assert_eq!(&once, &twice);
            let read: serde_json::Value = serde_json::from_str(&once).expect("valid for others too");
            prop_assert_eq!(plain(read), plain(json));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn invalid_json_is_refused_as_serde_json_refuses_it(text in "[\\[\\]{},:\"0-9eE+\\-.a\\\\ ntrufls]{0,12}") {
            let ours = parse(text.as_bytes()).is_ok();
            let theirs = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
            prop_assert_eq!(ours, theirs, "{}", text);
        }
    }

    /// Numbers as doubles, as in JavaScript.
    fn plain(value: serde_json::Value) -> serde_json::Value {
        use serde_json::Value as V;
        match value {
            V::Number(number) => {
                let number = number.as_f64().unwrap_or_default();
                V::from(if number == 0.0 { 0.0 } else { number })
            }
            V::Array(items) => items.into_iter().map(plain).collect(),
            V::Object(fields) => {
                fields.into_iter().map(|(key, value)| (key, plain(value))).collect()
            }
            other @ (V::Null | V::Bool(_) | V::String(_)) => other,
        }
    }

    #[test]
    fn an_error_has_line_and_column() {
        let error = parse(b"{\n  \"a\": tru }").expect_err("not JSON");
        assert_eq!(error.to_string(), "expected true at line 2 column 8");
        let error = parse(b"{\"a\":1} x").expect_err("not JSON");
        assert_eq!(error.to_string(), "expected nothing after the value at line 1 column 9");
        let deep = "[".repeat(MAX_DEPTH + 1);
        let error = parse(deep.as_bytes()).expect_err("too deep");
        assert!(error.to_string().starts_with("expected at most 512 levels"), "{error}");
    }

    #[test]
    fn a_large_object_keeps_javascripts_order() {
        let mut text = String::from("{");
        for key in (0..100).rev() {
            text.push_str(&format!("\"k{key}\":{key},\"{key}\":{key},"));
        }
        text.push_str("\"k99\":null}");
        let printed = to_string(&parse(text.as_bytes()).expect("valid"));
        assert!(printed.starts_with("{\"0\":0,\"1\":1,"), "{printed}");
        assert!(printed.contains(",\"99\":99,\"k99\":null,\"k98\":98,"), "{printed}");
    }
}
