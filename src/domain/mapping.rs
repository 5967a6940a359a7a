//! Mappings, their immutable revisions, and batching.

use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::id::{DestinationId, MappingId, RevisionId};
use super::json_diff::is_printed_alike;
use super::profile::{ContentTypeRule, Profile};
use crate::domain::clock::Timestamp;
use crate::domain::service_time::ServiceTime;

/// A mapping with its current revision.
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
    /// When it was last enabled; held deliveries get a fresh window from here.
    pub resumed_at: ServiceTime,
    /// The current revision.
    pub revision: MappingRevision,
    /// When it was created.
    pub created_at: Timestamp,
}

/// An immutable revision of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct MappingRevision {
    /// The key; attempts refer to it.
    pub id: RevisionId,
    /// Counts from 1 within the mapping.
    pub number: u32,
    /// Its definition.
    pub definition: MappingDefinition,
    /// When it was saved.
    pub created_at: Timestamp,
    /// The name of the token that saved it.
    pub created_by: String,
}

/// The definition of a mapping, as written; `mapping::compile` compiles it. Two are equal when they
/// are printed alike: the order of keys decides the bytes of a request, and so its signature.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MappingDefinition {
    /// The trigger expression; empty matches every event.
    #[serde(default)]
    pub trigger: String,
    /// The URL to deliver to: a string, or a directive that gives one.
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
    /// HTTP headers beside our own: name to string, or to a directive that gives one; or a directive that
    /// gives them all.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    pub headers: Map<String, Value>,
    /// The payload: directives that give an object; none: the whole event.
    #[serde(default)]
    #[schema(value_type = Option<serde_json::Value>)]
    pub data: Option<Value>,
    /// The insert function that an event passes before it is rendered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<Box<FunctionDefinition>>,
    /// Batching of events into requests; none: one request per event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batching: Option<Batching>,
}

/// How values of the event stand in a URL template. Neither changes the host of the literal text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum UrlValues {
    /// Percent-encoded for the component that they stand in.
    #[default]
    Encoded,
    /// As they are, as Segment has them.
    Raw,
}

impl UrlValues {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(crate) const fn is_default(&self) -> bool {
        matches!(self, Self::Encoded)
    }
}

/// An insert function, as written; equal when it is printed alike.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FunctionDefinition {
    /// JavaScript that defines `onTrack` and the like.
    pub source: String,
    /// Settings passed to its handlers. Stored and shown in clear.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    pub settings: Map<String, Value>,
}

impl PartialEq for MappingDefinition {
    fn eq(&self, other: &Self) -> bool {
        is_printed_alike(self, other)
    }
}

impl PartialEq for FunctionDefinition {
    fn eq(&self, other: &Self) -> bool {
        is_printed_alike(self, other)
    }
}

impl MappingDefinition {
    /// The validation errors of its batching and its profile, as (field, message).
    #[must_use]
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let mut faults = self.check_profile();
        let Some(batching) = self.batching else { return faults };
        faults.extend(batching.check());
        let is_form = |(name, value): (&String, &Value)| {
            let value = value.as_str().unwrap_or_default().to_ascii_lowercase();
            name.eq_ignore_ascii_case("content-type") && value.contains("x-www-form-urlencoded")
        };
        let sends_forms = self.profile.rules().content_type == ContentTypeRule::Sent;
        if sends_forms && self.headers.iter().any(is_form) {
            let message = "a batch is a JSON array and cannot be form-encoded: leave batching or \
                           the Content-Type header out";
            faults.push(("batching", message.to_owned()));
        }
        faults
    }

    fn check_profile(&self) -> Vec<(&'static str, String)> {
        if !self.profile.rules().is_event_only {
            return Vec::new();
        }
        let given = [
            ("data", self.data.is_some()),
            ("method", self.method != RequestMethod::default()),
            ("batching", self.batching.is_some()),
        ];
        let profile = self.profile.as_str();
        let message = || format!("does not apply to profile {profile}: it posts each event whole");
        given.into_iter().filter(|(_, is_given)| *is_given).map(|(it, _)| (it, message())).collect()
    }
}

/// Batching: a mapping's events share requests as the items of a JSON array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Batching {
    /// Maximum events in one request: 1 to 4,000; 0 is the default, as at Segment.
    #[serde(deserialize_with = "size_or_default")]
    pub size: u32,
    /// Linger time: how long an event waits for its batch to fill, in milliseconds: 0 to 60,000.
    pub linger_ms: u32,
}

