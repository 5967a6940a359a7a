//! JSON in which no object has a name twice, which readers take as they like (RFC 8259, 4).

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Read, and nothing kept of it.
#[derive(Debug)]
pub(crate) struct Unique;

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Looking)
    }
}

struct Looking;

impl<'de> Visitor<'de> for Looking {
    type Value = Unique;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON in which no object has a name twice")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_str<E>(self, _: &str) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_unit<E>(self) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Unique, A::Error> {
        while items.next_element::<Unique>()?.is_some() {}
        Ok(Unique)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Unique, A::Error> {
        let mut names = HashSet::new();
        while let Some((name, Unique)) = fields.next_entry::<String, Unique>()? {
            if names.contains(&name) {
                return Err(A::Error::custom(format_args!("{name:?} stands there twice")));
            }
            names.insert(name);
        }
        Ok(Unique)
    }
}

#[test]
fn a_name_that_stands_twice_is_noticed() {
    let read = |text: &str| serde_json::from_str::<Unique>(text).map_err(|error| error.to_string());
    assert!(read(r#"[{"a":{"b":1,"c":[2.5,null]},"b":-1,"d":"a"},{"a":true}]"#).is_ok());
    let error = read(r#"{"a":[{"b":1,"b":1}]}"#).expect_err("twice");
    assert!(error.contains(r#""b" stands there twice"#), "{error}");
}
