//! Renames: the stored resources that a document names anew, by `renamed_from` or by their id. The
//! rest of a plan works on the pipeline with the new names.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::document::Document;
use super::field_error::FieldError;
use crate::domain::destination::Destination;
use crate::domain::id::{DestinationId, MappingId, Noun, PublicId, SourceId};
use crate::domain::mapping::Mapping;
use crate::domain::source::Source;
use crate::store::{Pipeline, PipelineChange};

/// The renames of a document.
#[derive(Debug, Default)]
pub(super) struct Renames {
    /// The changes, with the names as they are stored.
    pub(super) changes: Vec<PipelineChange>,
    /// The name before, by the line of the diff: `source website`.
    pub(super) before: BTreeMap<String, String>,
    /// What cannot be renamed.
    pub(super) faults: Vec<FieldError>,
    sources: HashMap<SourceId, String>,
    destinations: HashMap<DestinationId, String>,
    mappings: HashMap<MappingId, String>,
}

/// A resource in the document.
struct Given<'a> {
    name: &'a str,
    id: Option<&'a str>,
    renamed_from: Option<&'a str>,
    path: String,
}

/// Stored resources with one parent.
struct Siblings<'a, T> {
    by_name: HashMap<&'a str, &'a T>,
    by_id: HashMap<String, &'a T>,
    name: fn(&T) -> &str,
}

impl<'a, T> Siblings<'a, T> {
    fn of(stored: &[&'a T], name: fn(&T) -> &str, id: fn(&T) -> PublicId) -> Self {
        Self {
            by_name: stored.iter().map(|it| (name(it), *it)).collect(),
            by_id: stored.iter().map(|it| (id(it).to_string(), *it)).collect(),
            name,
        }
    }

    /// The stored resource of each given one, by its name after the renames; errors in `faults`.
    fn resolve(&self, given: &[Given<'_>], faults: &mut Vec<FieldError>) -> Vec<Option<&'a T>> {
        let listed: HashSet<&str> = given.iter().map(|it| it.name).collect();
        let identified = given.iter().filter_map(|it| self.by_id.get(it.id?).copied());
        let identified: HashSet<&str> = identified.map(self.name).collect();
        let mut claimed = HashSet::new();
        let mut found = Vec::with_capacity(given.len());
        for it in given {
            let own = self.by_name.get(it.name).copied();
            let by_id = it.id.and_then(|id| self.by_id.get(id).copied());
            let from = it.renamed_from.filter(|from| *from != it.name);
            let by_name = from.and_then(|from| self.by_name.get(from).copied());
            let mut fault = |field: &str, message: String| {
                faults.push(FieldError::new(format!("{}.{field}", it.path), message));
            };
            let resolved = match (by_id, by_name, own) {
                (Some(stored), _, Some(own))
                    if (self.name)(stored) != it.name && !identified.contains((self.name)(own)) =>
                {
                    fault("name", format!("{} is the name of another already", it.name));
                    Some(own)
                }
                (Some(stored), _, _) => Some(stored),
                (None, Some(before), Some(own)) => {
                    let before = (self.name)(before);
                    if !listed.contains(before) {
                        let message = format!("{before} and {} exist both", it.name);
                        fault("renamed_from", message);
                    }
                    Some(own)
                }
                (None, Some(before), None) => Some(before),
                // A new one may take the name of one that is renamed by its id.
                (None, None, own) => own.filter(|own| !identified.contains((self.name)(own))),
            };
            if let Some(stored) = resolved
                && (self.name)(stored) != it.name
                && !claimed.insert((self.name)(stored))
            {
                fault("name", format!("{} is renamed twice", (self.name)(stored)));
            }
            found.push(resolved);
        }
        found
    }
}

/// Finds the renames of a document.
pub(super) fn find(current: &Pipeline, document: &Document) -> Renames {
    let mut renames = Renames::default();
    let uses = |id: &Option<String>, from: &Option<String>| id.is_some() || from.is_some();
    let is_used = document.sources.iter().any(|source| {
        uses(&source.id, &source.renamed_from)
            || source.destinations.iter().any(|it| {
                uses(&it.id, &it.renamed_from)
                    || it.mappings.iter().any(|it| uses(&it.id, &it.renamed_from))
            })
    });
    if is_used {
        Finder { current: &Below::of(current), renames: &mut renames }.sources(document);
    }
    renames
}

/// The stored resources below each parent.
struct Below<'a> {
    sources: Vec<&'a Source>,
    destinations: HashMap<SourceId, Vec<&'a Destination>>,
    mappings: HashMap<DestinationId, Vec<&'a Mapping>>,
}

impl<'a> Below<'a> {
    fn of(pipeline: &'a Pipeline) -> Self {
        let mut destinations: HashMap<_, Vec<_>> = HashMap::new();
        for it in &pipeline.destinations {
            destinations.entry(it.source_id).or_default().push(it);
        }
        let mut mappings: HashMap<_, Vec<_>> = HashMap::new();
        for it in &pipeline.mappings {
            mappings.entry(it.destination_id).or_default().push(it);
        }
        Self { sources: pipeline.sources.iter().collect(), destinations, mappings }
    }
}

struct Finder<'a> {
    current: &'a Below<'a>,
    renames: &'a mut Renames,
}

impl Finder<'_> {
    fn sources(&mut self, document: &Document) {
        let id = |it: &Source| PublicId::new(Noun::Source, it.created_at, it.id.0);
        let stored = Siblings::of(&self.current.sources, |it| &it.name, id);
        let given = document.sources.iter().enumerate().map(|(index, it)| Given {
            name: &it.name,
            id: it.id.as_deref(),
            renamed_from: it.renamed_from.as_deref(),
            path: format!("sources[{index}]"),
        });
        let given: Vec<_> = given.collect();
        let found = stored.resolve(&given, &mut self.renames.faults);
        for ((stored, given), desired) in found.into_iter().zip(&given).zip(&document.sources) {
            let Some(stored) = stored else { continue };
            if stored.name != given.name {
                let (source, to) = (stored.name.clone(), given.name.to_owned());
                self.renames.before.insert(format!("source {to}"), source.clone());
                self.renames.sources.insert(stored.id, to.clone());
                self.renames.changes.push(PipelineChange::RenameSource { source, to });
            }
            self.destinations(stored, desired, &given.path);
        }
    }

