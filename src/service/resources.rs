//! Sources, destinations and mappings one by one: read with the tag that guards a change, and changed.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::deliveries::Page;
use super::filter::{self, Condition};
use super::{Refusal, Service, parameters};
use crate::domain::auth::{Admin, Caller};
use crate::domain::destination::Destination;
use crate::domain::id::{Noun, PublicId};
use crate::domain::mapping::Mapping;
use crate::domain::source::Source;
use crate::pipeline::{
    Change, Changed, ConnectionView, DestinationDocument, Found, Guard, MappingDocument,
    SourceDocument, Target,
};
use crate::store::Pipeline;

/// What the service says of a source, a destination or a mapping and nobody can set: left aside when
/// it is given back.
const SAID: [&str; 6] = ["id", "source", "destination", "created_at", "revision", "connection"];

/// A source.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SourceDetail {
    /// Its id.
    pub id: String,
    /// When it was made.
    pub created_at: String,
    /// What can be set.
    #[serde(flatten)]
    pub document: SourceDocument,
}

/// A destination. Each of its secrets is the word `kept`; without it, the secret goes.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DestinationDetail {
    /// Its id.
    pub id: String,
    /// Its source.
    pub source: String,
    /// When it was made.
    pub created_at: String,
    /// How its connection stands, where it needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionView>,
    /// What can be set.
    #[serde(flatten)]
    pub document: DestinationDocument,
}

/// A mapping.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MappingDetail {
    /// Its id.
    pub id: String,
    /// Its source.
    pub source: String,
    /// Its destination.
    pub destination: String,
    /// When it was made.
    pub created_at: String,
    /// The number of the revision in force.
    pub revision: u32,
    /// What can be set.
    #[serde(flatten)]
    pub document: MappingDocument,
}

/// One of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Detail {
    /// A mapping.
    Mapping(Box<MappingDetail>),
    /// A destination.
    Destination(Box<DestinationDetail>),
    /// A source.
    Source(Box<SourceDetail>),
}

/// One of them as it is now, with the tag that a change of it can be guarded by.
#[derive(Clone, Debug)]
pub struct Tagged {
    /// It.
    pub detail: Detail,
    /// Its tag.
    pub tag: String,
}

impl Detail {
    fn of(found: Found<'_>, pipeline: &Pipeline) -> Self {
        match found {
            Found::Source(source) => Self::Source(Box::new(SourceDetail::of(source))),
            Found::Destination(it) => {
                Self::Destination(Box::new(DestinationDetail::of(it, pipeline)))
            }
            Found::Mapping(mapping) => {
                Self::Mapping(Box::new(MappingDetail::of(mapping, pipeline)))
            }
        }
    }
}

impl SourceDetail {
    fn of(source: &Source) -> Self {
        Self {
            id: PublicId::new(Noun::Source, source.created_at, source.id.0).to_string(),
            created_at: source.created_at.to_iso(),
            document: SourceDocument::of(source),
        }
    }
}

impl DestinationDetail {
    fn of(destination: &Destination, pipeline: &Pipeline) -> Self {
        let id = PublicId::new(Noun::Destination, destination.created_at, destination.id.0);
        let path = filter::destination_path(pipeline, destination.id);
        Self {
            id: id.to_string(),
            source: path.first().cloned().unwrap_or_default(),
            created_at: destination.created_at.to_iso(),
            connection: ConnectionView::of(pipeline, destination),
            document: DestinationDocument::of(destination, pipeline),
        }
    }
}

impl MappingDetail {
    fn of(mapping: &Mapping, pipeline: &Pipeline) -> Self {
        let mut path = filter::mapping_path(pipeline, mapping.id).into_iter();
        Self {
            id: PublicId::new(Noun::Mapping, mapping.created_at, mapping.id.0).to_string(),
            source: path.next().unwrap_or_default(),
            destination: path.next().unwrap_or_default(),
            created_at: mapping.created_at.to_iso(),
            revision: mapping.revision.number,
            document: MappingDocument::of(mapping),
        }
    }
}

