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

/// The kind of a line of the diff.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sign {
    /// Created.
    Add,
    /// Changed.
    Change,
    /// Removed.
    Remove,
    /// Not in the document, and kept.
    Keep,
}

impl Sign {
    /// The sign in front of the line.
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

/// One line of the diff.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = DifferenceLine)]
pub struct Line {
    /// The kind.
    pub sign: Sign,
    /// The resource: `mapping website/warehouse/everything`.
    pub what: String,
    /// The fields that differ, without values of secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

/// A generated write key, shown once.
#[derive(Debug)]
pub(super) struct GeneratedWriteKey {
    pub(super) source: String,
    pub(super) key: SecretString,
}

/// The plan.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) changes: Vec<PipelineChange>,
    pub(super) lines: Vec<Line>,
    pub(super) generated_write_keys: Vec<GeneratedWriteKey>,
    /// Required secrets that neither the document nor the store has.
    pub(super) missing: Vec<FieldError>,
}

/// The treatment of what is not in the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unlisted {
    /// It is kept.
    Keep,
    /// Secrets that a listed resource leaves out are removed; unlisted resources are kept.
    RemoveSecrets,
    /// It is removed.
    Remove,
}

/// The input of a plan besides the document.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlanContext<'a> {
    pub(super) current: &'a Pipeline,
    pub(super) keyring: &'a Keyring,
    /// The treatment of what is not in the document.
    pub(super) unlisted: Unlisted,
    pub(super) now: Timestamp,
    /// When a replaced shared secret stops signing.
    pub(super) retire_at: Timestamp,
}

/// A destination in the document, and as stored.
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

    /// Plans a stored resource that is not in the document.
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

    /// Whether a secret without a value is kept.
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
