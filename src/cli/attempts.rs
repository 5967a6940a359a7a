//! `attempts`: a list over all deliveries, by filter.

use std::process::ExitCode;

use super::client::Client;
use super::globals::Globals;
use super::output::{Output, Table, or_dash};
use super::selection::time;
use crate::service::attempts::ListedAttempt;
use crate::service::deliveries::Page;

/// List attempts, newest first.
#[derive(Debug, clap::Args)]
pub struct AttemptsArgs {
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
    /// Show at most this many
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Only older than this attempt: the next page
    #[arg(long, value_name = "ID")]
    before: Option<String>,
}

impl AttemptsArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When the service cannot be reached or refuses.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let client = Client::of(globals)?;
        let given = [
            ("since", time("--since", self.since.as_deref())?),
            ("until", time("--until", self.until.as_deref())?),
            ("outcome", self.outcome),
            ("status", self.status),
            ("destination", self.destination),
            ("mapping", self.mapping),
            ("delivery", self.delivery),
            ("before", self.before),
            ("limit", Some(self.limit.to_string())),
        ];
        let conditions: Vec<_> =
            given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let page: Page<ListedAttempt> = client.get("/attempts", &conditions).await?;
        list(&mut globals.output(), &page)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn list(out: &mut Output, page: &Page<ListedAttempt>) -> anyhow::Result<()> {
    if out.is_json() {
        return Ok(out.json(page)?);
    }
    if page.items.is_empty() {
        return Ok(out.remark("no attempts")?);
    }
    let headers = ["delivery", "try", "mapping", "outcome", "status", "took ms", "recorded"];
    let mut table = Table::new(&headers);
    for item in &page.items {
        table.row([
            item.delivery.clone(),
            item.attempt.number.to_string(),
            or_dash(item.mapping.as_deref()),
            item.attempt.outcome.clone(),
            or_dash(item.attempt.status.map(|status| status.to_string())),
            (item.attempt.duration_us / 1_000).to_string(),
            item.recorded_at.clone(),
        ]);
    }
    out.table(&table)?;
    if let Some(next) = &page.next {
        out.remark(&format!("there are more: --before {next}"))?;
    }
    Ok(())
}
