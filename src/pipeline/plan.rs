//! The plan of a pipeline change: the changes to commit, in an order in which they can be applied, a
//! line of the diff for each, and what the planner that fills it works on.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::document::{DestinationDocument, Document, SourceDocument};
use super::field_error::FieldError;
use super::given_secret::{GivenSecret, is_kept};
use crate::domain::clock::Timestamp;
use crate::domain::destination::Destination;
use crate::settings::secrets::Keyring;
use crate::store::{Pipeline, PipelineChange};

/// What a line of the difference is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sign {
    /// Made.
    Add,
    /// Changed.
    Change,
    /// Removed.
    Remove,
    /// Not in the document, and left alone.
    Keep,
}

impl Sign {
    /// The mark in front of the line.
    #[must_use]
    pub const fn mark(self) -> char {
        match self {
            Self::Add => '+',
            Self::Change => '~',
            Self::Remove => '-',
            Self::Keep => '=',
        }
    }
}

/// One line of the difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = DifferenceLine)]
pub struct Line {
    /// What is done.
    pub sign: Sign,
    /// To what: `mapping website/warehouse/everything`.
    pub what: String,
    /// The fields that differ; never a secret's value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

/// A write key that is made by applying, shown this once.
#[derive(Debug)]
pub(super) struct GeneratedWriteKey {
    pub(super) source: String,
    pub(super) key: SecretString,
}

/// The difference.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) changes: Vec<PipelineChange>,
    pub(super) lines: Vec<Line>,
    pub(super) generated_write_keys: Vec<GeneratedWriteKey>,
    /// Secrets that the document leaves out and nothing is kept for.
    pub(super) missing: Vec<FieldError>,
}

/// What becomes of what is not in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unlisted {
    /// It stays.
    Keep,
    /// Secrets of what is in the document go; what is not in it stays.
    RemoveSecrets,
    /// It goes.
    Remove,
}

/// What the difference is taken with.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlanContext<'a> {
    pub(super) current: &'a Pipeline,
    pub(super) keyring: &'a Keyring,
    /// What becomes of what is not in the document.
    pub(super) unlisted: Unlisted,
    pub(super) now: Timestamp,
    /// When a shared secret that is replaced now stops signing.
    pub(super) retire_at: Timestamp,
}

/// A destination in the document, and as it is.
#[derive(Clone, Copy)]
pub(super) struct DestinationPair<'a> {
    pub(super) source: &'a SourceDocument,
    pub(super) desired: &'a DestinationDocument,
    pub(super) current: Option<&'a Destination>,
}

pub(super) struct Planner<'a> {
    pub(super) context: PlanContext<'a>,
    pub(super) document: &'a Document,
    pub(super) plan: Plan,
}

impl Planner<'_> {
    pub(super) fn line(&mut self, sign: Sign, what: String, details: Vec<String>) {
        self.plan.lines.push(Line { sign, what, details });
    }

    /// What is there and not in the document.
    pub(super) fn unlisted(&mut self, what: String, removal: PipelineChange) {
        match self.context.unlisted {
            Unlisted::Remove => {
                self.plan.changes.push(removal);
                self.line(Sign::Remove, what, Vec::new());
            }
            Unlisted::Keep => self.line(Sign::Keep, what, Vec::new()),
            Unlisted::RemoveSecrets => {}
        }
    }

    /// Whether a secret that is not given stays what it is.
    pub(super) fn keeps(&self, given: Option<&GivenSecret>) -> bool {
        is_kept(given) || self.context.unlisted == Unlisted::Keep
    }

    /// The path of a destination's field in the document.
    pub(super) fn field_path(
        &self,
        source: &SourceDocument,
        destination: &DestinationDocument,
        field: &str,
    ) -> String {
        let at = self.document.sources.iter().position(|one| one.name == source.name);
        let below = source.destinations.iter().position(|one| one.name == destination.name);
        let (at, below) = (at.unwrap_or_default(), below.unwrap_or_default());
        format!("sources[{at}].destinations[{below}].{field}")
    }

    pub(super) fn changed_line(&mut self, is_new: bool, what: String, details: Vec<String>) {
        if is_new {
            self.line(Sign::Add, what, details);
        } else if !details.is_empty() {
            self.line(Sign::Change, what, details);
        }
    }
}
