//! Shows settings as a TOML file that could be used as one, each with its origin; secrets hidden.

use std::fmt;

use super::load::{Loaded, Origin};
use super::table::SETTINGS;

impl fmt::Display for Loaded {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = SETTINGS
            .iter()
            .map(|setting| {
                let value = setting.show(&self.settings);
                let origin = self.origins.get(setting.name).unwrap_or(&Origin::Default);
                // A secret may not stand in the file, so its line is a comment.
                let comment = if setting.is_secret() { "# " } else { "" };
                (format!("{comment}{} = {value}", setting.name), origin)
            })
            .collect();
        let width = lines.iter().map(|(line, _)| line.chars().count()).max().unwrap_or(0);
        for (line, origin) in lines {
            writeln!(out, "{line:width$}  # {origin}")?;
        }
        Ok(())
    }
}
