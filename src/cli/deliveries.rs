//! `deliveries`: a list by filter, or one delivery with its event and the timeline of its attempts.

use std::process::ExitCode;

use super::client::Client;
use super::globals::Globals;
use super::output::{Output, Table, or_dash, painted, plain};
use super::page_end::page_end;
use super::selection::Selection;
use crate::service::attempt_view::AttemptView;
use crate::service::deliveries::{DeliveryDetail, DeliveryView};
use crate::service::page::Page;

/// List deliveries, newest first, or show one with its attempts.
#[derive(Debug, clap::Args)]
pub struct DeliveriesArgs {
    /// Show this delivery with its attempts
    #[arg(value_name = "ID", conflicts_with_all = ["state", "outcome", "event", "before"])]
    id: Option<String>,
    /// In this state: pending, leased, delivered, dead or discarded
    #[arg(long)]
    state: Option<String>,
    #[command(flatten)]
    selection: Selection,
    /// Show at most this many
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Only older than this delivery: the next page
    #[arg(long, value_name = "ID")]
    before: Option<String>,
}

impl DeliveriesArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When the service cannot be reached or refuses.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let client = Client::of(globals)?;
        let mut out = globals.output();
        if let Some(id) = self.id {
            let detail: DeliveryDetail = client.get(&format!("/deliveries/{id}"), &[]).await?;
            show(&mut out, &detail)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut conditions = self.selection.conditions()?;
        let own = [
            ("state", self.state),
            ("before", self.before),
            ("limit", Some(self.limit.to_string())),
        ];
        conditions.extend(own.into_iter().filter_map(|(name, value)| Some((name, value?))));
        let page: Page<DeliveryView> = client.get("/deliveries", &conditions).await?;
        list(&mut out, &page)
    }
}

/// Prints a page of deliveries.
pub(super) fn list(out: &mut Output, page: &Page<DeliveryView>) -> anyhow::Result<ExitCode> {
    if out.is_json() {
        out.json(page)?;
    } else if !page.items.is_empty() {
        out.table(&table(&page.items))?;
    }
    page_end(out, page, "deliveries")
}

/// Deliveries as a table.
pub(super) fn table(items: &[DeliveryView]) -> Table {
    let headers =
        ["delivery", "event", "mapping", "state", "reason", "tries", "last", "status", "accepted"];
    let mut table = Table::new(&headers);
    for item in items {
        table.row([
            item.id.clone(),
            event_words(item),
            or_dash(item.mapping.as_deref()),
            state_words(item),
            or_dash(item.reason.as_deref()),
            item.attempts.to_string(),
            or_dash(item.last_outcome.as_deref()),
            or_dash(item.last_status.map(|status| status.to_string())),
            item.accepted_at.clone(),
        ]);
    }
    table
}

/// A delivery that is held has no due time.
fn state_words(item: &DeliveryView) -> String {
    let held = item.held.is_some();
    if held { format!("{}, held", item.state) } else { item.state.clone() }
}

fn event_words(item: &DeliveryView) -> String {
    let kind = item.event_type.as_deref().unwrap_or("-");
    item.event_name.as_ref().map_or_else(|| kind.to_owned(), |name| format!("{kind} {name}"))
}

fn show(out: &mut Output, detail: &DeliveryDetail) -> anyhow::Result<()> {
    if out.is_json() {
        return Ok(out.json(detail)?);
    }
    let delivery = &detail.delivery;
    let mut state = painted(&delivery.state);
    if let Some(reason) = &delivery.reason {
        state = format!("{state} ({reason})");
    }
    let facts = [
        ("delivery", Some(delivery.id.clone())),
        ("state", Some(state)),
        ("event", Some(format!("{} {}", delivery.event_id, plain(&event_words(delivery))))),
        ("message id", Some(plain(&delivery.message_id).into_owned())),
        ("mapping", Some(or_dash(delivery.mapping.as_deref()))),
        ("accepted", Some(delivery.accepted_at.clone())),
        ("held", delivery.held.as_deref().map(|why| plain(why).into_owned())),
        ("due", delivery.due_at.clone()),
        ("leased until", delivery.lease_expires_at.clone()),
        ("deadline", Some(delivery.deadline_at.clone())),
        ("settled", delivery.settled_at.clone()),
        ("settled by", delivery.settled_by.clone()),
    ];
    for (name, value) in facts {
        if let Some(value) = value {
            out.line(format!("{name:<13} {value}"))?;
        }
    }
    for attempt in &detail.attempts {
        timeline(out, attempt)?;
    }
    if detail.attempts.is_empty() {
        out.line("no attempts yet")?;
    }
    Ok(())
}

fn timeline(out: &mut Output, attempt: &AttemptView) -> anyhow::Result<()> {
    let late = if attempt.late { "  (late: its lease was lost)" } else { "" };
    let status = attempt.result.status.map(|status| format!(" {status}")).unwrap_or_default();
    out.line("")?;
    out.line(format!(
        "attempt {:<3} {}  {}{status}  {}{late}",
        attempt.number,
        attempt.result.started_at,
        painted(&attempt.result.outcome),
        duration(attempt.result.duration_us),
    ))?;
    if let Some(error) = &attempt.result.error {
        out.line(format!("  error    {}", plain(error)))?;
    }
    block(out, "console", attempt.console.as_deref().unwrap_or_default())?;
    out.line(format!(
        "  by       node {}, mapping revision {}",
        attempt.node, attempt.result.revision
    ))?;
    if let Some(batch) = &attempt.batch {
        let answered = batch.status.map(|it| format!(", answered {it}")).unwrap_or_default();
        let (id, size) = (plain(&batch.webhook_id), batch.size);
        out.line(format!("  batch    {id} of {size} events{answered}"))?;
    }
    out.line(format!("  url      {}", plain(&attempt.url)))?;
    block(out, "sent", &attempt.request_headers)?;
    block(out, "answered", &attempt.result.response_headers)?;
    let more = if attempt.result.response_truncated { " …" } else { "" };
    if !attempt.result.response_body.is_empty() {
        block(out, "body", &format!("{}{more}", attempt.result.response_body))?;
    }
    Ok(())
}

/// Lines under a name.
fn block(out: &mut Output, name: &str, text: &str) -> std::io::Result<()> {
    for (index, line) in text.lines().enumerate() {
        let name = if index == 0 { name } else { "" };
        out.line(format!("  {name:<8} {}", plain(line)))?;
    }
    Ok(())
}

/// A duration in a unit that suits it.
fn duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        _ => format!("{}.{:02} s", micros / 1_000_000, micros % 1_000_000 / 10_000),
    }
}
