//! A secret in a pipeline document: a value, a reference that the command line resolves, or `kept`.

use std::fmt;
use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// Where a secret is taken from. The command line resolves all of them where it runs; the service
/// takes values only.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GivenSecret {
    /// From this variable.
    Env(String),
    /// From this file, its last line break left out.
    File(PathBuf),
    /// It stands here.
    Value(Hidden),
    /// It stays what it is.
    Kept,
}

/// As the service takes it: a value, or what is kept already.
impl PartialSchema for GivenSecret {
    fn schema() -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let value = ObjectBuilder::new()
            .schema_type(Type::Object)
            .property("value", text())
            .required("value");
        // What is asked for is the word "kept"; answers hold what was made.
        RefOr::T(Schema::OneOf(OneOfBuilder::new().item(value).item(text()).build()))
    }
}

impl ToSchema for GivenSecret {}

/// A secret on its way to the service: shown by nothing but its serialization.
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

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        String::deserialize(input).map(|text| Self(SecretString::from(text)))
    }
}

/// What is said of a secret that should stay and is not there.
pub(super) const NOTHING_KEPT: &str = "there is none to be kept";

pub(super) fn is_kept(given: Option<&GivenSecret>) -> bool {
    matches!(given, Some(GivenSecret::Kept))
}

pub(super) fn value(given: Option<&GivenSecret>) -> Option<&SecretString> {
    match given? {
        GivenSecret::Value(hidden) => Some(&hidden.0),
        // The check refuses these before a plan is made.
        GivenSecret::Env(_) | GivenSecret::File(_) => None,
        GivenSecret::Kept => None,
    }
}
