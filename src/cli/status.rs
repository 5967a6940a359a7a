//! `status`: the state of the service.

use std::process::ExitCode;

use super::client::{self, Client};
use super::failure::exit;
use super::globals::Globals;
use super::output::{Table, painted, plain};
use crate::service::inboxes::InboxView;
use crate::service::status::{LimitedSourceView, StatusView};

/// Show the service's status; fails when it is not ready.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// Ask only whether it is ready, which needs no token
    #[arg(long)]
    ready: bool,
}

impl StatusArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When the service cannot be reached or refuses.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        if self.ready {
            return readiness(globals).await;
        }
        let client = Client::of(globals)?;
        let status: StatusView = client.get("/status", &[]).await?;
        let code = if status.not_ready.is_none() { 0 } else { exit::FAILED };
        let mut out = globals.output();
        if out.is_json() {
            out.json(&status)?;
            return Ok(code.into());
        }
        let ready = status
            .not_ready
            .as_ref()
            .map_or_else(|| painted("ready"), |why| format!("not ready: {why}"));
        out.line(format!("{} {} at {}: {ready}", status.node_name, status.version, client.base()))?;
        out.line(format!("up since {} ({} s)", status.started_at, status.uptime_s))?;
        let ledger = status.ledger;
        let mut table = Table::new(&["what", "count"]);
        let counts = [
            ("events accepted", ledger.events_accepted),
            ("events rejected", ledger.events_rejected),
            ("events duplicate", ledger.events_duplicate),
            ("deliveries accepted", ledger.accepted),
            ("pending", ledger.pending),
            ("leased", ledger.leased),
            ("delivered", ledger.delivered),
            ("dead", ledger.dead),
            ("discarded", ledger.discarded),
        ];
        for (what, count) in counts {
            table.row([what.to_owned(), count.to_string()]);
        }
        out.table(&table)?;
        if !status.limited_sources.is_empty() {
            out.table(&limited_sources(&status.limited_sources))?;
        }
        inbox_lines(&status.inboxes).into_iter().try_for_each(|line| out.line(line))?;
        for alert in &status.alerts {
            let (subject, detail) = (plain(&alert.subject), plain(&alert.detail));
            let (kind, since) = (&alert.alert, &alert.raised_at);
            out.line(format!("alert: {kind}: {subject}: {detail}, since {since}"))?;
        }
        for circuit in &status.open_circuits {
            out.line(format!("circuit open: {} since {}", circuit.mapping, circuit.opened_at))?;
        }
        for held in &status.held {
            let (destination, why) = (plain(&held.destination), plain(&held.why));
            out.line(format!("held: {destination}: {why}; run: postrider connect {destination}"))?;
        }
        held_lines(&status).into_iter().try_for_each(|line| out.line(line))?;
        Ok(code.into())
    }
}

async fn readiness(globals: &Globals) -> anyhow::Result<ExitCode> {
    let found = client::readiness(globals).await?;
    let mut out = globals.output();
    if out.is_json() {
        out.json(&found)?;
    } else {
        let why = found.not_ready.as_deref();
        out.line(why.map_or_else(|| painted("ready"), |why| format!("not ready: {}", plain(why))))?;
    }
    Ok(if found.not_ready.is_none() { ExitCode::SUCCESS } else { exit::FAILED.into() })
}

/// Inboxes in which something waits or that have a fault.
fn inbox_lines(inboxes: &[InboxView]) -> Vec<String> {
    let told = inboxes.iter().filter(|it| it.waiting > 0 || it.fault.is_some());
    told.map(|it| {
        let (inbox, more) = (plain(&it.inbox), if it.more { "+" } else { "" });
        let oldest = it.oldest_at.as_ref().map(|at| format!(", the oldest since {at}"));
        let fault = it.fault.as_ref().map(|fault| format!(": {}", plain(fault)));
        let sources = it.waits_for.iter().map(|it| plain(it)).collect::<Vec<_>>().join(", ");
        let sources = if sources.is_empty() {
            String::new()
        } else {
            format!("; disabled or missing sources: {sources}")
        };
        let (oldest, fault) = (oldest.unwrap_or_default(), fault.unwrap_or_default());
        format!("inbox: {inbox}: {}{more} wait{oldest}{sources}{fault}", it.waiting)
    })
    .collect()
}

/// Backlogs of pauses, waits for receivers, and mappings that do not compile.
fn held_lines(status: &StatusView) -> Vec<String> {
    let mut lines = Vec::new();
    for it in &status.paused {
        let (pause, more) = (&it.pause, if it.more { "+" } else { "" });
        let (subject, by) = (plain(&pause.subject), plain(&pause.by));
        let rate = pause.rate_per_second.map(|rate| format!(" at {rate} a second"));
        let note = pause.note.as_ref().map(|note| format!(" ({})", plain(note)));
        let (state, since, waiting) = (&pause.state, &pause.since, it.waiting);
        let (rate, note) = (rate.unwrap_or_default(), note.unwrap_or_default());
        lines.push(format!(
            "{state}: {subject}{rate} since {since} by {by}{note}: {waiting}{more} wait"
        ));
    }
    for it in &status.receiver_waits {
        let (mapping, until) = (plain(&it.mapping), &it.until);
        lines.push(format!("waiting: {mapping} until {until}, the receiver asked"));
    }
    for it in &status.faulty_mappings {
        let (mapping, error) = (plain(&it.mapping), plain(&it.error));
        let (waiting, more) = (it.waiting, if it.more { "+" } else { "" });
        lines.push(format!(
            "held: {mapping}: this version cannot compile it: {error}: {waiting}{more} wait"
        ));
    }
    lines
}

fn limited_sources(sources: &[LimitedSourceView]) -> Table {
    let mut table =
        Table::new(&["source", "rate", "burst", "quota", "today", "refused: rate", "quota"]);
    for LimitedSourceView { source, limits, usage } in sources {
        let number = |number: Option<u64>| number.map_or("-".to_owned(), |it| it.to_string());
        let (rate, burst) = limits.rate().unzip();
        table.row([
            source.clone(),
            rate.map_or("-".to_owned(), |rate| format!("{rate}/s")),
            number(burst.map(u64::from)),
            number(limits.daily_quota),
            number(limits.daily_quota.map(|_| usage.events_today)),
            usage.refused_by_rate.to_string(),
            usage.refused_by_quota.to_string(),
        ]);
    }
    table
}