impl Service {
    /// One source, destination or mapping.
    ///
    /// # Errors
    /// [`Refusal`] when there is none.
    pub async fn detail(&self, caller: &Caller, target: &Target) -> Result<Tagged, Refusal> {
        let pipeline = self.pipeline(caller).await?;
        let found = target.find(&pipeline).ok_or_else(|| Refusal::Missing(target.to_string()))?;
        Ok(Tagged { detail: Detail::of(found, &pipeline), tag: found.tag(&pipeline) })
    }

    /// Changes one source, destination or mapping, as `Editor::change` does.
    ///
    /// # Errors
    /// [`Refusal`]; nothing is changed then.
    pub async fn change(
        &self,
        admin: &Admin,
        target: &Target,
        guard: &Guard,
        change: Change,
    ) -> Result<Changed, Refusal> {
        let change = match change {
            Change::Put(value) => Change::Put(without_said(value)),
            Change::Patch(value) => Change::Patch(without_said(value)),
            other @ (Change::Say(_) | Change::Remove | Change::Rotate) => other,
        };
        Ok(self.editor.change(admin, target, guard, &change).await?)
    }

    /// Every source, by name.
    ///
    /// # Errors
    /// [`Refusal`], with each condition that is not right.
    pub async fn sources(
        &self,
        caller: &Caller,
        conditions: &[Condition],
    ) -> Result<Page<SourceDetail>, Refusal> {
        let pipeline = self.pipeline(caller).await?;
        filter::within(conditions, &[], &pipeline)?;
        Ok(whole(pipeline.sources.iter().map(SourceDetail::of)))
    }

    /// Destinations by source and name; only those of `source`, if it is given.
    ///
    /// # Errors
    /// [`Refusal`], with each condition that is not right.
    pub async fn destinations(
        &self,
        caller: &Caller,
        conditions: &[Condition],
    ) -> Result<Page<DestinationDetail>, Refusal> {
        let pipeline = self.pipeline(caller).await?;
        let within = filter::within(conditions, parameters::DESTINATIONS, &pipeline)?;
        let listed = pipeline.destinations.iter().filter(|it| within.takes(it));
        Ok(whole(listed.map(|it| DestinationDetail::of(it, &pipeline))))
    }

    /// Mappings by destination and name; only those of `source` or `destination`, if it is given.
    ///
    /// # Errors
    /// [`Refusal`], with each condition that is not right.
    pub async fn mappings(
        &self,
        caller: &Caller,
        conditions: &[Condition],
    ) -> Result<Page<MappingDetail>, Refusal> {
        let pipeline = self.pipeline(caller).await?;
        let within = filter::within(conditions, parameters::MAPPINGS, &pipeline)?;
        let listed = pipeline.mappings.iter().filter(|mapping| {
            let mut above = pipeline.destinations.iter();
            above.any(|it| it.id == mapping.destination_id && within.takes(it))
        });
        Ok(whole(listed.map(|it| MappingDetail::of(it, &pipeline))))
    }
}

/// What is set up is in memory as a whole: its lists have one page.
fn whole<T>(items: impl Iterator<Item = T>) -> Page<T> {
    Page::whole(items.collect())
}

/// The parts of a path that stand in the body of what is made: a source's name, and so on.
///
/// # Errors
/// [`Refusal`], with each that is missing.
pub fn named<const N: usize>(
    body: &Value,
    fields: [&'static str; N],
) -> Result<[String; N], Refusal> {
    let empty = Map::new();
    let given = body.as_object().unwrap_or(&empty);
    let missing = fields.iter().filter(|field| !given.get(**field).is_some_and(Value::is_string));
    let faults: Vec<_> = missing
        .map(|field| crate::pipeline::Fault::new(*field, "should be there, as a text"))
        .collect();
    if !faults.is_empty() {
        return Err(Refusal::Invalid(faults));
    }
    Ok(fields.map(|field| given[field].as_str().unwrap_or_default().to_owned()))
}

fn without_said(mut value: Value) -> Value {
    if let Value::Object(fields) = &mut value {
        fields.retain(|name, _| !SAID.contains(&name.as_str()));
    }
    value
}
