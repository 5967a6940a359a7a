//! What can be wrong with settings. Every fault names the setting, its value, what it should be and
//! where it was given; all faults of one reading are told at once.

use std::fmt;
use std::path::PathBuf;

/// Settings that cannot be used: every fault that was found.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError {
    /// The faults, in the order they were met; never empty.
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

/// One fault.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFault {
    /// The file cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What was expected there.
        message: String,
    },
    /// There is no such setting.
    #[error("{place}: there is no setting {name}{}", did_you_mean(suggestion.as_deref()))]
    Unknown {
        /// Where it was given.
        place: String,
        /// The name as given.
        name: String,
        /// The nearest name there is.
        suggestion: Option<String>,
    },
    /// The value is not what the setting takes.
    #[error("{place}: {name} should be {expected}, not {value}")]
    Invalid {
        /// Where it was given.
        place: String,
        /// The setting.
        name: &'static str,
        /// What it should be.
        expected: String,
        /// What was given.
        value: String,
    },
    /// The setting may not be given there.
    #[error("{place}: {name} is a secret: give it as {variable} in the environment only")]
    Misplaced {
        /// Where it was given.
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

/// The known name that `name` was most likely meant to be.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (likeness(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, candidate)| candidate)
}

/// How alike two names are, from 0 to 1: by what they begin with, or by the slips between them.
fn likeness(one: &str, other: &str) -> f64 {
    let slips = strsim::damerau_levenshtein(one, other);
    let by_slips = if slips <= 1 { 0.95 } else { 0.0 };
    strsim::jaro_winkler(one, other).max(by_slips)
}
