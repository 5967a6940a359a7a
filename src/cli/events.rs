//! `events`: a list by filter, one event with its deliveries, or new ones as they are accepted.

use std::process::ExitCode;

use super::client::Client;
use super::deliveries;
use super::event_stream::follow;
use super::globals::Globals;
use super::output::{Output, Table, or_dash, plain};
use crate::service::event_view::EventView;
use crate::service::events::EventDetail;
use crate::service::page::Page;

/// List events, newest first, show one with its deliveries, or follow new ones.
#[derive(Debug, clap::Args)]
pub struct EventsArgs {
    /// Show this event with its deliveries
    #[arg(value_name = "ID", conflicts_with_all = ["source", "message_id", "rejected", "before"])]
    id: Option<String>,
    /// Show events as they are accepted, until Ctrl-C
    #[arg(long, conflicts_with_all = ["id", "message_id", "rejected", "before"])]
    follow: bool,
    /// Of this source
    #[arg(long)]
    source: Option<String>,
    /// With this messageId
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,
    /// Only rejected events, with the reason
    #[arg(long)]
    rejected: bool,
    /// Show at most this many
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Only older than this event: the next page
    #[arg(long, value_name = "ID")]
    before: Option<String>,
}

impl EventsArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When the service cannot be reached or refuses.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let client = Client::of(globals)?;
        let mut out = globals.output();
        if self.follow {
            follow(&client, &mut out, self.source.as_deref()).await?;
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(id) = self.id {
            let detail: EventDetail = client.get(&format!("/events/{id}"), &[]).await?;
            show(&mut out, &detail)?;
            return Ok(ExitCode::SUCCESS);
        }
        let given = [
            ("source", self.source),
            ("message_id", self.message_id),
            ("rejected", self.rejected.then(|| "true".to_owned())),
            ("before", self.before),
            ("limit", Some(self.limit.to_string())),
        ];
        let conditions: Vec<_> =
            given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let page: Page<EventView> = client.get("/events", &conditions).await?;
        list(&mut out, &page)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn list(out: &mut Output, page: &Page<EventView>) -> anyhow::Result<()> {
    if out.is_json() {
        return Ok(out.json(page)?);
    }
    if page.items.is_empty() {
        return Ok(out.remark("no events")?);
    }
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
    for event in &page.items {
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
    out.table(&table)?;
    if let Some(next) = &page.next {
        out.remark(&format!("there are more: --before {next}"))?;
    }
    Ok(())
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