    fn destinations(
        &mut self,
        source: &Source,
        desired: &super::document::SourceDocument,
        path: &str,
    ) {
        let id = |it: &Destination| PublicId::new(Noun::Destination, it.created_at, it.id.0);
        let below = self.current.destinations.get(&source.id).map_or(&[][..], Vec::as_slice);
        let stored = Siblings::of(below, |it| &it.name, id);
        let given = desired.destinations.iter().enumerate().map(|(index, it)| Given {
            name: &it.name,
            id: it.id.as_deref(),
            renamed_from: it.renamed_from.as_deref(),
            path: format!("{path}.destinations[{index}]"),
        });
        let given: Vec<_> = given.collect();
        let found = stored.resolve(&given, &mut self.renames.faults);
        for ((stored, given), below) in found.into_iter().zip(&given).zip(&desired.destinations) {
            let Some(stored) = stored else { continue };
            let parents = format!("{}/{}", desired.name, given.name);
            if stored.name != given.name {
                let (destination, to) = (stored.name.clone(), given.name.to_owned());
                self.renames.before.insert(format!("destination {parents}"), destination.clone());
                self.renames.destinations.insert(stored.id, to.clone());
                let source = source.name.clone();
                let change = PipelineChange::RenameDestination { source, destination, to };
                self.renames.changes.push(change);
            }
            self.mappings((source, stored), below, (&parents, &given.path));
        }
    }

    fn mappings(
        &mut self,
        (source, destination): (&Source, &Destination),
        desired: &super::document::DestinationDocument,
        (parents, path): (&str, &str),
    ) {
        let id = |it: &Mapping| PublicId::new(Noun::Mapping, it.created_at, it.id.0);
        let below = self.current.mappings.get(&destination.id).map_or(&[][..], Vec::as_slice);
        let stored = Siblings::of(below, |it| &it.name, id);
        let given = desired.mappings.iter().enumerate().map(|(index, it)| Given {
            name: &it.name,
            id: it.id.as_deref(),
            renamed_from: it.renamed_from.as_deref(),
            path: format!("{path}.mappings[{index}]"),
        });
        let given: Vec<_> = given.collect();
        let found = stored.resolve(&given, &mut self.renames.faults);
        for (stored, given) in found.into_iter().zip(&given) {
            let Some(stored) = stored.filter(|it| it.name != given.name) else { continue };
            let (mapping, to) = (stored.name.clone(), given.name.to_owned());
            self.renames.before.insert(format!("mapping {parents}/{to}"), mapping.clone());
            self.renames.mappings.insert(stored.id, to.clone());
            self.renames.changes.push(PipelineChange::RenameMapping {
                source: source.name.clone(),
                destination: destination.name.clone(),
                mapping,
                to,
            });
        }
    }
}

impl Renames {
    /// The pipeline with the new names.
    pub(super) fn applied<'p>(&self, current: &'p Pipeline) -> Cow<'p, Pipeline> {
        if self.changes.is_empty() {
            return Cow::Borrowed(current);
        }
        let mut renamed = current.clone();
        for it in &mut renamed.sources {
            it.name = self.sources.get(&it.id).unwrap_or(&it.name).clone();
        }
        for it in &mut renamed.destinations {
            it.name = self.destinations.get(&it.id).unwrap_or(&it.name).clone();
        }
        for it in &mut renamed.mappings {
            it.name = self.mappings.get(&it.id).unwrap_or(&it.name).clone();
        }
        Cow::Owned(renamed)
    }
}
