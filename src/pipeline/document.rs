//! The pipeline as it is written: the shape of `pipeline.yaml` and of what is posted to be applied.
//! Fields left out have defaults; fields that are not known are refused.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::auth_document::AuthDocument;
use super::given_secret::GivenSecret;
use crate::domain::destination::{DeliveryPolicy, DestinationSettings};
use crate::domain::mapping::{Batching, FunctionDefinition, MappingDefinition, Method};

/// All sources with what is below them.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
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
    /// The identity.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// Whether it takes events.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Its write key; left out: kept, or made when the source is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_key: Option<GivenSecret>,
    /// Its destinations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<DestinationDocument>,
}

/// A destination with its mappings.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DestinationDocument {
    /// The identity within the source.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// Whether it takes deliveries.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// What its requests are signed with; left out: kept, or taken away when pruning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_secret: Option<GivenSecret>,
    /// One attempt's time, in milliseconds.
    #[serde(default = "timeout_ms")]
    #[schema(minimum = 1_000, maximum = 30_000)]
    pub timeout_ms: u32,
    /// How long a delivery is retried, in milliseconds.
    #[serde(default = "window_ms")]
    #[schema(minimum = 60_000, maximum = 2_592_000_000_u64)]
    pub window_ms: u64,
    /// Requests in flight at once.
    #[serde(default = "max_in_flight")]
    #[schema(minimum = 1, maximum = 1_024)]
    pub max_in_flight: u32,
    /// Requests started a second at most.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 100_000)]
    pub rate_per_second: Option<u32>,
    /// Whether one success settles an event for the other mappings.
    #[serde(default)]
    pub policy: DeliveryPolicy,
    /// How its requests are authorized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthDocument>,
    /// Headers of every request whose values are secret; left out: kept, or taken away when pruning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_headers: Option<BTreeMap<String, GivenSecret>>,
    /// Its mappings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mappings: Vec<MappingDocument>,
}

/// A mapping.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MappingDocument {
    /// The identity within the destination.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// Whether it takes deliveries.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Which events it takes; empty: all.
    #[serde(default)]
    pub trigger: String,
    /// Where they go.
    #[schema(value_type = serde_json::Value)]
    pub url: Value,
    /// The HTTP method.
    #[serde(default)]
    pub method: Method,
    /// HTTP headers beside our own.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    pub headers: Map<String, Value>,
    /// The payload; left out: the whole event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub data: Option<Value>,
    /// What events go through before they are rendered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<GivenFunction>,
    /// How events share requests; left out: one request an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batching: Option<Batching>,
}

/// An insert function: its source here or in a file. The command line reads the file where it runs;
/// the service takes sources only.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GivenFunction {
    /// The JavaScript.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The file that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub file: Option<PathBuf>,
    /// What its handlers get beside the event. Kept and shown in clear.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    pub settings: Map<String, Value>,
}

impl GivenFunction {
    /// What it says, once its source is there.
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
        }
    }
}

impl MappingDocument {
    /// What it says.
    #[must_use]
    pub fn definition(&self) -> MappingDefinition {
        MappingDefinition {
            trigger: self.trigger.clone(),
            url: self.url.clone(),
            method: self.method,
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

fn timeout_ms() -> u32 {
    DestinationSettings::default().timeout_ms
}

fn window_ms() -> u64 {
    DestinationSettings::default().window_ms
}

fn max_in_flight() -> u32 {
    DestinationSettings::default().max_in_flight
}
