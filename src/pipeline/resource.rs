//! Resources by path: a source, destination or mapping by its names, from the source down; its
//! document and its ETag.

use std::fmt;

use serde::Serialize;

use super::document::{DestinationDocument, Document, MappingDocument, SourceDocument};
use crate::domain::destination::Destination;
use crate::domain::digest::sha256;
use crate::domain::mapping::Mapping;
use crate::domain::source::Source;
use crate::store::{Pipeline, PipelineChange};

/// The names of a source, a destination or a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A source.
    Source(String),
    /// A destination, after its source.
    Destination(String, String),
    /// A mapping, after its source and destination.
    Mapping(String, String, String),
}

/// A stored resource.
#[derive(Clone, Copy, Debug)]
pub enum Found<'p> {
    /// A source.
    Source(&'p Source),
    /// A destination.
    Destination(&'p Destination),
    /// A mapping.
    Mapping(&'p Mapping),
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(source) => write!(out, "source {source}"),
            Self::Destination(source, name) => write!(out, "destination {source}/{name}"),
            Self::Mapping(source, destination, name) => {
                write!(out, "mapping {source}/{destination}/{name}")
            }
        }
    }
}

impl Target {
    /// The target of 1 to 3 names, the source first; none without a name.
    #[must_use]
    pub fn at(names: impl IntoIterator<Item = String>) -> Option<Self> {
        let mut names = names.into_iter();
        let source = names.next()?;
        Some(match (names.next(), names.next()) {
            (Some(destination), Some(mapping)) => Self::Mapping(source, destination, mapping),
            (Some(destination), None) => Self::Destination(source, destination),
            (None, _) => Self::Source(source),
        })
    }

    /// Its name, without its parents.
    #[must_use]
    pub fn name(&self) -> &str {
        let (Self::Source(name) | Self::Destination(_, name) | Self::Mapping(_, _, name)) = self;
        name
    }

    /// Its parent; none for a source.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        match self {
            Self::Source(_) => None,
            Self::Destination(source, _) => Some(Self::Source(source.clone())),
            Self::Mapping(source, destination, _) => {
                Some(Self::Destination(source.clone(), destination.clone()))
            }
        }
    }

    /// Finds it in a pipeline.
    #[must_use]
    pub fn find<'p>(&self, pipeline: &'p Pipeline) -> Option<Found<'p>> {
        match self {
            Self::Source(name) => source(pipeline, name).map(Found::Source),
            Self::Destination(of, name) => destination(pipeline, of, name).map(Found::Destination),
            Self::Mapping(source, of, name) => {
                let id = destination(pipeline, source, of)?.id;
                let mut mappings = pipeline.mappings.iter();
                mappings.find(|it| it.destination_id == id && it.name == *name).map(Found::Mapping)
            }
        }
    }

    /// The same place with another name.
    pub(super) fn renamed(&self, to: &str) -> Self {
        match self.clone() {
            Self::Source(_) => Self::Source(to.to_owned()),
            Self::Destination(source, _) => Self::Destination(source, to.to_owned()),
            Self::Mapping(source, destination, _) => {
                Self::Mapping(source, destination, to.to_owned())
            }
        }
    }

    /// The change that removes it.
    pub(super) fn removal(&self) -> PipelineChange {
        match self.clone() {
            Self::Source(source) => PipelineChange::RemoveSource { source },
            Self::Destination(source, destination) => {
                PipelineChange::RemoveDestination { source, destination }
            }
            Self::Mapping(source, destination, mapping) => {
                PipelineChange::RemoveMapping { source, destination, mapping }
            }
        }
    }

    /// The path of its fields in a document of this target alone.
    pub(super) const fn document_path(&self) -> &'static str {
        match self {
            Self::Source(_) => "sources[0].",
            Self::Destination(..) => "sources[0].destinations[0].",
            Self::Mapping(..) => "sources[0].destinations[0].mappings[0].",
        }
    }
}

