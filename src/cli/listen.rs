//! `listen`: to come.

use std::process::ExitCode;

use super::globals::Globals;

/// To come.
#[derive(Debug, clap::Args)]
pub struct ListenArgs {}

impl ListenArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// Always, for now.
    pub async fn run(self, _globals: &Globals) -> anyhow::Result<ExitCode> {
        anyhow::bail!("listen is not part of this build")
    }
}
