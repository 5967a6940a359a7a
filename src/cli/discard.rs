//! `discard`: discards pending deliveries and dead letters, as a job of the service.

use std::process::ExitCode;

use super::globals::Globals;
use super::jobs::{Asking, JobArgs};
use super::selection::Selection;

/// Discard pending deliveries and dead letters: they are never attempted again.
#[derive(Debug, clap::Args)]
pub struct DiscardArgs {
    /// These deliveries
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// In this state: pending or dead
    #[arg(long)]
    state: Option<String>,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    job: JobArgs,
}

impl DiscardArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When the service cannot be reached or refuses.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let mut conditions = self.selection.conditions()?;
        conditions.extend(self.state.map(|state| ("state", state)));
        let asking = Asking { path: "/discards", verb: "discard", ids: self.ids, conditions };
        self.job.ask(globals, asking).await
    }
}
