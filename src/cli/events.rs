//! `events`: a list by filter, one event with its deliveries, or new ones as they are accepted.

use std::process::ExitCode;

use super::client::Client;
use super::deliveries;
use super::event_selection::EventSelection;
use super::event_stream::follow;
use super::globals::Globals;
use super::output::{Output, Table, or_dash, plain};
use super::page_end::page_end;
use crate::service::event_view::EventView;
use crate::service::events::EventDetail;
use crate::service::page::Page;

/// List events, newest first, show one with its deliveries, or follow new ones.
#[derive(Debug, clap::Args)]
pub struct EventsArgs {
    /// Show this event with its deliveries
    #[arg(value_name = "ID", conflicts_with_all = ["EventSelection", "before"])]
    id: Option<String>,
    /// Show events as they are accepted, until Ctrl-C; of the filters it takes --source
    #[arg(long, conflicts_with_all = ["id", "before"])]
    follow: bool,
    #[command(flatten)]
    selection: EventSelection,
    /// Show at most this many
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Only older than this event: the next page
    #[arg(long, value_name = "ID")]
    before: Option<String>,
}

impl EventsArgs {
    /// Whether it follows new events, without an end.
    pub(super) const fn follows(&self) -> bool {
        self.follow
    }

    /// Runs the verb.
    ///
    /// # Errors
    /// When the service cannot be reached or refuses.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let client = Client::of(globals)?;
        let mut out = globals.output();
        if self.follow {
            follow(&client, &mut out, self.selection.only_source()?.as_deref()).await?;
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(id) = self.id {
            let detail: EventDetail = client.get(&format!("/events/{id}"), &[]).await?;
            show(&mut out, &detail)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut conditions = self.selection.conditions()?;
        let own = [("before", self.before), ("limit", Some(self.limit.to_string()))];
        conditions.extend(own.into_iter().filter_map(|(name, value)| Some((name, value?))));
        let page: Page<EventView> = client.get("/events", &conditions).await?;
        list(&mut out, &page)
    }
}

fn list(out: &mut Output, page: &Page<EventView>) -> anyhow::Result<ExitCode> {
    if out.is_json() {
        out.json(page)?;
    } else if !page.items.is_empty() {
        out.table(&table(&page.items))?;
    }
    page_end(out, page, "events")
}

fn table(items: &[EventView]) -> Table {
    let mut table = Table::new(&[
        "event",
        "source",
        "type",
        "name",
        "user",
        "message id",
        "received",
        "rejected",
    ]);
    for event in items {
        table.row([
            event.id.clone(),
            or_dash(event.source.as_deref()),
            or_dash(event.kind.as_deref()),
            or_dash(event.name.as_deref()),
            or_dash(event.user_id.as_deref()),
            event.message_id.clone(),
            event.received_at.clone(),
            or_dash(event.rejection.as_deref()),
        ]);
    }
    table
}

fn show(out: &mut Output, detail: &EventDetail) -> anyhow::Result<()> {
    if out.is_json() {
        return Ok(out.json(detail)?);
    }
    let event = &detail.event;
    let facts = [
        ("event", Some(event.id.clone())),
        ("source", Some(or_dash(event.source.as_deref()))),
        ("type", event.kind.clone()),
        ("name", event.name.clone()),
        ("user", event.user_id.clone()),
        ("message id", Some(event.message_id.clone())),
        ("received", Some(event.received_at.clone())),
        ("rejected", event.rejection.clone()),
        ("body", Some(event.body.get().to_owned())),
    ];
    for (name, value) in facts {
        if let Some(value) = value {
            out.line(format!("{name:<13} {}", plain(&value)))?;
        }
    }
    if !detail.deliveries.is_empty() {
        out.line("")?;
        out.table(&deliveries::table(&detail.deliveries))?;
    }
    Ok(())
}
