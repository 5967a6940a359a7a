//! A secret in a pipeline document: a value, a reference that the command line resolves, or `kept`.

use std::fmt;
use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// The origin of a secret. The command line resolves variables and files; the API accepts values
/// only.
#[derive(Clone, Debug, Serialize, Deserialize)]
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

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        String::deserialize(input).map(|text| Self(SecretString::from(text)))
    }
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
