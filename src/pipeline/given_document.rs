//! Destinations and mappings as they are read: in the words of a pipeline document, or as
//! `GET /pipeline` shows them. What only the service sets is ignored, so that an export can be
//! applied again.

use std::collections::BTreeMap;

use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::auth_document::{AuthDocument, AuthKind};
use super::document::{
    DestinationDocument, Document, GivenFunction, MappingDocument, SourceDocument,
};
use super::given_secret::{GivenSecret, secrets_by_name};
use crate::domain::destination::{DeliveryPolicy, DestinationSettings, OnGone, XSignatureKey};
use crate::domain::mapping::{Batching, MappingDefinition, RequestMethod, UrlValues};
use crate::domain::profile::Profile;

/// A pipeline document, or what `GET /pipeline` shows.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenDocument {
    #[serde(default)]
    sources: Vec<SourceDocument>,
    #[serde(default, rename = "version")]
    _version: IgnoredAny,
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        GivenDocument::deserialize(input).map(Self::from)
    }
}

impl<'de> Deserialize<'de> for DestinationDocument {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        GivenDestination::deserialize(input).map(Self::from)
    }
}

impl<'de> Deserialize<'de> for MappingDocument {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        Self::try_from(GivenMapping::deserialize(input)?).map_err(D::Error::custom)
    }
}

impl From<GivenDocument> for Document {
    fn from(given: GivenDocument) -> Self {
        Self { sources: given.sources }
    }
}

/// A destination.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenDestination {
    name: String,
    id: Option<String>,
    renamed_from: Option<String>,
    #[serde(default, deserialize_with = "given")]
    enabled: Option<bool>,
    shared_secret: Option<GivenSecret>,
    #[serde(default, deserialize_with = "given")]
    timeout_ms: Option<u32>,
    #[serde(default, deserialize_with = "given")]
    window_ms: Option<u64>,
    #[serde(default, deserialize_with = "given")]
    max_in_flight: Option<u32>,
    #[serde(default, deserialize_with = "given")]
    rate_per_second: Option<Option<u32>>,
    #[serde(default, deserialize_with = "given")]
    policy: Option<DeliveryPolicy>,
    auth: Option<AuthDocument>,
    #[serde(default, deserialize_with = "secrets_by_name")]
    secret_headers: Option<BTreeMap<String, GivenSecret>>,
    #[serde(default, deserialize_with = "secrets_by_name")]
    secret_parameters: Option<BTreeMap<String, GivenSecret>>,
    #[serde(default, deserialize_with = "given")]
    allowed_hosts: Option<Vec<String>>,
    #[serde(default, deserialize_with = "given")]
    allow_http: Option<bool>,
    #[serde(default)]
    allow_weak_secret: bool,
    x_signature: Option<XSignatureKey>,
    #[serde(default, deserialize_with = "given")]
    on_gone: Option<OnGone>,
    #[serde(default)]
    mappings: Vec<MappingDocument>,
    settings: Option<DestinationSettings>,
    #[serde(default)]
    has_shared_secret: bool,
    #[serde(default)]
    has_credential: bool,
    #[serde(default, rename = "connection")]
    _connection: IgnoredAny,
}

impl From<GivenDestination> for DestinationDocument {
    fn from(given: GivenDestination) -> Self {
        let shown = given.settings.is_some();
        let settings = given.settings.unwrap_or_default();
        let shown_auth = || {
            let auth = AuthDocument::of(&settings.auth);
            let kept = given.has_credential.then_some(GivenSecret::Kept);
            match auth.kind {
                AuthKind::None => None,
                AuthKind::Bearer => Some(AuthDocument { token: kept, ..auth }),
                AuthKind::ClientCredentials | AuthKind::AuthorizationCode => {
                    Some(AuthDocument { client_secret: kept, ..auth })
                }
            }
        };
        let stored = given.has_shared_secret.then_some(GivenSecret::Kept);
        Self {
            name: given.name,
            id: given.id,
            renamed_from: given.renamed_from,
            enabled: given.enabled.unwrap_or(true),
            shared_secret: given.shared_secret.or(stored),
            timeout_ms: given.timeout_ms.unwrap_or(settings.timeout_ms),
            window_ms: given.window_ms.unwrap_or(settings.window_ms),
            max_in_flight: given.max_in_flight.unwrap_or(settings.max_in_flight),
            rate_per_second: given.rate_per_second.unwrap_or(settings.rate_per_second),
            policy: given.policy.unwrap_or(settings.policy),
            auth: given.auth.or_else(|| if shown { shown_auth() } else { None }),
            secret_headers: given.secret_headers,
            secret_parameters: given.secret_parameters,
            allowed_hosts: given.allowed_hosts.unwrap_or_else(|| settings.allowed_hosts.clone()),
            allow_http: given.allow_http.unwrap_or(settings.allow_http),
            allow_weak_secret: given.allow_weak_secret,
            x_signature: given.x_signature.or_else(|| shown.then_some(settings.x_signature)),
            on_gone: given.on_gone.unwrap_or(settings.on_gone),
            mappings: given.mappings,
        }
    }
}

/// A mapping.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenMapping {
    name: String,
    id: Option<String>,
    renamed_from: Option<String>,
    #[serde(default, deserialize_with = "given")]
    enabled: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    trigger: Option<String>,
    #[serde(default, deserialize_with = "given")]
    url: Option<Value>,
    #[serde(default, deserialize_with = "given")]
    url_values: Option<UrlValues>,
    #[serde(default, deserialize_with = "given")]
    profile: Option<Profile>,
    #[serde(default, deserialize_with = "given")]
    method: Option<RequestMethod>,
    #[serde(default, deserialize_with = "given")]
    headers: Option<Map<String, Value>>,
    #[serde(default, deserialize_with = "given")]
    data: Option<Value>,
    function: Option<GivenFunction>,
    batching: Option<Batching>,
    definition: Option<MappingDefinition>,
    #[serde(default, rename = "revision")]
    _revision: IgnoredAny,
}

impl TryFrom<GivenMapping> for MappingDocument {
    type Error = &'static str;

    fn try_from(given: GivenMapping) -> Result<Self, Self::Error> {
        let shown = given.definition.map(|it| Self::with_definition("", true, &it));
        let Some(url) = given.url.or_else(|| shown.as_ref().map(|it| it.url.clone())) else {
            return Err("missing field `url`");
        };
        let mut document = shown.unwrap_or_default();
        document.name = given.name;
        document.id = given.id;
        document.renamed_from = given.renamed_from;
        document.enabled = given.enabled.unwrap_or(true);
        document.url = url;
        document.trigger = given.trigger.unwrap_or(document.trigger);
        document.url_values = given.url_values.unwrap_or(document.url_values);
        document.profile = given.profile.unwrap_or(document.profile);
        document.method = given.method.unwrap_or(document.method);
        document.headers = given.headers.unwrap_or(document.headers);
        document.data = given.data.or(document.data).filter(|data| !data.is_null());
        document.function = given.function.or(document.function);
        document.batching = given.batching.or(document.batching);
        Ok(document)
    }
}

/// A field that is there, whatever its value: `null` differs from a field that is left out.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(input: D) -> Result<Option<T>, D::Error> {
    T::deserialize(input).map(Some)
}
