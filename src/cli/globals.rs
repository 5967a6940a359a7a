//! Global flags, and the settings with these flags applied.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::ArgAction;

use super::failure::Failure;
use super::output::Output;
use crate::settings::{ConfigError, Given, Loaded, SettingFlags, load};

/// The flags of every verb.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Global flags")]
pub struct Globals {
    /// Settings file [default: postrider.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE", env = "POSTRIDER_CONFIG")]
    pub config: Option<PathBuf>,
    /// The service's address [default: from the setting `listen`]; repeated, lists and status show
    /// several deployments
    #[arg(long, global = true, value_name = "URL", env = "POSTRIDER_URL", value_delimiter = ',')]
    pub url: Vec<String>,
    /// File with the operator's token [default: beside the database], one for every --url or one for
    /// each; POSTRIDER_TOKEN gives the token itself
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Vec<PathBuf>,
    /// Print JSON
    #[arg(long, global = true, action = ArgAction::SetTrue)]
    pub json: bool,
    /// Print without colour; NO_COLOR does the same
    #[arg(long, global = true, action = ArgAction::SetTrue)]
    pub no_color: bool,
    /// Whether the output says which deployment it is of.
    #[arg(skip)]
    is_one_of_several: bool,
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
        if let Some(path) = self.token_file.first() {
            flags.push(("token_file", path.display().to_string()));
        }
        load(&Given { file: self.config.clone(), environment, flags })
    }

    /// Standard output with these flags.
    #[must_use]
    pub fn output(&self) -> Output {
        let deployment = if self.is_one_of_several { self.url.first().cloned() } else { None };
        Output::new(self.json, self.no_color, deployment)
    }

    /// The flags for each deployment, where several are given.
    ///
    /// # Errors
    /// When the token files are neither one nor one for each.
    pub(super) fn deployments(&self) -> Result<Vec<Self>, Failure> {
        let (urls, files) = (self.url.len(), self.token_file.len());
        if files > 1 && files != urls {
            return Err(Failure::usage(format!("{files} --token-file for {urls} --url"))
                .hint("give one for all, or one for each --url in their order"));
        }
        let one = |(index, url): (usize, &String)| {
            let file = self.token_file.get(index).or_else(|| self.token_file.first());
            Self {
                url: vec![url.clone()],
                token_file: file.cloned().into_iter().collect(),
                is_one_of_several: true,
                ..self.clone()
            }
        };
        Ok(if urls > 1 { self.url.iter().enumerate().map(one).collect() } else { Vec::new() })
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
