//! The command line flags of settings, derived from the table; secrets have none, and `--token-file` is a
//! global flag.

use clap::{Arg, ArgMatches, Command};

use super::table::{FORMER_NAMES, SETTINGS, Setting};
use super::values::Settings;

/// Settings whose flag is global, defined in `cli`.
const GLOBAL: [&str; 1] = ["token_file"];

fn flagged() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(|setting| !setting.is_secret() && !GLOBAL.contains(&setting.name))
}

/// Settings given as flags.
#[derive(Clone, Debug, Default)]
pub struct SettingFlags {
    /// Settings by name.
    pub given: Vec<(&'static str, String)>,
}

impl clap::Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        let defaults = Settings::default();
        let command = FORMER_NAMES.iter().fold(command, |command, former| {
            let flag = former.name.replace('_', "-");
            command.arg(Arg::new(former.name).long(flag).value_name("DAYS").hide(true))
        });
        flagged().fold(command, |command, setting| {
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
        let former = FORMER_NAMES.iter().map(|former| former.name);
        self.given = former
            .chain(flagged().map(|setting| setting.name))
            .filter_map(|name| Some((name, matches.get_one::<String>(name)?.clone())))
            .collect();
        Ok(())
    }
}
