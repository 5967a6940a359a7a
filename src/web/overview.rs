//! The overview: what needs attention first, and where deliveries stand.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::Web;
use super::failure::Failure;
use super::form::address;
use super::moment::Moment;
use super::shell::{As, Shell, page};
use super::text::{Outside, count};
use crate::desk::status::StatusView;
use crate::domain::access::Caller;

/// Something that needs attention, and where to look.
struct Concern {
    tone: &'static str,
    text: Outside,
    since: Option<Moment>,
    list: Option<String>,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    concerns: Vec<Concern>,
    waiting: String,
    leased: String,
    delivered: String,
    dead: String,
    discarded: String,
    events: String,
    rejected: String,
    started: Option<Moment>,
    version: String,
    is_empty: bool,
    shell: Shell,
}

pub(super) async fn show(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(caller): As<Caller>,
) -> Result<Response, Failure> {
    let status = web.desk.status(&caller).await?;
    let pipeline = web.desk.pipeline(&caller).await?;
    let ledger = status.ledger;
    page(&OverviewPage {
        concerns: concerns(&shell, &status),
        waiting: count(ledger.pending),
        leased: count(ledger.leased),
        delivered: count(ledger.delivered),
        dead: count(ledger.dead),
        discarded: count(ledger.discarded),
        events: count(ledger.events_accepted),
        rejected: count(ledger.events_rejected),
        started: shell.told(&status.started_at),
        version: status.version,
        is_empty: pipeline.sources.is_empty(),
        shell,
    })
}

/// What needs attention, the worst first.
fn concerns(shell: &Shell, status: &StatusView) -> Vec<Concern> {
    let mut concerns = Vec::new();
    if let Some(why) = &status.not_ready {
        let text = format!("Not ready: {why}").into();
        concerns.push(Concern { tone: "bad", text, since: None, list: None });
    }
    for held in &status.held {
        concerns.push(Concern {
            tone: "bad",
            text: format!("{} is held: {}", held.destination, held.why).into(),
            since: None,
            list: Some(address("/deliveries", [("destination", held.destination.as_str())])),
        });
    }
    for circuit in &status.open_circuits {
        concerns.push(Concern {
            tone: "warn",
            text: format!("{} fails throughout: one probe at a time", circuit.mapping).into(),
            since: shell.told(&circuit.opened_at),
            list: Some(address("/deliveries", [("mapping", circuit.mapping.as_str())])),
        });
    }
    concerns
}
