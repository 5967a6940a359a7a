//! Profiles: in what a mapping's requests follow Segment's webhook definitions rather than our own rules. Every
//! difference is a field of [`RequestRules`]; no other place asks which profile a mapping has.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whose rules a mapping's requests follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Postrider's own.
    #[default]
    Postrider,
    /// Those of Segment's Webhooks (Classic).
    SegmentClassic,
    /// Those of Segment's Webhooks (Actions).
    SegmentActions,
    /// Those of Segment's Extensible Webhook.
    SegmentExtensible,
}

/// What differs between profiles.
#[derive(Debug, PartialEq, Eq)]
pub struct RequestRules {
    /// What a mapping's `Content-Type` does.
    pub content_type: ContentTypeRule,
    /// How a header's value becomes text.
    pub header_values: HeaderValueRule,
    /// How the values of a form become text.
    pub form_values: FormValueRule,
    /// What an event without data sends.
    pub missing_data: MissingDataRule,
    /// What `X-Signature` covers.
    pub x_signature: XSignatureRule,
    /// What the items of a batch are.
    pub batch_items: BatchItemRule,
    /// Whether requests are the event whole, posted one by one.
    pub is_event_only: bool,
    /// The least timeout of an attempt, in milliseconds: a destination may have a longer one.
    pub timeout_ms: u32,
    /// The `User-Agent`, where the mapping sets none; none: the setting `user_agent`.
    pub user_agent: Option<&'static str>,
}

/// What a mapping's `Content-Type` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentTypeRule {
    /// It is sent; the media type of a form makes the body a form.
    Sent,
    /// Nothing: a body is JSON, and is sent as JSON.
    Json,
    /// It is sent; the body is JSON all the same.
    HeaderOnly,
    /// Written `Content-Type` or `content-type`, exactly the media type of a form makes the body a form;
    /// any other is sent as JSON.
    ExactForm,
}

/// How a header's value becomes text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderValueRule {
    /// Null leaves the header out; an array or an object is an error.
    Scalar,
    /// As JavaScript converts it; what gives `undefined` is left out.
    JavaScript,
}

/// How the values of a form become text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormValueRule {
    /// What contains an object is JSON; else as JavaScript converts it.
    JsonForObjects,
    /// As JavaScript converts it: an object is `[object Object]`.
    JavaScript,
}

/// What an event sends for which `data` gives nothing, null or empty text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingDataRule {
    /// Nothing: its delivery is dead, reason `render`.
    Dead,
    /// An empty body without a signature in `X-Signature`; null in a batch.
    Empty,
}

/// What `X-Signature` covers; in a batch, of its first item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XSignatureRule {
    /// The bytes sent.
    Body,
    /// The data as JSON, also where a form is sent.
    Data,
}

/// What the items of a batch are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchItemRule {
    /// The data. A form cannot be one.
    Data,
    /// `{"json": data}`, or of forms `{"body": "a=1"}`.
    Wrapped,
}

const POSTRIDER: RequestRules = RequestRules {
    content_type: ContentTypeRule::Sent,
    header_values: HeaderValueRule::Scalar,
    form_values: FormValueRule::JsonForObjects,
    missing_data: MissingDataRule::Dead,
    x_signature: XSignatureRule::Body,
    batch_items: BatchItemRule::Data,
    is_event_only: false,
    timeout_ms: 0,
    user_agent: None,
};

const SEGMENT_CLASSIC: RequestRules = RequestRules {
    content_type: ContentTypeRule::HeaderOnly,
    is_event_only: true,
    timeout_ms: 5_000,
    user_agent: Some("Segment.io/1.0"),
    ..POSTRIDER
};

const SEGMENT_ACTIONS: RequestRules = RequestRules {
    content_type: ContentTypeRule::Json,
    header_values: HeaderValueRule::JavaScript,
    form_values: FormValueRule::JavaScript,
    missing_data: MissingDataRule::Empty,
    x_signature: XSignatureRule::Data,
    batch_items: BatchItemRule::Data,
    is_event_only: false,
    timeout_ms: 10_000,
    user_agent: Some("Segment (Actions)"),
};

const SEGMENT_EXTENSIBLE: RequestRules = RequestRules {
    content_type: ContentTypeRule::ExactForm,
    batch_items: BatchItemRule::Wrapped,
    ..SEGMENT_ACTIONS
};

impl Profile {
    /// Its rules.
    #[must_use]
    pub const fn rules(self) -> &'static RequestRules {
        match self {
            Self::Postrider => &POSTRIDER,
            Self::SegmentClassic => &SEGMENT_CLASSIC,
            Self::SegmentActions => &SEGMENT_ACTIONS,
            Self::SegmentExtensible => &SEGMENT_EXTENSIBLE,
        }
    }

    /// The name of Segment's definition, which counts in an event's `integrations`; none for our own.
    #[must_use]
    pub const fn catalogue_name(self) -> Option<&'static str> {
        match self {
            Self::Postrider => None,
            Self::SegmentClassic => Some("Webhooks"),
            Self::SegmentActions => Some("Webhooks (Actions)"),
            Self::SegmentExtensible => Some("Extensible Webhook"),
        }
    }

    /// Its name in a document.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Postrider => "postrider",
            Self::SegmentClassic => "segment_classic",
            Self::SegmentActions => "segment_actions",
            Self::SegmentExtensible => "segment_extensible",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(crate) const fn is_default(&self) -> bool {
        matches!(self, Self::Postrider)
    }
}

impl RequestRules {
    /// The least timeout of an attempt.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_written_as_it_is_named() {
        for profile in [
            Profile::Postrider,
            Profile::SegmentClassic,
            Profile::SegmentActions,
            Profile::SegmentExtensible,
        ] {
            let text = serde_json::to_string(&profile).expect("JSON");
            assert_eq!(text, format!("\"{}\"", profile.as_str()));
        }
    }
}
