//! A secret in a pipeline document: a value, a reference that the command line resolves, or `kept`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::settings::nearest;

/// The origin of a secret. The command line resolves variables and files; the API accepts values
/// only.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GivenSecret {
    /// An environment variable.
    Env(String),
    /// A file, without its last line break.
    File(PathBuf),
    /// The value.
    Value(Hidden),
    /// The stored secret is kept.
    Kept,
}

/// The schema of the API: a value, or `kept`.
impl PartialSchema for GivenSecret {
    fn schema() -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let value = ObjectBuilder::new()
            .schema_type(Type::Object)
            .property("value", text())
            .required("value");
        // A request has the word "kept"; a response has a generated secret.
        RefOr::T(Schema::OneOf(OneOfBuilder::new().item(value).item(text()).build()))
    }
}

impl ToSchema for GivenSecret {}

/// A secret on its way to the service, visible only in its serialization.
#[derive(Clone)]
pub struct Hidden(pub SecretString);

impl fmt::Debug for Hidden {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("(hidden)")
    }
}

impl Serialize for Hidden {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(self.0.expose_secret())
    }
}

/// What is expected where a secret stands. Errors never quote what stands there instead.
const EXPECTED: &str =
    "a secret is written as {value: …}, {env: NAME}, {file: path} or the word kept";

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_string(Text("a text is expected here, in quotes")).map(Self)
    }
}

/// A text; its error does not quote what is given instead.
struct Text(&'static str);

/// Refuses every other type without quoting its value.
macro_rules! refuse {
    ($error:expr, $($visit:ident: $type:ty),+) => {
        $(fn $visit<E: de::Error>(self, _: $type) -> Result<Self::Value, E> {
            Err(E::custom($error(&self)))
        })+
    };
}

impl<'de> Visitor<'de> for Text {
    type Value = SecretString;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<SecretString, E> {
        Ok(SecretString::from(text))
    }

    refuse!(|it: &Self| it.0, visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64,
        visit_i128: i128, visit_u128: u128, visit_bytes: &[u8]);
}

impl<'de> Deserialize<'de> for GivenSecret {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(Given)
    }
}

/// Where a secret comes from.
enum Kind {
    Value,
    Env,
    File,
}

const KINDS: &[&str] = &["env", "file", "value", "kept"];

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let key = Hidden::deserialize(input)?;
        match key.0.expose_secret() {
            "value" => Ok(Self::Value),
            "env" => Ok(Self::Env),
            "file" => Ok(Self::File),
            // A misspelt word is named; any other key may be the secret itself.
            other => Err(match nearest(other, KINDS.iter().copied()).filter(|_| other.len() < 8) {
                Some(_) => de::Error::unknown_variant(other, KINDS),
                None => de::Error::custom(EXPECTED),
            }),
        }
    }
}

struct Given;

impl<'de> Visitor<'de> for Given {
    type Value = GivenSecret;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<GivenSecret, E> {
        if text == "kept" { Ok(GivenSecret::Kept) } else { Err(E::custom(EXPECTED)) }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<GivenSecret, A::Error> {
        let wrong = || de::Error::custom(EXPECTED);
        let text = |hidden: Hidden| hidden.0.expose_secret().to_owned();
        let given = match map.next_key::<Kind>()?.ok_or_else(wrong)? {
            Kind::Value => GivenSecret::Value(map.next_value()?),
            Kind::Env => GivenSecret::Env(text(map.next_value()?)),
            Kind::File => GivenSecret::File(text(map.next_value()?).into()),
        };
        match map.next_key::<Hidden>()? {
            None => Ok(given),
            Some(_) => Err(wrong()),
        }
    }

    refuse!(|_: &Self| EXPECTED, visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64,
        visit_i128: i128, visit_u128: u128, visit_bytes: &[u8]);
}

/// Secrets by the name of their header or parameter, or the names of those that are stored; the error for
/// something else quotes nothing.
pub(super) fn secrets_by_name<'de, D: Deserializer<'de>>(
    input: D,
) -> Result<Option<BTreeMap<String, GivenSecret>>, D::Error> {
    input.deserialize_any(ByName)
}

struct ByName;

impl<'de> Visitor<'de> for ByName {
    type Value = Option<BTreeMap<String, GivenSecret>>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(Self::EXPECTED)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut secrets = BTreeMap::new();
        while let Some((name, secret)) = map.next_entry::<String, GivenSecret>()? {
            if secrets.insert(name, secret).is_some() {
                return Err(de::Error::custom("a name is there twice"));
            }
        }
        Ok(Some(secrets))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Self::Value, A::Error> {
        let mut secrets = BTreeMap::new();
        while let Some(name) = names.next_element::<String>()? {
            secrets.insert(name, GivenSecret::Kept);
        }
        Ok(Some(secrets))
    }

    refuse!(|_: &Self| Self::EXPECTED, visit_bool: bool, visit_i64: i64, visit_u64: u64,
        visit_f64: f64, visit_i128: i128, visit_u128: u128, visit_str: &str, visit_bytes: &[u8]);
}

impl ByName {
    const EXPECTED: &'static str = "names with their secrets are expected here";
}

/// The error of `kept` without a stored secret.
pub(super) const NOTHING_KEPT: &str = "there is no stored secret to keep";

pub(super) fn is_kept(given: Option<&GivenSecret>) -> bool {
    matches!(given, Some(GivenSecret::Kept))
}

pub(super) fn value(given: Option<&GivenSecret>) -> Option<&SecretString> {
    match given? {
        GivenSecret::Value(hidden) => Some(&hidden.0),
        // Validation rejects these before planning.
        GivenSecret::Env(_) | GivenSecret::File(_) => None,
        GivenSecret::Kept => None,
    }
}
