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

impl Loaded {
    /// The settings by name, each with its value and its origin; secrets hidden.
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
