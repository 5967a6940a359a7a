//! `dead`: dead letters, in a list or counted by mapping and reason.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde::Serialize;

use super::client::{Client, Conditions};
use super::deliveries;
use super::globals::Globals;
use super::output::{Table, or_dash};
use super::selection::Selection;
use crate::service::deliveries::DeliveryView;
use crate::service::page::Page;

/// The page size of a summary.
const PAGE: u32 = 1_000;

/// List dead letters, newest first.
#[derive(Debug, clap::Args)]
pub struct DeadArgs {
    /// Count them by mapping, reason and status instead
    #[arg(long)]
    summary: bool,
    #[command(flatten)]
    selection: Selection,
    /// Show at most this many
    #[arg(long, default_value_t = 50, conflicts_with = "summary")]
    limit: u32,
    /// Only older than this delivery: the next page
    #[arg(long, value_name = "ID", conflicts_with = "summary")]
    before: Option<String>,
}

#[derive(Debug, Serialize)]
struct Group {
    mapping: Option<String>,
    reason: Option<String>,
    status: Option<u16>,
    count: u64,
}

impl DeadArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When the service cannot be reached or refuses.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let client = Client::of(globals)?;
        let mut conditions = self.selection.conditions()?;
        conditions.push(("state", "dead".to_owned()));
        let mut out = globals.output();
        if !self.summary {
            conditions.push(("limit", self.limit.to_string()));
            conditions.extend(self.before.map(|before| ("before", before)));
            let page: Page<DeliveryView> = client.get("/deliveries", &conditions).await?;
            return deliveries::list(&mut out, &page);
        }
        let groups = summarize(&client, conditions).await?;
        if out.is_json() {
            out.json(&groups)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut table = Table::new(&["mapping", "reason", "status", "count"]);
        for group in groups {
            table.row([
                or_dash(group.mapping),
                or_dash(group.reason),
                or_dash(group.status.map(|status| status.to_string())),
                group.count.to_string(),
            ]);
        }
        if table.is_empty() {
            out.remark("no dead letters")?;
        } else {
            out.table(&table)?;
            out.remark("to try them again: postrider redrive --reason … --dry-run")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn summarize(client: &Client, conditions: Conditions) -> anyhow::Result<Vec<Group>> {
    let mut counts: BTreeMap<_, u64> = BTreeMap::new();
    let mut before: Option<String> = None;
    loop {
        let mut page_conditions = conditions.clone();
        page_conditions.push(("limit", PAGE.to_string()));
        page_conditions.extend(before.take().map(|before| ("before", before)));
        let page: Page<DeliveryView> = client.get("/deliveries", &page_conditions).await?;
        for item in page.items {
            *counts.entry((item.mapping, item.reason, item.last_status)).or_default() += 1;
        }
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    let mut groups: Vec<Group> = counts
        .into_iter()
        .map(|((mapping, reason, status), count)| Group { mapping, reason, status, count })
        .collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    Ok(groups)
}
