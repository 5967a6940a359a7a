//! The page of a source: its destinations, code snippets for senders, and rejected events.

use askama::Template;

use super::super::badge::Badge;
use super::super::error::PageError;
use super::super::form::{Field, with_query};
use super::super::format::{count, counted};
use super::super::highlighted_json::HighlightedJson;
use super::super::layout::Layout;
use super::super::time::RelativeTime;
use super::super::untrusted::Untrusted;
use super::editor::PageContext;
use super::secret::SendSnippets;
use super::target::path;
use crate::pipeline::{FieldError, Target};
use crate::service::event_view::EventView;
use crate::service::resources::{DestinationDetail, Detail, MappingDetail, SourceDetail};

/// The placeholder for the write key in snippets.
const PLACEHOLDER: &str = "YOUR_WRITE_KEY";
/// Rejected events per page.
const REJECTED_LIMIT: &str = "20";

/// A destination in the list.
struct DestinationRow {
    name: Untrusted,
    path: String,
    state: Badge,
    note: Option<String>,
    mappings: usize,
    is_signed: bool,
}

impl DestinationRow {
    fn of(it: &DestinationDetail, mappings: usize) -> Self {
        let held = it.connection.as_ref().and_then(|it| it.held.clone());
        let state = match (it.document.enabled, &held) {
            (false, _) => Badge::new("disabled", "idle"),
            (true, Some(_)) => Badge::new("held", "warn"),
            (true, None) => Badge::new("enabled", "good"),
        };
        let target = Target::Destination(it.source.clone(), it.document.name.clone());
        Self {
            name: it.document.name.clone().into(),
            path: path(&target),
            state,
            note: held,
            mappings,
            is_signed: it.document.shared_secret.is_some(),
        }
    }
}

struct RejectedEvent {
    at: Option<RelativeTime>,
    message_id: Untrusted,
    reason: Untrusted,
    body: HighlightedJson,
}

impl RejectedEvent {
    fn of(view: &EventView, layout: &Layout) -> Self {
        Self {
            at: layout.time(&view.received_at),
            message_id: view.message_id.clone().into(),
            reason: view.rejection.clone().unwrap_or_default().into(),
            body: HighlightedJson::of(view.body.get()),
        }
    }
}

/// The form of a source's limits.
pub(super) struct LimitFields {
    pub(super) rate_per_second: Field,
    pub(super) burst: Field,
    pub(super) daily_quota: Field,
    pub(super) client_ip: bool,
    pub(super) tag: String,
    /// Another user changed the source.
    pub(super) conflict: Option<String>,
    pub(super) faults: Vec<FieldError>,
}

/// What a source may send and has used of it, in words; none without limits.
fn limits_in_words(source: &SourceDetail) -> Option<String> {
    let (usage, document) = (source.usage?, &source.document);
    let rate = document.rate_per_second.map(|rate| {
        let burst = document.burst.unwrap_or(rate);
        let refused = count(usage.refused_by_rate);
        let (rate, burst) = (count(rate.into()), count(burst.into()));
        format!("{rate} events a second, {burst} at once; {refused} requests refused.")
    });
    let quota = document.daily_quota.map(|quota| {
        let (used, refused) = (count(usage.events_today), count(usage.refused_by_quota));
        format!("{used} of {} events today (UTC); {refused} requests refused.", count(quota))
    });
    Some(rate.into_iter().chain(quota).collect::<Vec<_>>().join(" "))
}

#[derive(Template)]
#[template(path = "source.html")]
pub(super) struct SourcePage {
    name: Untrusted,
    path: String,
    live: String,
    tag: String,
    enabled: bool,
    created_at: Option<RelativeTime>,
    destinations: Vec<DestinationRow>,
    limits: LimitFields,
    limits_in_words: Option<String>,
    /// What a deletion includes.
    deleted_with: Option<String>,
    rejected: Vec<RejectedEvent>,
    first: Option<String>,
    next: Option<String>,
    snippets: SendSnippets,
    layout: Layout,
}

impl SourcePage {
    /// Loads the page.
    pub(super) async fn load(
        context: PageContext<'_>,
        target: &Target,
        limits: LimitFields,
    ) -> Result<Self, PageError> {
        let PageContext { web, caller, layout, query } = context;
        let version = web.service.detail(caller, target).await?;
        let Detail::Source(source) = version.detail else {
            return Err(PageError::not_found("such source"));
        };
        let of_source = [("source".to_owned(), source.id.clone())];
        let destinations = web.service.destinations(caller, &of_source).await?.items;
        let mappings = web.service.mappings(caller, &of_source).await?.items;
        let before = query.non_empty("before");
        let [of_source] = of_source;
        let mut conditions = vec![
            of_source,
            ("rejected".to_owned(), "true".to_owned()),
            ("limit".to_owned(), REJECTED_LIMIT.to_owned()),
        ];
        conditions.extend(before.map(|before| ("before".to_owned(), before.to_owned())));
        let rejected = web.service.events(caller, &conditions).await?;
        let path = path(target);
        let next = rejected.next.map(|next| with_query(&path, [("before", next.as_str())]));
        Ok(Self {
            live: with_query("/live", [("source", target.name())]),
            name: target.name().into(),
            tag: version.tag,
            enabled: source.document.enabled,
            limits_in_words: limits_in_words(&source),
            limits,
            created_at: layout.time(&source.created_at),
            deleted_with: deleted_with(destinations.len(), mappings.len()),
            destinations: destinations
                .iter()
                .map(|it| {
                    let below = mappings.iter().filter(|mapping| is_below(mapping, it));
                    DestinationRow::of(it, below.count())
                })
                .collect(),
            rejected: rejected.items.iter().map(|it| RejectedEvent::of(it, &layout)).collect(),
            first: before.map(|_| format!("{path}#rejected")),
            next: next.map(|next| format!("{next}#rejected")),
            path,
            snippets: SendSnippets::of(&web.service.base_url, PLACEHOLDER),
            layout,
        })
    }
}

fn is_below(mapping: &MappingDetail, destination: &DestinationDetail) -> bool {
    mapping.source == destination.source && mapping.destination == destination.document.name
}

/// What the deletion of a source includes.
fn deleted_with(destinations: usize, mappings: usize) -> Option<String> {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let destinations =
        (destinations > 0).then(|| counted(count(destinations), "destination", "destinations"))?;
    let mappings = counted(count(mappings), "mapping", "mappings");
    Some(format!("{destinations} with {mappings}"))
}
