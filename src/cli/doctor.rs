//! `doctor`: checks the whole store and prints each finding; repairs the ledger.

use std::process::ExitCode;

use serde_json::json;

use super::client::Client;
use super::failure::exit;
use super::globals::Globals;
use super::output::Table;
use crate::service::status::FindingView;
use crate::store::LedgerRepair;

/// Check the store: consistency, integrity, leases, disk. Fails when a check finds a fault.
#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// Open the database itself, while no service runs on it
    #[arg(long)]
    offline: bool,
    /// Correct the ledger by counted deliveries, with an audit entry; only while no service runs on the database
    #[arg(long)]
    repair: bool,
    /// With --repair: show the difference and change nothing; fails where there is one
    #[arg(long, requires = "repair")]
    dry_run: bool,
}

impl DoctorArgs {
    /// Whether it asks a service, and changes nothing.
    pub(super) const fn only_reads(&self) -> bool {
        !self.offline && !self.repair
    }

    /// Runs the verb.
    ///
    /// # Errors
    /// When the service cannot be reached or refuses, or the database cannot be opened.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        if self.repair {
            return self.repair(globals).await;
        }
        let findings: Vec<FindingView> = if self.offline {
            super::migrate::examine(globals).await?
        } else {
            let client = Client::of(globals)?;
            client.post("/doctor", &serde_json::Map::new()).await?
        };
        let well = findings.iter().all(|finding| finding.ok);
        let mut out = globals.output();
        if out.is_json() {
            out.json(&findings)?;
        } else {
            let mut table = Table::new(&["examined", "result", "found"]);
            for finding in findings {
                let result = if finding.ok { "ok" } else { "failed" };
                table.row([finding.check, result.to_owned(), finding.detail]);
            }
            out.table(&table)?;
        }
        Ok(if well { ExitCode::SUCCESS } else { exit::FAILED.into() })
    }

    async fn repair(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let LedgerRepair { before, after } =
            super::migrate::repair_ledger(globals, self.dry_run).await?;
        let differs = before != after;
        let mut out = globals.output();
        if out.is_json() {
            let repaired = differs && !self.dry_run;
            out.json(&json!({ "before": before, "after": after, "repaired": repaired }))?;
        } else {
            let mut table = Table::new(&["deliveries", "in the ledger", "counted"]);
            for (state, before, after) in [
                ("accepted", before.accepted, after.accepted),
                ("pending", before.pending, after.pending),
                ("leased", before.leased, after.leased),
                ("delivered", before.delivered, after.delivered),
                ("dead", before.dead, after.dead),
                ("discarded", before.discarded, after.discarded),
            ] {
                table.row([state.to_owned(), before.to_string(), after.to_string()]);
            }
            out.table(&table)?;
            out.line(match (differs, self.dry_run) {
                (false, _) => "the ledger is right: nothing to repair",
                (true, true) => "the ledger is wrong: nothing was changed (dry run)",
                (true, false) => "the ledger was repaired",
            })?;
        }
        Ok(if differs && self.dry_run { exit::FAILED.into() } else { ExitCode::SUCCESS })
    }
}
