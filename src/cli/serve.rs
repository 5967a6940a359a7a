//! `serve`: runs the service, or prints the effective settings.

use std::process::ExitCode;

use super::globals::Globals;
use crate::settings::SettingFlags;
use crate::telemetry::log;

/// Run the service. Settings come from postrider.toml, then POSTRIDER_* variables, then flags.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// Print the effective settings and where each comes from, then exit
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    settings: SettingFlags,
}

impl ServeArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When a setting is wrong, or the service cannot start.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let loaded = globals.settings(&self.settings)?;
        if self.print_config {
            let mut out = globals.output();
            if out.is_json() {
                out.json(&loaded.to_json())?;
            } else {
                out.line(loaded.to_string().trim_end())?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        log::start(&loaded.settings);
        crate::server::serve(loaded).await?;
        Ok(ExitCode::SUCCESS)
    }
}