fn source<'p>(pipeline: &'p Pipeline, name: &str) -> Option<&'p Source> {
    pipeline.sources.iter().find(|it| it.name == name)
}

fn destination<'p>(pipeline: &'p Pipeline, of: &str, name: &str) -> Option<&'p Destination> {
    let id = source(pipeline, of)?.id;
    pipeline.destinations.iter().find(|it| it.source_id == id && it.name == name)
}

/// The document of one resource.
#[derive(Clone, Debug)]
pub(super) enum Written {
    Source(SourceDocument),
    Destination(DestinationDocument),
    Mapping(MappingDocument),
}

impl Written {
    /// Its name.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Source(it) => &it.name,
            Self::Destination(it) => &it.name,
            Self::Mapping(it) => &it.name,
        }
    }

    /// As the new name of the stored one.
    pub(super) fn renamed_from(mut self, name: &str) -> Self {
        let from = match &mut self {
            Self::Source(it) => &mut it.renamed_from,
            Self::Destination(it) => &mut it.renamed_from,
            Self::Mapping(it) => &mut it.renamed_from,
        };
        *from = Some(name.to_owned());
        self
    }

    pub(super) fn of(found: Found<'_>, pipeline: &Pipeline) -> Self {
        match found {
            Found::Source(source) => Self::Source(SourceDocument::of(source)),
            Found::Destination(it) => Self::Destination(DestinationDocument::of(it, pipeline)),
            Found::Mapping(mapping) => Self::Mapping(MappingDocument::of(mapping)),
        }
    }

    /// A pipeline document of this resource and its stored parents; none where a parent does not
    /// exist.
    pub(super) fn into_document(self, target: &Target, pipeline: &Pipeline) -> Option<Document> {
        let above = |name: &str| source(pipeline, name).map(SourceDocument::of);
        let source = match (self, target) {
            (Self::Source(source), Target::Source(_)) => source,
            (Self::Destination(destination), Target::Destination(of, _)) => {
                SourceDocument { destinations: vec![destination], ..above(of)? }
            }
            (Self::Mapping(mapping), Target::Mapping(of, under, _)) => {
                let under = DestinationDocument::of(destination(pipeline, of, under)?, pipeline);
                let destination = DestinationDocument { mappings: vec![mapping], ..under };
                SourceDocument { destinations: vec![destination], ..above(of)? }
            }
            (Self::Source(_) | Self::Destination(_) | Self::Mapping(_), _) => return None,
        };
        Some(Document { sources: vec![source] })
    }
}

impl Found<'_> {
    /// The ETag: it changes with the resource and its secrets, and does not reveal them.
    #[must_use]
    pub fn tag(self, pipeline: &Pipeline) -> String {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        match (self, Written::of(self, pipeline)) {
            (Self::Source(source), Written::Source(document)) => {
                parts.push(json(&(source.id.0, document)));
                let keys = pipeline.write_keys.iter().filter(|it| it.source_id == source.id);
                parts.extend(keys.map(|key| key.sealed.id.to_vec()));
            }
            (Self::Destination(destination), Written::Destination(document)) => {
                parts.push(json(&(destination.id.0, document)));
                let secrets = pipeline.shared_secrets.iter();
                let secrets = secrets.filter(|it| it.destination_id == destination.id);
                parts.extend(secrets.map(|it| it.secret.id.to_vec()));
                let credentials = pipeline.credentials.iter();
                let credentials = credentials.filter(|it| it.destination_id == destination.id);
                parts.extend(credentials.map(|it| it.secret.id.to_vec()));
            }
            (Self::Mapping(mapping), Written::Mapping(document)) => {
                parts.push(json(&(mapping.id.0, mapping.revision.number, document)));
            }
            (Self::Source(_) | Self::Destination(_) | Self::Mapping(_), _) => {}
        }
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        hex::encode(&sha256(&parts)[..12])
    }
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
