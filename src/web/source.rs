//! One source: its destinations and how they fare, how to send to it, and what was rejected and why.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;

use super::Web;
use super::badge::Badge;
use super::failure::Failure;
use super::form::{Asked, address};
use super::json::Json;
use super::moment::Moment;
use super::setup::{self, SendWith};
use super::shell::{As, Shell, page};
use super::text::{Outside, counted};
use crate::domain::auth::Caller;
use crate::pipeline::Target;
use crate::service::resources::{DestinationDetail, Detail, MappingDetail};

/// What stands where a write key is to be put in.
const PLACEHOLDER: &str = "YOUR_WRITE_KEY";
/// Rejected events on a page.
const REJECTED: &str = "20";

struct Below {
    name: Outside,
    path: String,
    state: Badge,
    note: Option<String>,
    mappings: usize,
    is_signed: bool,
}

impl Below {
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
            path: setup::path(&target),
            state,
            note: held,
            mappings,
            is_signed: it.document.shared_secret.is_some(),
        }
    }
}

struct Rejected {
    at: Option<Moment>,
    message_id: Outside,
    why: Outside,
    body: Json,
}

#[derive(Template)]
#[template(path = "source.html")]
struct SourcePage {
    name: Outside,
    path: String,
    live: String,
    tag: String,
    enabled: bool,
    made: Option<Moment>,
    destinations: Vec<Below>,
    /// What is removed with it, in words.
    goes_too: Option<String>,
    rejected: Vec<Rejected>,
    first: Option<String>,
    next: Option<String>,
    with: SendWith,
    shell: Shell,
}

pub(super) async fn show(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(caller): As<Caller>,
    Path(name): Path<String>,
    Asked(asked): Asked,
) -> Result<Response, Failure> {
    let target = Target::Source(name.clone());
    let found = web.service.detail(&caller, &target).await?;
    let Detail::Source(source) = found.detail else { return Err(Failure::not_found("source")) };
    let only = [("source".to_owned(), source.id.clone())];
    let below = web.service.destinations(&caller, &only).await?.items;
    let mappings = web.service.mappings(&caller, &only).await?.items;
    let mut wanted = vec![
        only[0].clone(),
        ("rejected".to_owned(), "true".to_owned()),
        ("limit".to_owned(), REJECTED.to_owned()),
    ];
    wanted.extend(asked.filled("before").map(|before| ("before".to_owned(), before.to_owned())));
    let rejected = web.service.events(&caller, &wanted).await?;
    let path = setup::path(&target);
    page(&SourcePage {
        live: address("/live", [("source", name.as_str())]),
        name: name.into(),
        tag: found.tag,
        enabled: source.document.enabled,
        made: shell.told(&source.created_at),
        goes_too: goes_too(below.len(), mappings.len()),
        destinations: below
            .iter()
            .map(|it| {
                let below = mappings.iter().filter(|mapping| is_below(mapping, it));
                Below::of(it, below.count())
            })
            .collect(),
        rejected: rejected
            .items
            .iter()
            .map(|it| Rejected {
                at: shell.told(&it.received_at),
                message_id: it.message_id.clone().into(),
                why: it.rejection.clone().unwrap_or_default().into(),
                body: Json::of(it.body.get()),
            })
            .collect(),
        first: asked.filled("before").map(|_| format!("{path}#rejected")),
        next: rejected
            .next
            .map(|before| format!("{}#rejected", address(&path, [("before", before.as_str())]))),
        path,
        with: SendWith::of(&web.service.base_url, PLACEHOLDER),
        shell,
    })
}

fn is_below(mapping: &MappingDetail, destination: &DestinationDetail) -> bool {
    mapping.source == destination.source && mapping.destination == destination.document.name
}

/// What goes when a source does.
fn goes_too(destinations: usize, mappings: usize) -> Option<String> {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let destinations =
        (destinations > 0).then(|| counted(count(destinations), "destination", "destinations"))?;
    let mappings = counted(count(mappings), "mapping", "mappings");
    Some(format!("{destinations} with {mappings}"))
}
