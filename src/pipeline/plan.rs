//! The plan of a pipeline change: the changes to commit, in an order in which they can be applied, a
//! line of the diff for each, and what the planner that fills it works on.

use std::collections::{BTreeMap, HashMap};

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::document::{DestinationDocument, Document, SourceDocument};
use super::field_error::FieldError;
use super::given_secret::{GivenSecret, is_kept};
use super::resource::Target;
use crate::domain::clock::Moment;
use crate::domain::destination::Destination;
use crate::domain::id::{DestinationId, MappingId, SourceId};
use crate::domain::mapping::Mapping;
use crate::domain::service_time::ServiceTime;
use crate::domain::source::Source;
use crate::settings::secrets::Keyring;
use crate::store::{Pipeline, PipelineChange, WriteKey};

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
    /// The mappings that each removal ends, by its line of the diff.
    pub(super) removed: Vec<(usize, Vec<MappingId>)>,
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
    /// The stored pipeline, with the new names of what is renamed.
    pub(super) current: &'a Pipeline,
    /// The names before, by the line of the diff.
    pub(super) renamed: &'a BTreeMap<String, String>,
    pub(super) keyring: &'a Keyring,
    /// The treatment of what is not in the document.
    pub(super) unlisted: Unlisted,
    pub(super) now: Moment,
    /// When a replaced shared secret stops signing.
    pub(super) retire_at: ServiceTime,
}

/// A destination in the document, and as stored.
#[derive(Clone, Copy)]
pub(super) struct DestinationPair<'a> {
    pub(super) source: &'a SourceDocument,
    pub(super) desired: &'a DestinationDocument,
    pub(super) current: Option<&'a Destination>,
}

/// The stored pipeline, by what a plan looks up.
#[derive(Debug, Default)]
pub(super) struct Index<'a> {
    pub(super) sources: HashMap<&'a str, &'a Source>,
    pub(super) write_keys: HashMap<SourceId, &'a WriteKey>,
    pub(super) destinations: HashMap<(SourceId, &'a str), &'a Destination>,
    pub(super) below_source: HashMap<SourceId, Vec<&'a Destination>>,
    pub(super) mappings: HashMap<(DestinationId, &'a str), &'a Mapping>,
    pub(super) below_destination: HashMap<DestinationId, Vec<&'a Mapping>>,
}

impl<'a> Index<'a> {
    pub(super) fn of(pipeline: &'a Pipeline) -> Self {
        let mut index = Self::default();
        index.sources.extend(pipeline.sources.iter().map(|it| (it.name.as_str(), it)));
        index.write_keys.extend(pipeline.write_keys.iter().map(|it| (it.source_id, it)));
        for it in &pipeline.destinations {
            index.destinations.insert((it.source_id, &it.name), it);
            index.below_source.entry(it.source_id).or_default().push(it);
        }
        for it in &pipeline.mappings {
            index.mappings.insert((it.destination_id, &it.name), it);
            index.below_destination.entry(it.destination_id).or_default().push(it);
        }
        index
    }

    /// The destinations that a target is, has or is in, each with its source's name.
    fn destinations_of<'t>(&self, target: &'t Target) -> Vec<(&'t str, &'a Destination)> {
        let (name, destination) = match target {
            Target::Source(name) => (name, None),
            Target::Destination(name, destination) | Target::Mapping(name, destination, _) => {
                (name, Some(destination))
            }
        };
        let Some(source) = self.sources.get(name.as_str()) else { return Vec::new() };
        let below = self.below_source.get(&source.id).into_iter().flatten();
        let wanted = below.filter(|it| destination.is_none_or(|name| it.name == *name));
        wanted.map(|it| (name.as_str(), *it)).collect()
    }
}

pub(super) struct Planner<'a> {
    pub(super) context: PlanContext<'a>,
    pub(super) index: Index<'a>,
    pub(super) document: &'a Document,
    pub(super) plan: Plan,
}

impl Plan {
    /// Plans the removal of a stored resource, and before it of each below it: a large removal is applied
    /// in parts.
    pub(super) fn remove(&mut self, target: &Target, index: &Index<'_>) {
        let mut mappings = Vec::new();
        let mut changes = Vec::new();
        for (source, destination) in index.destinations_of(target) {
            for mapping in index.below_destination.get(&destination.id).into_iter().flatten() {
                let names = [source, &destination.name, &mapping.name].map(ToOwned::to_owned);
                let [source, of, name] = names;
                let below = Target::Mapping(source, of, name);
                if matches!(target, Target::Mapping(..)) && below != *target {
                    continue;
                }
                mappings.push(mapping.id);
                changes.push(below.removal());
            }
            if !matches!(target, Target::Mapping(..)) {
                let names = (source.to_owned(), destination.name.clone());
                changes.push(Target::Destination(names.0, names.1).removal());
            }
        }
        if matches!(target, Target::Source(_)) {
            changes.push(target.removal());
        }
        self.removed.push((self.lines.len(), mappings));
        self.line(Sign::Remove, target.to_string());
        self.changes.extend(changes);
    }

    fn line(&mut self, sign: Sign, what: String) {
        self.lines.push(Line { sign, what, details: Vec::new() });
    }

    /// Adds to each removal how many deliveries wait there.
    pub(super) fn tell_waiting(&mut self, waiting: &BTreeMap<MappingId, u64>) {
        for (line, mappings) in &self.removed {
            let count: u64 = mappings.iter().filter_map(|id| waiting.get(id)).sum();
            if let Some(line) = self.lines.get_mut(*line).filter(|_| count > 0) {
                let deliveries = if count == 1 { "delivery waits" } else { "deliveries wait" };
                line.details
                    .push(format!("{count} {deliveries}: dead letters with reason removed"));
            }
        }
    }
}

impl Planner<'_> {
    pub(super) fn line(&mut self, sign: Sign, what: String, details: Vec<String>) {
        self.plan.lines.push(Line { sign, what, details });
    }

    /// Plans a stored resource that is not in the document.
    pub(super) fn unlisted(&mut self, target: &Target) {
        let what = target.to_string();
        match self.context.unlisted {
            Unlisted::Remove => self.plan.remove(target, &self.index),
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

    pub(super) fn changed_line(&mut self, is_new: bool, what: String, mut details: Vec<String>) {
        if let Some(before) = self.context.renamed.get(&what) {
            let name = what.rsplit_once('/').or_else(|| what.split_once(' '));
            let name = name.map_or("", |(_, name)| name);
            details.insert(0, format!("name: {before} → {name}"));
        }
        if is_new {
            self.line(Sign::Add, what, details);
        } else if !details.is_empty() {
            self.line(Sign::Change, what, details);
        }
    }
}
