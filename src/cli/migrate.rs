//! `migrate`: brings a database's schema up to date while no service runs on it.

use std::process::ExitCode;

use super::failure::{Failure, exit};
use super::globals::Globals;
use crate::api::status::FindingView;
use crate::config::SettingFlags;

/// Bring a database's schema up to date; `serve` does the same at its start.
#[derive(Debug, clap::Args)]
pub struct MigrateArgs {}

impl MigrateArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When the database cannot be opened, is in use or newer than this program.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let settings = globals.settings(&SettingFlags::default())?.settings;
        Err(Failure::new(exit::FAILED, format!("{} cannot be opened", settings.database.display()))
            .into())
    }
}

/// The store's examination of the database itself.
pub(super) async fn examine(globals: &Globals) -> anyhow::Result<Vec<FindingView>> {
    let settings = globals.settings(&SettingFlags::default())?.settings;
    Err(Failure::new(exit::FAILED, format!("{} cannot be opened", settings.database.display()))
        .into())
}
