//! `prune`: removes events past their retention, or past a shorter age, in bounded calls.

use std::process::ExitCode;

use super::client::Client;
use super::globals::Globals;
use super::jobs::confirm;
use crate::service::pruning::{PruneRequest, PrunedView};

const AFTER_HELP: &str = "\
The service does this automatically every ten minutes, for the ages in the settings retention and dead_retention. \
Events with a delivery that is pending or leased stay. De-duplication still knows what was removed.";

/// Remove events past their retention, or past a shorter age, with their deliveries and attempts.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct PruneArgs {
    /// Events settled for at least so long, such as 36h or 7d [default: the setting retention]
    #[arg(long, value_name = "AGE")]
    older_than: Option<String>,
    /// The same for dead letters [default: the setting dead_retention]
    #[arg(long, value_name = "AGE")]
    dead_older_than: Option<String>,
    /// Remove at most so many events [default: all]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// The reason, for the audit log
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// Events that one call removes at most.
const A_CALL: u32 = 10_000;

impl PruneArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When the service cannot be reached or refuses.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let given = [("settled", &self.older_than), ("dead for", &self.dead_older_than)];
        let given = given.into_iter().filter_map(|(what, age)| Some((what, age.as_ref()?)));
        let ages: Vec<_> = given.map(|(what, age)| format!("{what} {age} or longer")).collect();
        if !self.yes && !ages.is_empty() {
            confirm(&format!("remove events {}?", ages.join(" and ")), "pass --yes")?;
        }
        let client = Client::of(globals)?;
        let mut sum: Option<PrunedView> = None;
        loop {
            let events = sum.as_ref().map_or(0, |it| it.events);
            let left = self.limit.map_or(u64::MAX, |limit| limit.saturating_sub(events));
            let request = PruneRequest {
                older_than: self.older_than.clone(),
                dead_older_than: self.dead_older_than.clone(),
                limit: Some(u32::try_from(left).unwrap_or(A_CALL).min(A_CALL)),
                note: self.note.clone(),
            };
            let mut pruned: PrunedView = client.post("/prune", &request).await?;
            if let Some(before) = &sum {
                pruned.events += before.events;
                pruned.deliveries += before.deliveries;
                pruned.attempts += before.attempts;
            }
            let is_done = !pruned.more || self.limit.is_some_and(|limit| pruned.events >= limit);
            let all = sum.insert(pruned);
            if is_done {
                return show(globals, all);
            }
        }
    }
}

fn show(globals: &Globals, pruned: &PrunedView) -> anyhow::Result<ExitCode> {
    let mut out = globals.output();
    if out.is_json() {
        out.json(pruned)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (events, deliveries, attempts) = (pruned.events, pruned.deliveries, pruned.attempts);
    let (settled, dead) = (&pruned.older_than, &pruned.dead_older_than);
    let more = if pruned.more { "; there may be more" } else { "" };
    out.line(format!(
        "removed {events} events with {deliveries} deliveries and {attempts} attempts, settled for {settled} \
         or dead for {dead}{more}"
    ))?;
    Ok(ExitCode::SUCCESS)
}
