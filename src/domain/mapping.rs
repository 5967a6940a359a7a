//! Mappings: what goes where, and their immutable revisions.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::id::{DestinationId, MappingId, RevisionId};
use crate::clock::Timestamp;

/// A mapping with the revision now in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    /// The key.
    pub id: MappingId,
    /// The destination it belongs to.
    pub destination_id: DestinationId,
    /// The identity: unique within the destination.
    pub name: String,
    /// A disabled mapping gets no new deliveries and holds its pending ones.
    pub enabled: bool,
    /// When it was last enabled: held deliveries have a window from here.
    pub resumed_at: Timestamp,
    /// What it does now.
    pub revision: MappingRevision,
    /// When it was made.
    pub created_at: Timestamp,
}

/// One immutable state of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct MappingRevision {
    /// The key; attempts point at it.
    pub id: RevisionId,
    /// Counts from 1 within the mapping.
    pub number: u32,
    /// What it says.
    pub definition: MappingDefinition,
    /// When it was saved.
    pub created_at: Timestamp,
}

/// What a mapping says, as written; `mapping::compile` makes it runnable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MappingDefinition {
    /// The trigger expression; empty matches every event.
    #[serde(default)]
    pub trigger: String,
    /// The URL to deliver to: a string, or a directive that gives one.
    pub url: Value,
    /// The HTTP method.
    #[serde(default)]
    pub method: Method,
    /// HTTP headers beside our own: name to string, or to a directive that gives one.
    #[serde(default)]
    pub headers: Map<String, Value>,
    /// The payload: directives that give an object; none: the whole event.
    #[serde(default)]
    pub data: Option<Value>,
    /// What the event goes through before it is rendered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<Box<FunctionDefinition>>,
}

/// An insert function, as written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunctionDefinition {
    /// JavaScript that defines `onTrack` and the like.
    pub source: String,
    /// What its handlers get beside the event. Kept and shown in clear.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub settings: Map<String, Value>,
}

/// The methods a delivery can use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// POST.
    #[default]
    Post,
    /// PUT.
    Put,
    /// PATCH.
    Patch,
}

impl Method {
    /// The token on the request line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
        }
    }
}
