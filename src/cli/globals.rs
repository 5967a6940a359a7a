//! Global flags, and the settings with these flags applied.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::ArgAction;

use super::output::Output;
use crate::settings::{ConfigError, Given, Loaded, SettingFlags, load};

/// The flags of every verb.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Global flags")]
pub struct Globals {
    /// Settings file [default: postrider.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE", env = "POSTRIDER_CONFIG")]
    pub config: Option<PathBuf>,
    /// The service's address [default: from the setting `listen`]
    #[arg(long, global = true, value_name = "URL", env = "POSTRIDER_URL")]
    pub url: Option<String>,
    /// File with the operator's token [default: beside the database]; POSTRIDER_TOKEN gives the
    /// token itself
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true, action = ArgAction::SetTrue)]
    pub json: bool,
    /// Print without colour; NO_COLOR does the same
    #[arg(long, global = true, action = ArgAction::SetTrue)]
    pub no_color: bool,
}

impl Globals {
    /// Reads the settings, with these flags on top.
    ///
    /// # Errors
    /// [`ConfigError`] with every fault.
    pub fn settings(&self, flags: &SettingFlags) -> Result<Loaded, ConfigError> {
        // Variables that are not Unicode are not settings.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let mut flags = flags.given.clone();
        if let Some(path) = &self.token_file {
            flags.push(("token_file", path.display().to_string()));
        }
        load(&Given { file: self.config.clone(), environment, flags })
    }

    /// Standard output with these flags.
    #[must_use]
    pub fn output(&self) -> Output {
        Output::new(self.json, self.no_color)
    }
}

/// Whether help and usage errors may have colour, before the command line is parsed.
pub(super) fn colour(mut arguments: impl Iterator<Item = OsString>) -> clap::ColorChoice {
    if arguments.any(|argument| argument == "--no-color") {
        clap::ColorChoice::Never
    } else {
        clap::ColorChoice::Auto
    }
}