/// The default of [`Batching::size`].
const DEFAULT_SIZE: u32 = 1_000;
/// The maximum of [`Batching::size`].
const MAX_SIZE: u32 = 4_000;
/// The maximum linger time, in milliseconds. It extends the lease.
const MAX_LINGER_MS: u32 = 60_000;

impl Batching {
    /// Maximum bytes in the body of one request; a larger event is sent alone.
    pub const BODY_BYTES: usize = 4_000_000;

    /// The linger time.
    #[must_use]
    pub const fn linger(&self) -> Duration {
        Duration::from_millis(self.linger_ms as u64)
    }

    fn check(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if !(1..=MAX_SIZE).contains(&self.size) {
            let message = format!("should be 1 to {MAX_SIZE}, not {}", self.size);
            faults.push(("batching.size", message));
        }
        if self.linger_ms > MAX_LINGER_MS {
            let message = format!("should be 0 to {MAX_LINGER_MS}, not {}", self.linger_ms);
            faults.push(("batching.linger_ms", message));
        }
        faults
    }
}

impl Default for Batching {
    fn default() -> Self {
        Self { size: DEFAULT_SIZE, linger_ms: 1_000 }
    }
}

fn size_or_default<'de, D: Deserializer<'de>>(input: D) -> Result<u32, D::Error> {
    Ok(match u32::deserialize(input)? {
        0 => DEFAULT_SIZE,
        size => size,
    })
}

/// The HTTP methods of a delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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

/// The method of a mapping's requests.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum RequestMethod {
    /// The same for every event.
    Fixed(Method),
    /// A directive that gives one.
    FromEvent(Map<String, Value>),
}

impl Default for RequestMethod {
    fn default() -> Self {
        Self::Fixed(Method::Post)
    }
}

impl<'de> Deserialize<'de> for RequestMethod {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        match Value::deserialize(input)? {
            Value::Object(directive) => Ok(Self::FromEvent(directive)),
            other @ (Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)) => {
                Method::deserialize(other).map(Self::Fixed).map_err(D::Error::custom)
            }
        }
    }
}

impl Method {
    /// The method of this name; none when there is none.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Post, Self::Put, Self::Patch].into_iter().find(|it| it.as_str() == name)
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn definition(batching: Value, headers: Value) -> MappingDefinition {
        let definition =
            json!({"url": "https://a.test/", "batching": batching, "headers": headers});
        serde_json::from_value(definition).expect("well-formed")
    }

    #[test]
    fn definitions_are_equal_when_they_are_printed_alike() {
        let of = |data: &str| -> MappingDefinition {
            let text = format!(r#"{{"url": "https://a.test/", "data": {data}}}"#);
            serde_json::from_str(&text).expect("well-formed")
        };
        assert_eq!(of(r#"{"a": 1, "b": {"c": 2}}"#), of(r#"{ "a":1,"b":{"c":2} }"#));
        for (one, other) in [
            (r#"{"a": 1, "b": 2}"#, r#"{"b": 2, "a": 1}"#),
            (r#"{"a": [{"b": 1, "c": 2}]}"#, r#"{"a": [{"c": 2, "b": 1}]}"#),
            (r#"{"a": 0.0}"#, r#"{"a": -0.0}"#),
        ] {
            assert_ne!(of(one), of(other), "{one}");
        }
    }

    #[test]
    fn a_batch_has_a_thousand_events_by_default() {
        let size = |batching| definition(batching, json!({})).batching.map(|it| it.size);
        assert_eq!(size(json!(null)), None);
        assert_eq!(size(json!({})), Some(1_000));
        assert_eq!(size(json!({"size": 0, "linger_ms": 5})), Some(1_000));
        assert_eq!(size(json!({"size": 4_000})), Some(4_000));
    }

    #[test]
    fn invalid_batching_is_refused_with_its_path() {
        let paths = |batching, headers| {
            let faults = definition(batching, headers).check();
            faults.into_iter().map(|(path, _)| path).collect::<Vec<_>>()
        };
        assert_eq!(
            paths(json!({"size": 4_001, "linger_ms": 60_001}), json!({})),
            ["batching.size", "batching.linger_ms"]
        );
        assert_eq!(paths(json!({"size": 1, "linger_ms": 0}), json!({})), [""; 0]);
        let form = json!({"content-Type": "application/x-www-form-urlencoded; charset=utf-8"});
        assert_eq!(paths(json!({}), form.clone()), ["batching"]);
        assert_eq!(paths(json!(null), form), [""; 0]);
    }
}
