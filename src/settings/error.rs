//! Errors in settings. Each names the setting, its value, the expected value and its origin; all errors are
//! reported at once.

use std::fmt;
use std::path::PathBuf;

/// Invalid settings: every error that was found.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError {
    /// The errors, in the order of reading; never empty.
    pub faults: Vec<ConfigFault>,
}

impl From<ConfigFault> for ConfigError {
    fn from(fault: ConfigFault) -> Self {
        Self { faults: vec![fault] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                out.write_str("\n")?;
            }
            fault.fmt(out)?;
        }
        Ok(())
    }
}

/// One error.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFault {
    /// The file cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// The parser's message.
        message: String,
    },
    /// Unknown setting.
    #[error("{place}: there is no setting {name}{}", did_you_mean(suggestion.as_deref()))]
    Unknown {
        /// Its origin.
        place: String,
        /// The name as given.
        name: String,
        /// The most similar setting.
        suggestion: Option<String>,
    },
    /// Invalid value.
    #[error("{place}: {name} should be {expected}, not {value}")]
    Invalid {
        /// Its origin.
        place: String,
        /// The setting.
        name: &'static str,
        /// The expected value.
        expected: String,
        /// The value as given.
        value: String,
    },
    /// A secret outside of the environment.
    #[error("{place}: {name} is a secret: give it as {variable} in the environment only")]
    Misplaced {
        /// Its origin.
        place: String,
        /// The setting.
        name: &'static str,
        /// The variable to use.
        variable: String,
    },
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

/// The known name that is most similar to `name`, if it is similar enough.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (similarity(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity > 0.8)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, candidate)| candidate)
}

/// The similarity of two names, from 0 to 1: Jaro-Winkler, or 0.95 for at most one edit.
fn similarity(one: &str, other: &str) -> f64 {
    let edits = strsim::damerau_levenshtein(one, other);
    let by_edits = if edits <= 1 { 0.95 } else { 0.0 };
    strsim::jaro_winkler(one, other).max(by_edits)
}
