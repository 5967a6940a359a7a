//! What a change of the pipeline names, for the audit log: a path, with its state before and after.

use serde_json::Value;

use super::pipeline_change::PipelineChange;
use crate::domain::audit::{Action, NewEntry};
use crate::domain::json_diff::is_printed_alike;

/// What a change names: a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Source(String),
    Destination(String, String),
    Mapping(String, String, String),
}

impl Subject {
    /// What a change names; none for a rename, which has an entry of its own.
    pub(super) fn of(change: &PipelineChange) -> Option<Self> {
        Some(match change {
            PipelineChange::RenameSource { .. }
            | PipelineChange::RenameDestination { .. }
            | PipelineChange::RenameMapping { .. } => return None,
            PipelineChange::PutSource { source, .. }
            | PipelineChange::PutSourceLimits { source, .. }
            | PipelineChange::PutWriteKey { source, .. }
            | PipelineChange::RemoveSource { source } => Self::Source(source.clone()),
            PipelineChange::PutDestination { source, destination, .. }
            | PipelineChange::PutSharedSecret { source, destination, .. }
            | PipelineChange::PutCredential { source, destination, .. }
            | PipelineChange::Disconnect { source, destination, .. }
            | PipelineChange::RemoveDestination { source, destination } => {
                Self::Destination(source.clone(), destination.clone())
            }
            PipelineChange::PutMapping { source, destination, mapping, .. }
            | PipelineChange::RemoveMapping { source, destination, mapping } => {
                Self::Mapping(source.clone(), destination.clone(), mapping.clone())
            }
        })
    }

    /// A destination, and a mapping of it if there is one.
    pub(super) fn below(
        (source, destination, mapping): (String, String, Option<String>),
    ) -> impl Iterator<Item = Self> {
        let mapping = mapping.map(|name| Self::Mapping(source.clone(), destination.clone(), name));
        [Some(Self::Destination(source, destination)), mapping].into_iter().flatten()
    }

    /// The names of source, destination and mapping; empty where it has none.
    pub(super) fn names(&self) -> [&str; 3] {
        match self {
            Self::Source(source) => [source, "", ""],
            Self::Destination(source, destination) => [source, destination, ""],
            Self::Mapping(source, destination, mapping) => [source, destination, mapping],
        }
    }

    /// Its audit entry; none where it has not changed.
    pub(super) fn entry(&self, before: Option<Value>, after: Option<Value>) -> Option<NewEntry> {
        let action = match (&before, &after) {
            (None, Some(_)) => Action::Create,
            (Some(_), None) => Action::Remove,
            (Some(before), Some(after)) if !is_printed_alike(before, after) => Action::Change,
            (Some(_), Some(_)) | (None, None) => return None,
        };
        let names = self.names().into_iter().filter(|name| !name.is_empty());
        let subject = names.collect::<Vec<_>>().join("/");
        Some(NewEntry { action, subject, before, after })
    }
}
