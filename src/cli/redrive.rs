//! `redrive`: makes dead letters due again, as a job of the service.

use std::process::ExitCode;

use super::globals::Globals;
use super::jobs::{Asking, JobArgs};
use super::selection::Selection;

/// Make dead letters due again, with a fresh window.
#[derive(Debug, clap::Args)]
pub struct RedriveArgs {
    /// These deliveries
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// All dead letters that match the filters
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    job: JobArgs,
}

impl RedriveArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When the service cannot be reached or refuses.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let mut conditions = self.selection.conditions()?;
        if self.all {
            conditions.push(("state", "dead".to_owned()));
        }
        let asking = Asking { path: "/redrives", verb: "redrive", ids: self.ids, conditions };
        self.job.ask(globals, asking).await
    }
}
