//! JSON without duplicate object keys, whose interpretation is undefined (RFC 8259, 4).

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// JSON that was parsed and checked; its content is dropped.
#[derive(Debug)]
pub(crate) struct UniqueKeys;

impl<'de> Deserialize<'de> for UniqueKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = UniqueKeys;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON without duplicate keys")
    }

    fn visit_bool<E>(self, _: bool) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_i64<E>(self, _: i64) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_u64<E>(self, _: u64) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_f64<E>(self, _: f64) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_str<E>(self, _: &str) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_unit<E>(self) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<UniqueKeys, A::Error> {
        while items.next_element::<UniqueKeys>()?.is_some() {}
        Ok(UniqueKeys)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<UniqueKeys, A::Error> {
        let mut names = HashSet::new();
        while let Some((name, UniqueKeys)) = fields.next_entry::<String, UniqueKeys>()? {
            if names.contains(&name) {
                return Err(A::Error::custom(format_args!("{name:?} is a duplicate key")));
            }
            names.insert(name);
        }
        Ok(UniqueKeys)
    }
}

#[test]
fn duplicate_keys_are_detected() {
    let read =
        |text: &str| serde_json::from_str::<UniqueKeys>(text).map_err(|error| error.to_string());
    assert!(read(r#"[{"a":{"b":1,"c":[2.5,null]},"b":-1,"d":"a"},{"a":true}]"#).is_ok());
    let error = read(r#"{"a":[{"b":1,"b":1}]}"#).expect_err("twice");
    assert!(error.contains(r#""b" is a duplicate key"#), "{error}");
}
