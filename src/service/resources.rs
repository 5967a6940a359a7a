//! Sources, destinations and mappings: list, read with an ETag, change.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::filter::{self, Condition};
use super::page::Page;
use super::pauses::PauseView;
use super::{Service, ServiceError, parameters};
use crate::domain::auth::{Admin, Caller};
use crate::domain::clock::Timestamp;
use crate::domain::destination::Destination;
use crate::domain::id::{MappingId, Noun, PublicId};
use crate::domain::mapping::Mapping;
use crate::domain::pause::PauseTarget;
use crate::domain::source::Source;
use crate::pipeline::{
    Change, Changed, ConnectionView, DestinationDocument, Found, Guard, MappingDocument,
    SourceDocument, Target,
};
use crate::store::Pipeline;

/// Read-only fields of a source, a destination or a mapping: ignored in a request.
const READ_ONLY: [&str; 10] = [
    "id",
    "source",
    "destination",
    "created_at",
    "revision",
    "connection",
    "pause",
    "wait_until",
    "fault",
    "usage",
];

/// A source.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SourceDetail {
    /// Its id.
    pub id: String,
    /// When it was created.
    pub created_at: String,
    /// What it has used of its limits; none without limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageView>,
    /// The writable fields.
    #[serde(flatten)]
    pub document: SourceDocument,
}

/// What a source has used of its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageView {
    /// Events accepted today (UTC), counted while it has a daily quota.
    pub events_today: u64,
    /// Events left of today's quota.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_today: Option<u64>,
    /// Requests refused by its rate since the service started.
    pub refused_by_rate: u64,
    /// Requests refused by its quota since the service started.
    pub refused_by_quota: u64,
}

/// A destination. Each stored secret is the word `kept`; a PUT without it removes the secret.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DestinationDetail {
    /// Its id.
    pub id: String,
    /// Its source.
    pub source: String,
    /// When it was created.
    pub created_at: String,
    /// The state of its connection, where it needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionView>,
    /// Its pause, or the drain of what that held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<PauseView>,
    /// The writable fields.
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
    /// When it was created.
    pub created_at: String,
    /// The number of the current revision.
    pub revision: u32,
    /// Its pause, or the drain of what that held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<PauseView>,
    /// Until when its receiver asked for no request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_until: Option<String>,
    /// Why this version cannot compile it; its deliveries are held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// The writable fields.
    #[serde(flatten)]
    pub document: MappingDocument,
}

/// A source, a destination or a mapping.
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

/// A resource with its ETag.
#[derive(Clone, Debug)]
pub struct Tagged {
    /// The resource.
    pub detail: Detail,
    /// Its ETag, without quotes.
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
            usage: None,
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
            pause: PauseView::find(PauseTarget::Destination(destination.id), pipeline),
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
            pause: PauseView::find(PauseTarget::Mapping(mapping.id), pipeline),
            wait_until: None,
            fault: None,
            document: MappingDocument::of(mapping),
        }
    }
}

impl Service {
    /// One source, destination or mapping.
    ///
    /// # Errors
    /// [`ServiceError`] when there is none.
    pub async fn detail(&self, caller: &Caller, target: &Target) -> Result<Tagged, ServiceError> {
        let pipeline = self.pipeline(caller).await?;
        let found =
            target.find(&pipeline).ok_or_else(|| ServiceError::Missing(target.to_string()))?;
        let mut detail = Detail::of(found, &pipeline);
        if let (Detail::Source(it), Found::Source(source)) = (&mut detail, found) {
            it.usage = self.usage(source);
        }
        if let (Detail::Mapping(detail), Found::Mapping(mapping)) = (&mut detail, found) {
            self.tell_state(mapping.id, detail);
        }
        Ok(Tagged { detail, tag: found.tag(&pipeline) })
    }

    /// What a source has used of its limits; none without limits.
    pub(super) fn usage(&self, source: &Source) -> Option<UsageView> {
        if source.limits.is_none() {
            return None;
        }
        let used = self.limiter.usage(source.id, self.clock.now());
        Some(UsageView {
            events_today: used.today,
            left_today: source.limits.daily_quota.map(|quota| quota.saturating_sub(used.today)),
            refused_by_rate: used.refused.by_rate,
            refused_by_quota: used.refused.by_quota,
        })
    }

