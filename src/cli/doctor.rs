//! `doctor`: checks the whole store and prints each finding.

use std::process::ExitCode;

use super::client::Client;
use super::failure::exit;
use super::globals::Globals;
use super::output::Table;
use crate::service::status::FindingView;

/// Check the store: consistency, integrity, leases, disk. Fails when a check finds a fault.
#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// Open the database itself, while no service runs on it
    #[arg(long)]
    offline: bool,
}

impl DoctorArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When the service cannot be reached or refuses, or the database cannot be opened.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
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
}
