//! JSON text within a document that serde reads: checked by this parser, kept byte for byte. `serde_json` refuses
//! values that JavaScript takes (lone surrogates, `1e400`, deep nesting), so that events are never read with it.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

use super::parse::{ParseError, parse};
use super::value::Value;

/// JSON text, checked.
#[derive(Clone, Debug)]
pub struct RawJson(Box<RawValue>);

impl RawJson {
    /// Checks a text; whitespace around it is left out.
    ///
    /// # Errors
    /// [`ParseError`] when it is not JSON.
    pub fn of(text: &str) -> Result<Self, ParseError> {
        parse(text.as_bytes())?;
        // What the parser accepts is JSON for serde_json's scanner, which does not interpret values.
        Ok(Self(
            RawValue::from_string(text.to_owned()).unwrap_or_else(|_| RawValue::NULL.to_owned()),
        ))
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> Value<'_> {
        // It was parsed before.
        parse(self.text().as_bytes()).unwrap_or(Value::Null)
    }
}

impl Serialize for RawJson {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<'de> Deserialize<'de> for RawJson {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(from)?;
        parse(text.get().as_bytes()).map_err(de::Error::custom)?;
        Ok(Self(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_serde_json_refuses_are_kept_byte_for_byte() {
        let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
        for text in [r#"{"a":"\ud83d","b":1.50}"#, "1e400", "-1E+999", deep.as_str(), r#""\udE00""#]
        {
            let raw: RawJson = serde_json::from_str(text).expect("JSON");
            assert_eq!(raw.text(), text);
            assert_eq!(serde_json::to_string(&raw).expect("JSON"), text);
            assert_eq!(RawJson::of(text).expect("JSON").text(), text);
        }
    }

    #[test]
    fn what_intake_refuses_is_refused() {
        let too_deep = format!("{}{}", "[".repeat(513), "]".repeat(513));
        for text in [too_deep.as_str(), "{", "01", "[1,]"] {
            assert!(serde_json::from_str::<RawJson>(text).is_err(), "{text}");
            assert!(RawJson::of(text).is_err(), "{text}");
        }
    }
}
