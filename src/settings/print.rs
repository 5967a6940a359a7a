//! `--print-config`: the settings as valid TOML with the origin of each; secrets are hidden.

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
                // A secret is not allowed in the file: its line is a comment.
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

impl Loaded {
    /// The settings as JSON: value and origin by name; secrets are hidden.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let entries = SETTINGS.iter().map(|setting| {
            let shown = setting.show(&self.settings);
            let origin = self.origins.get(setting.name).unwrap_or(&Origin::Default);
            let value = serde_json::from_str(&shown).unwrap_or(serde_json::Value::String(shown));
            let entry = serde_json::json!({ "value": value, "origin": origin.to_string() });
            (setting.name.to_owned(), entry)
        });
        serde_json::Value::Object(entries.collect())
    }
}
