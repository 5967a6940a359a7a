//! `attempts`: a list over all deliveries, by filter.

use std::process::ExitCode;

use super::client::{Client, Conditions};
use super::failure::Failure;
use super::globals::Globals;
use super::output::{Output, Table, or_dash};
use super::page_end::page_end;
use super::selection::time;
use crate::service::attempts::ListedAttempt;
use crate::service::page::Page;

/// List attempts, newest first.
#[derive(Debug, clap::Args)]
pub struct AttemptsArgs {
    #[command(flatten)]
    selection: AttemptSelection,
    /// Show at most this many
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Only older than this attempt: the next page
    #[arg(long, value_name = "ID")]
    before: Option<String>,
}

/// Filters on attempts; all of them apply.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Which attempts")]
pub(super) struct AttemptSelection {
    /// With this outcome: delivered, server_error, timeout, dns, …
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<String>,
    /// With this HTTP status, such as 503, or class, such as 5xx
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Of this destination: its name, source/destination or id
    #[arg(long, value_name = "DESTINATION")]
    destination: Option<String>,
    /// Of this mapping: its name, a path that ends in it or its id
    #[arg(long, value_name = "MAPPING")]
    mapping: Option<String>,
    /// Of this delivery
    #[arg(long, value_name = "ID")]
    delivery: Option<String>,
    /// Recorded since: a time such as 2026-03-01T12:00:00Z, or how long ago, such as 90m, 2h, 7d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Recorded before: a time, or how long ago
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl AttemptSelection {
    /// The filters as query parameters.
    pub(super) fn conditions(self) -> Result<Conditions, Failure> {
        let given = [
            ("since", time("--since", self.since.as_deref())?),
            ("until", time("--until", self.until.as_deref())?),
            ("outcome", self.outcome),
            ("status", self.status),
            ("destination", self.destination),
            ("mapping", self.mapping),
            ("delivery", self.delivery),
        ];
        Ok(given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }
}

impl AttemptsArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When the service cannot be reached or refuses.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let client = Client::of(globals)?;
        let mut conditions = self.selection.conditions()?;
        let own = [("before", self.before), ("limit", Some(self.limit.to_string()))];
        conditions.extend(own.into_iter().filter_map(|(name, value)| Some((name, value?))));
        let page: Page<ListedAttempt> = client.get("/attempts", &conditions).await?;
        list(&mut globals.output(), &page)
    }
}

fn list(out: &mut Output, page: &Page<ListedAttempt>) -> anyhow::Result<ExitCode> {
    if out.is_json() {
        out.json(page)?;
    } else if !page.items.is_empty() {
        out.table(&table(&page.items))?;
    }
    page_end(out, page, "attempts")
}

fn table(items: &[ListedAttempt]) -> Table {
    let headers = ["delivery", "try", "mapping", "outcome", "status", "took ms", "recorded"];
    let mut table = Table::new(&headers);
    for item in items {
        table.row([
            item.delivery.clone(),
            item.attempt.number.to_string(),
            or_dash(item.mapping.as_deref()),
            item.attempt.result.outcome.clone(),
            or_dash(item.attempt.result.status.map(|status| status.to_string())),
            (item.attempt.result.duration_us / 1_000).to_string(),
            item.recorded_at.clone(),
        ]);
    }
    table
}
