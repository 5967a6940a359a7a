//! The pipeline document: the schema of `pipeline.yaml` and of the apply request. Fields that are
//! left out have defaults; unknown fields are errors.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::auth_document::{AuthDocument, AuthKind};
use super::given_secret::GivenSecret;
use crate::domain::destination::{DeliveryPolicy, DestinationSettings, OnGone, XSignatureKey};
use crate::domain::mapping::{
    Batching, FunctionDefinition, MappingDefinition, RequestMethod, UrlValues,
};
use crate::domain::profile::Profile;

/// The sources with their destinations and mappings.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[schema(as = PipelineDocument)]
pub struct Document {
    /// The sources.
    #[serde(default)]
    pub sources: Vec<SourceDocument>,
}

/// A source with its destinations.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceDocument {
    /// Its name, the identity.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// Its id, as a read shows it: with another name, the stored one is renamed. Ignored where
    /// there is none with this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The name it had before: the stored one is renamed. Ignored once that is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<String>,
    /// Whether it accepts events.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The rate limit, in events per second; left out: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub rate_per_second: Option<u32>,
    /// Events at once beyond the rate; left out: those of a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10_000_000)]
    pub burst: Option<u32>,
    /// The quota of events per day (UTC); left out: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1_000_000_000_000_u64)]
    pub daily_quota: Option<u64>,
    /// Whether `context.ip` is set to the sender's address where an event has none: for sources in browsers and
    /// phones.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub client_ip: bool,
    /// Its write key; left out: kept, or generated for a new source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_key: Option<GivenSecret>,
    /// Its destinations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<DestinationDocument>,
}

/// A destination with its mappings.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DestinationDocument {
    /// Its name, the identity within the source.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// Its id, as a read shows it: with another name, the stored one is renamed. Ignored where
    /// there is none with this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The name it had before: the stored one is renamed. Ignored once that is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<String>,
    /// Whether it is enabled.
    #[serde(default)]
    pub enabled: bool,
    /// The shared secret that signs requests; left out: kept, or removed when pruning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_secret: Option<GivenSecret>,
    /// Whether a shared secret below the minimum length is accepted with this document; not stored.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_weak_secret: bool,
    /// The timeout of an attempt, in milliseconds.
    #[serde(default)]
    #[schema(minimum = 1_000, maximum = 30_000)]
    pub timeout_ms: u32,
    /// The delivery window, in milliseconds.
    #[serde(default)]
    #[schema(minimum = 60_000, maximum = 2_592_000_000_u64)]
    pub window_ms: u64,
    /// The maximum number of requests in flight.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_024)]
    pub max_in_flight: u32,
    /// The rate limit, in requests per second.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 100_000)]
    pub rate_per_second: Option<u32>,
    /// The delivery policy: whether one success settles an event for the other mappings.
    #[serde(default)]
    pub policy: DeliveryPolicy,
    /// How its requests are authorized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthDocument>,
    /// Headers with secret values, sent with every request; left out: kept, or removed when
    /// pruning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_headers: Option<BTreeMap<String, GivenSecret>>,
    /// Query parameters with secret values, sent with every request; left out: kept, or removed
    /// when pruning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_parameters: Option<BTreeMap<String, GivenSecret>>,
    /// Hosts that may get its credentials although the event decides on the host: `host`,
    /// `host:port` or `*.domain`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 100)]
    pub allowed_hosts: Vec<String>,
    /// Whether its credentials may be sent over http to other than private hosts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_http: bool,
    /// The key of `X-Signature` while the shared secret is being rotated; left out: as it is, or
    /// `current` for a new secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x_signature: Option<XSignatureKey>,
    /// What a 410 response does: `dead`, its delivery is a dead letter; `pause`, the mapping is paused.
    #[serde(default, skip_serializing_if = "OnGone::is_dead")]
    pub on_gone: OnGone,
    /// Its mappings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mappings: Vec<MappingDocument>,
}

