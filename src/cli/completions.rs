//! `completions`: a completion script for a shell, on stdout.

use std::io::Write as _;
use std::process::ExitCode;

use clap_complete::Shell;

use super::globals::Globals;

/// Print a completion script, for example: postrider completions bash
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

impl CompletionsArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn run(self, _globals: &Globals) -> anyhow::Result<ExitCode> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "postrider", &mut script);
        std::io::stdout().write_all(&script)?;
        Ok(ExitCode::SUCCESS)
    }
}
