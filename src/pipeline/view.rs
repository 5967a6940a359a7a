//! The pipeline as the API returns it, without the values of secrets.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ConnectionView;
use crate::domain::destination::{Destination, DestinationSettings};
use crate::domain::id::{Noun, PublicId};
use crate::domain::mapping::{Mapping, MappingDefinition};
use crate::domain::source::SourceLimits;
use crate::store::{CredentialSlot, Pipeline};

/// The pipeline.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PipelineView {
    /// Its version, incremented by every change.
    pub version: i64,
    /// The sources.
    pub sources: Vec<SourceView>,
}

/// A source.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SourceView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it accepts events.
    pub enabled: bool,
    /// What it may send: rate, burst and daily quota.
    #[serde(flatten)]
    pub limits: SourceLimits,
    /// Its destinations.
    pub destinations: Vec<DestinationView>,
}

/// A destination.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DestinationView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Whether its requests are signed.
    pub has_shared_secret: bool,
    /// Whether the bearer token or client secret of its auth is stored.
    pub has_credential: bool,
    /// The names of its secret headers.
    pub secret_headers: Vec<String>,
    /// The names of its secret query parameters.
    #[serde(default)]
    pub secret_parameters: Vec<String>,
    /// The state of its connection, where it needs one.
    pub connection: Option<ConnectionView>,
    /// Its settings.
    pub settings: DestinationSettings,
    /// Its mappings.
    pub mappings: Vec<MappingView>,
}

/// A mapping with its current revision.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MappingView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it is enabled.
    pub enabled: bool,
    /// The revision's number.
    pub revision: u32,
    /// Its definition.
    pub definition: MappingDefinition,
}

impl PipelineView {
    /// The view of a pipeline.
    #[must_use]
    pub fn of(pipeline: &Pipeline) -> Self {
        let sources = pipeline.sources.iter().map(|source| SourceView {
            id: PublicId::new(Noun::Source, source.created_at, source.id.0).to_string(),
            name: source.name.clone(),
            enabled: source.enabled,
            limits: source.limits,
            destinations: pipeline
                .destinations
                .iter()
                .filter(|destination| destination.source_id == source.id)
                .map(|destination| DestinationView::of(destination, pipeline))
                .collect(),
        });
        Self { version: pipeline.version, sources: sources.collect() }
    }
}

impl DestinationView {
    fn of(destination: &Destination, pipeline: &Pipeline) -> Self {
        let id = PublicId::new(Noun::Destination, destination.created_at, destination.id.0);
        let spellings = destination.settings.secret_header_spellings();
        Self {
            id: id.to_string(),
            name: destination.name.clone(),
            enabled: destination.enabled,
            has_shared_secret: pipeline
                .shared_secrets
                .iter()
                .any(|secret| secret.destination_id == destination.id),
            has_credential: credentials(destination, pipeline).any(|slot| {
                matches!(slot, CredentialSlot::BearerToken | CredentialSlot::ClientSecret)
            }),
            secret_headers: credentials(destination, pipeline)
                .filter_map(|slot| match slot {
                    CredentialSlot::Header(name) => Some(spellings.spell(name).to_owned()),
                    CredentialSlot::BearerToken
                    | CredentialSlot::ClientSecret
                    | CredentialSlot::Parameter(_) => None,
                })
                .collect(),
            secret_parameters: credentials(destination, pipeline)
                .filter_map(|slot| match slot {
                    CredentialSlot::Parameter(name) => Some(name.clone()),
                    CredentialSlot::BearerToken
                    | CredentialSlot::ClientSecret
                    | CredentialSlot::Header(_) => None,
                })
                .collect(),
            connection: ConnectionView::of(pipeline, destination),
            settings: destination.settings.clone(),
            mappings: pipeline
                .mappings
                .iter()
                .filter(|mapping| mapping.destination_id == destination.id)
                .map(MappingView::of)
                .collect(),
        }
    }
}

fn credentials<'p>(
    destination: &Destination,
    pipeline: &'p Pipeline,
) -> impl Iterator<Item = &'p CredentialSlot> {
    let id = destination.id;
    let credentials = pipeline.credentials.iter();
    credentials.filter(move |one| one.destination_id == id).map(|one| &one.slot)
}

impl MappingView {
    fn of(mapping: &Mapping) -> Self {
        Self {
            id: PublicId::new(Noun::Mapping, mapping.created_at, mapping.id.0).to_string(),
            name: mapping.name.clone(),
            enabled: mapping.enabled,
            revision: mapping.revision.number,
            definition: mapping.revision.definition.clone(),
        }
    }
}
