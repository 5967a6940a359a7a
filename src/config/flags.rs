//! One flag for each setting, made from the table.

use clap::{Arg, ArgMatches, Command};

use super::Settings;
use super::table::SETTINGS;

/// Settings given as flags.
#[derive(Clone, Debug, Default)]
pub struct SettingFlags {
    /// Settings by name.
    pub given: Vec<(&'static str, String)>,
}

impl clap::Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        let defaults = Settings::default();
        SETTINGS.iter().filter(|setting| !setting.is_secret()).fold(command, |command, setting| {
            let help = format!(
                "{} [default: {}]",
                setting.help,
                setting.show(&defaults).trim_matches('"')
            );
            command.arg(
                Arg::new(setting.name)
                    .long(setting.flag())
                    .value_name("VALUE")
                    .help(help)
                    .help_heading("Settings"),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.given = SETTINGS
            .iter()
            .filter(|setting| !setting.is_secret())
            .filter_map(|setting| {
                let value = matches.get_one::<String>(setting.name)?;
                Some((setting.name, value.clone()))
            })
            .collect();
        Ok(())
    }
}