    /// Changes one source, destination or mapping, as `Editor::change` does.
    ///
    /// # Errors
    /// [`ServiceError`]; nothing is changed then.
    pub async fn change(
        &self,
        admin: &Admin,
        target: &Target,
        guard: &Guard,
        change: Change,
    ) -> Result<Changed, ServiceError> {
        let change = match change {
            Change::Put(value) => Change::Put(without_read_only(value)),
            Change::Patch(value) => Change::Patch(without_read_only(value)),
            other @ (Change::Say(_) | Change::Remove | Change::Rotate(_)) => other,
        };
        Ok(self.editor.change(admin, target, guard, &change).await?)
    }

    /// What the running node knows of a mapping.
    fn tell_state(&self, mapping_id: MappingId, detail: &mut MappingDetail) {
        detail.wait_until = self.wait_of(mapping_id).map(Timestamp::to_iso);
        let faults = self.node.mapping_faults().into_iter();
        detail.fault = faults.filter(|(id, _)| *id == mapping_id).map(|(_, error)| error).next();
    }

    /// Every source, by name.
    ///
    /// # Errors
    /// [`ServiceError`], with each invalid condition.
    pub async fn sources(
        &self,
        caller: &Caller,
        conditions: &[Condition],
    ) -> Result<Page<SourceDetail>, ServiceError> {
        let pipeline = self.pipeline(caller).await?;
        filter::within(conditions, &[], &pipeline)?;
        let detail =
            |source| SourceDetail { usage: self.usage(source), ..SourceDetail::of(source) };
        Ok(whole(pipeline.sources.iter().map(detail)))
    }

    /// Destinations by source and name; only those of `source`, if it is given.
    ///
    /// # Errors
    /// [`ServiceError`], with each invalid condition.
    pub async fn destinations(
        &self,
        caller: &Caller,
        conditions: &[Condition],
    ) -> Result<Page<DestinationDetail>, ServiceError> {
        let pipeline = self.pipeline(caller).await?;
        let within = filter::within(conditions, parameters::DESTINATIONS, &pipeline)?;
        let listed = pipeline.destinations.iter().filter(|it| within.takes(it));
        Ok(whole(listed.map(|it| DestinationDetail::of(it, &pipeline))))
    }

    /// Mappings by destination and name; only those of `source` or `destination`, if it is given.
    ///
    /// # Errors
    /// [`ServiceError`], with each invalid condition.
    pub async fn mappings(
        &self,
        caller: &Caller,
        conditions: &[Condition],
    ) -> Result<Page<MappingDetail>, ServiceError> {
        let pipeline = self.pipeline(caller).await?;
        let within = filter::within(conditions, parameters::MAPPINGS, &pipeline)?;
        let listed = pipeline.mappings.iter().filter(|mapping| {
            let mut above = pipeline.destinations.iter();
            above.any(|it| it.id == mapping.destination_id && within.takes(it))
        });
        let mut details = Vec::new();
        for mapping in listed {
            let mut detail = MappingDetail::of(mapping, &pipeline);
            self.tell_state(mapping.id, &mut detail);
            details.push(detail);
        }
        Ok(Page::whole(details))
    }
}

/// The pipeline is in memory, so its lists are not paginated.
fn whole<T>(items: impl Iterator<Item = T>) -> Page<T> {
    Page::whole(items.collect())
}

/// The names of a resource in the body of a create request: source, destination, name.
///
/// # Errors
/// [`ServiceError`], with each missing field.
pub fn named<const N: usize>(
    body: &Value,
    fields: [&'static str; N],
) -> Result<[String; N], ServiceError> {
    let empty = Map::new();
    let given = body.as_object().unwrap_or(&empty);
    let missing = fields.iter().filter(|field| !given.get(**field).is_some_and(Value::is_string));
    let faults: Vec<_> = missing
        .map(|field| crate::pipeline::FieldError::new(*field, "is required, as a string"))
        .collect();
    if !faults.is_empty() {
        return Err(ServiceError::Invalid(faults));
    }
    Ok(fields.map(|field| given[field].as_str().unwrap_or_default().to_owned()))
}

fn without_read_only(mut value: Value) -> Value {
    if let Value::Object(fields) = &mut value {
        fields.retain(|name, _| !READ_ONLY.contains(&name.as_str()));
    }
    value
}