/// A mapping.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct MappingDocument {
    /// Its name, the identity within the destination.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// Its id, as a read shows it: with another name, the stored one is renamed. Ignored where
    /// there is none with this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The name it had before: the stored one is renamed. Ignored once that is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<String>,
    /// Whether it is enabled.
    #[serde(default)]
    pub enabled: bool,
    /// The trigger; empty: every event.
    #[serde(default)]
    pub trigger: String,
    /// The URL.
    #[schema(value_type = serde_json::Value)]
    pub url: Value,
    /// How values of the event stand in a URL template.
    #[serde(default, skip_serializing_if = "UrlValues::is_default")]
    pub url_values: UrlValues,
    /// Whose rules its requests follow.
    #[serde(default, skip_serializing_if = "Profile::is_default")]
    pub profile: Profile,
    /// The HTTP method, or a directive that gives one.
    #[serde(default)]
    #[schema(value_type = serde_json::Value)]
    pub method: RequestMethod,
    /// HTTP headers beside the standard ones.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    pub headers: Map<String, Value>,
    /// The payload; left out: the whole event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub data: Option<Value>,
    /// The insert function, run before rendering.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<GivenFunction>,
    /// Batching; left out: one request per event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batching: Option<Batching>,
}

/// An insert function: inline source or a file. The command line reads the file; the API accepts
/// inline source only.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GivenFunction {
    /// The JavaScript.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The file with the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub file: Option<PathBuf>,
    /// Settings for its handlers. Stored and shown in plain text.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    pub settings: Map<String, Value>,
}

impl GivenFunction {
    /// The definition, with the inline source.
    #[must_use]
    pub fn definition(&self) -> FunctionDefinition {
        FunctionDefinition {
            source: self.source.clone().unwrap_or_default(),
            settings: self.settings.clone(),
        }
    }
}

impl DestinationDocument {
    /// Its settings.
    #[must_use]
    pub fn settings(&self) -> DestinationSettings {
        DestinationSettings {
            timeout_ms: self.timeout_ms,
            window_ms: self.window_ms,
            max_in_flight: self.max_in_flight,
            rate_per_second: self.rate_per_second,
            policy: self.policy,
            auth: self.auth.as_ref().map(AuthDocument::settings).unwrap_or_default(),
            allowed_hosts: self.allowed_hosts.clone(),
            allow_http: self.allow_http,
            x_signature: self.x_signature.unwrap_or_default(),
            on_gone: self.on_gone,
            secret_header_names: self.secret_header_names(),
        }
    }
}

impl DestinationDocument {
    /// Whether the document gives it credentials.
    pub(super) fn gives_credentials(&self) -> bool {
        let auth = self.auth.as_ref().is_some_and(|auth| auth.kind != AuthKind::None);
        let has = |secrets: &Option<BTreeMap<String, GivenSecret>>| {
            secrets.as_ref().is_some_and(|secrets| !secrets.is_empty())
        };
        auth || has(&self.secret_headers) || has(&self.secret_parameters)
    }

    fn secret_header_names(&self) -> Vec<String> {
        let names = self.secret_headers.iter().flat_map(BTreeMap::keys);
        names.filter(|name| name.contains(|it: char| it.is_ascii_uppercase())).cloned().collect()
    }

    /// Its settings, beside those that are stored: what is left out is kept, except for the key of
    /// `X-Signature` when the shared secret changes.
    pub(super) fn settings_beside(
        &self,
        current: Option<&DestinationSettings>,
        is_kept: bool,
    ) -> DestinationSettings {
        let mut settings = self.settings();
        if let (None, Some(current), true) = (self.x_signature, current, is_kept) {
            settings.x_signature = current.x_signature;
        }
        if let (None, Some(current)) = (&self.secret_headers, current) {
            settings.secret_header_names.clone_from(&current.secret_header_names);
        }
        settings
    }
}

impl MappingDocument {
    /// The definition.
    #[must_use]
    pub fn definition(&self) -> MappingDefinition {
        MappingDefinition {
            trigger: self.trigger.clone(),
            url: self.url.clone(),
            url_values: self.url_values,
            profile: self.profile,
            method: self.method.clone(),
            headers: self.headers.clone(),
            data: self.data.clone(),
            function: self.function.as_ref().map(|it| Box::new(it.definition())),
            batching: self.batching,
        }
    }
}

const fn yes() -> bool {
    true
}
