//! Loads settings from the file, the environment and the flags, in the order of increasing precedence, and
//! records the origin of each. Reads the file; writes nothing.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, ConfigFault, nearest};
use super::secrets::decode_key;
use super::table::{FORMER_NAMES, FormerName, Kind, SETTINGS, Setting};
use super::values::Settings;
use crate::domain::delivery_ports::DeliveryPorts;
use crate::domain::duration_text::parse_duration;

/// The file that is read if it exists and none is named.
const DEFAULT_FILE: &str = "postrider.toml";

/// Variables of the CLI that are not settings.
const OTHER_VARIABLES: [&str; 4] =
    ["POSTRIDER_CONFIG", "POSTRIDER_URL", "POSTRIDER_TOKEN", "POSTRIDER_WRITE_KEY"];

/// The sources of settings.
#[derive(Debug, Default)]
pub struct Given {
    /// The named file; none: `postrider.toml` if it exists.
    pub file: Option<PathBuf>,
    /// All environment variables.
    pub environment: Vec<(String, String)>,
    /// Settings by name, from flags.
    pub flags: Vec<(&'static str, String)>,
}

/// The origin of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The default.
    Default,
    /// The default: a path beside the database.
    BesideDatabase,
    /// A line of the file.
    File {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A command line flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => out.write_str("default"),
            Self::BesideDatabase => out.write_str("default: beside the database"),
            Self::File { path, line } => write!(out, "{}:{line}", path.display()),
            Self::Variable(name) => out.write_str(name),
            Self::Flag(name) => write!(out, "--{name}"),
        }
    }
}

/// Settings with their origins.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings in force.
    pub settings: Settings,
    /// The origin of each setting by name.
    pub origins: BTreeMap<&'static str, Origin>,
}

/// Loads all settings.
///
/// # Errors
/// [`ConfigError`] with every error in the file, the environment and the flags.
pub fn load(given: &Given) -> Result<Loaded, ConfigError> {
    let mut reading = Reading::default();
    reading.file(given.file.as_deref())?;
    reading.environment(&given.environment);
    reading.flags(&given.flags);
    if !reading.faults.is_empty() {
        return Err(ConfigError { faults: reading.faults });
    }
    reading.place_beside_database();
    Ok(Loaded { settings: reading.settings, origins: reading.origins })
}

#[derive(Default)]
struct Reading {
    settings: Settings,
    origins: BTreeMap<&'static str, Origin>,
    faults: Vec<ConfigFault>,
}

/// A value of TOML, a variable or a flag.
enum Value<'a> {
    Text(Cow<'a, str>),
    Number(u64),
    Switch(bool),
    Texts(Vec<Cow<'a, str>>),
    Other(String),
}

/// Whether a value is a URL with a user name, a password or a query, which an error must not show.
fn may_have_secret(value: &Value<'_>) -> bool {
    let text = value.shown();
    text.split_once("://").is_some_and(|(_, rest)| rest.contains(['@', '?', '#']))
}

impl Reading {
    fn file(&mut self, named: Option<&Path>) -> Result<(), ConfigError> {
        let path = named.unwrap_or_else(|| Path::new(DEFAULT_FILE));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(());
            }
            Err(source) => {
                return Err(ConfigFault::Unreadable { path: path.to_owned(), source }.into());
            }
        };
        let table = DeTable::parse(&text).map_err(|error| malformed(path, &text, &error))?;
        let mut entries: Vec<_> = table.into_inner().into_iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in entries {
            let (line, _) = position(&text, name.span().start);
            self.file_entry(name.get_ref(), &value, Origin::File { path: path.to_owned(), line });
        }
        Ok(())
    }

    fn file_entry(&mut self, name: &str, value: &Spanned<DeValue<'_>>, origin: Origin) {
        let value = file_value(value.get_ref());
        if let Some(former) = FORMER_NAMES.iter().find(|former| former.name == name) {
            return self.set_days(former, value, origin);
        }
        match SETTINGS.iter().find(|setting| setting.name == name) {
            Some(setting) if setting.is_secret() => self.faults.push(ConfigFault::Misplaced {
                place: origin.to_string(),
                name: setting.name,
                variable: setting.variable(),
            }),
            Some(setting) => self.set(setting, value, origin),
            None => self.faults.push(ConfigFault::Unknown {
                place: origin.to_string(),
                name: name.to_owned(),
                suggestion: nearest(name, SETTINGS.iter().map(|setting| setting.name))
                    .map(ToOwned::to_owned),
            }),
        }
    }

    fn environment(&mut self, variables: &[(String, String)]) {
        let names: Vec<String> = SETTINGS.iter().map(Setting::variable).collect();
        for (variable, value) in variables {
            if !variable.starts_with("POSTRIDER_") || OTHER_VARIABLES.contains(&variable.as_str()) {
                continue;
            }
            let former = |it: &&FormerName| {
                variable.strip_prefix("POSTRIDER_") == Some(&it.name.to_ascii_uppercase())
            };
            if let Some(former) = FORMER_NAMES.iter().find(former) {
                let value = Value::Text(Cow::Borrowed(value));
                self.set_days(former, value, Origin::Variable(variable.clone()));
                continue;
            }
            match SETTINGS.iter().zip(&names).find(|(_, name)| *name == variable) {
                Some((setting, _)) => self.set(
                    setting,
                    Value::Text(Cow::Borrowed(value)),
                    Origin::Variable(variable.clone()),
                ),
                None if is_service_link(variable) => {}
                None => self.faults.push(ConfigFault::Unknown {
                    place: "environment".to_owned(),
                    name: variable.clone(),
                    suggestion: nearest(
                        variable,
                        names.iter().map(String::as_str).chain(OTHER_VARIABLES),
                    )
                    .map(ToOwned::to_owned),
                }),
            }
        }
    }

    fn flags(&mut self, flags: &[(&'static str, String)]) {
        for (name, value) in flags {
            if let Some(former) = FORMER_NAMES.iter().find(|former| former.name == *name) {
                let origin = Origin::Flag(former.name.replace('_', "-"));
                self.set_days(former, Value::Text(Cow::Borrowed(value)), origin);
            }
            if let Some(setting) = SETTINGS.iter().find(|setting| setting.name == *name) {
                let origin = Origin::Flag(setting.flag());
                self.set(setting, Value::Text(Cow::Borrowed(value)), origin);
            }
        }
    }

    fn set(&mut self, setting: &'static Setting, value: Value<'_>, origin: Origin) {
        match apply(&mut self.settings, setting, &value) {
            Ok(()) => {
                self.origins.insert(setting.name, origin);
            }
            Err(expected) => self.faults.push(ConfigFault::Invalid {
                place: origin.to_string(),
                name: setting.name,
                expected,
                value: if setting.is_secret() || may_have_secret(&value) {
                    "the given value".to_owned()
                } else {
                    value.shown()
                },
            }),
        }
    }

    /// Sets a duration by its former name, in days.
    fn set_days(&mut self, former: &'static FormerName, value: Value<'_>, origin: Origin) {
        let Some(setting) = SETTINGS.iter().find(|it| it.name == former.setting) else { return };
        match value.number().map(|days| Value::Text(Cow::Owned(format!("{days}d")))) {
            Some(days) => self.set(setting, days, origin),
            None => self.faults.push(ConfigFault::Invalid {
                place: origin.to_string(),
                name: former.name,
                expected: "a whole number of days".to_owned(),
                value: value.shown(),
            }),
        }
    }

    fn place_beside_database(&mut self) {
        // A server's files are not of this machine: its nodes have these in their folder.
        let database = self.settings.database.file().unwrap_or(Path::new("postrider")).to_owned();
        let beside = |suffix: &str| {
            let mut path = database.as_os_str().to_owned();
            path.push(suffix);
            PathBuf::from(path)
        };
        if !self.origins.contains_key("token_file") {
            self.settings.token_file = beside(".token");
            self.origins.insert("token_file", Origin::BesideDatabase);
        }
        if !self.origins.contains_key("secret_key_file") {
            self.settings.secret_key_file = beside(".key");
            self.origins.insert("secret_key_file", Origin::BesideDatabase);
        }
    }
}

/// Sets one value; the error is the expected value.
fn apply(settings: &mut Settings, setting: &Setting, value: &Value<'_>) -> Result<(), String> {
    let refused = || setting.expected();
    match &setting.kind {
        Kind::Number { min, max, set, .. } => {
            let number = value.number().ok_or_else(refused)?;
            if !(*min..=*max).contains(&number) {
                return Err(refused());
            }
            set(settings, number);
        }
        Kind::Duration { min, max, set, .. } => {
            let Value::Text(text) = value else { return Err(refused()) };
            let duration = parse_duration(text).filter(|it| (*min..=*max).contains(it));
            set(settings, duration.ok_or_else(refused)?);
        }
        Kind::Text { set, .. } => {
            let Value::Text(text) = value else { return Err(refused()) };
            set(settings, text).ok_or_else(refused)?;
        }
        Kind::Switch { set, .. } => set(settings, value.switch().ok_or_else(refused)?),
        Kind::List { set, .. } => {
            let texts = value.texts().ok_or_else(refused)?;
            set(settings, &texts).ok_or_else(refused)?;
        }
        Kind::Ports => {
            let ports = match value {
                Value::Number(port) => DeliveryPorts::parse([port.to_string().as_str()]),
                Value::Text(_) | Value::Texts(_) | Value::Switch(_) | Value::Other(_) => {
                    DeliveryPorts::parse(value.texts().ok_or_else(refused)?)
                }
            };
            settings.delivery_ports = ports.ok_or_else(refused)?;
        }
        Kind::Secret => {
            let Value::Text(text) = value else { return Err(refused()) };
            decode_key(text).ok_or_else(refused)?;
            settings.secret_key = Some(text.clone().into_owned().into());
        }
    }
    Ok(())
}

impl Value<'_> {
    fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            // A variable, a flag, or a quoted number in the file.
            Self::Text(text) => text.replace('_', "").parse().ok(),
            Self::Switch(_) | Self::Texts(_) | Self::Other(_) => None,
        }
    }

    fn switch(&self) -> Option<bool> {
        match self {
            Self::Switch(on) => Some(*on),
            Self::Text(text) => text.parse().ok(),
            Self::Number(_) | Self::Texts(_) | Self::Other(_) => None,
        }
    }

    fn texts(&self) -> Option<Vec<&str>> {
        match self {
            Self::Text(text) => {
                Some(text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect())
            }
            Self::Texts(texts) => Some(texts.iter().map(Cow::as_ref).collect()),
            Self::Switch(_) | Self::Number(_) | Self::Other(_) => None,
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Text(text) => format!("{text:?}"),
            Self::Switch(on) => on.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Texts(texts) => format!("{texts:?}"),
            Self::Other(what) => what.clone(),
        }
    }
}

fn file_value<'a>(value: &'a DeValue<'a>) -> Value<'a> {
    if let Some(text) = value.as_str() {
        return Value::Text(Cow::Borrowed(text));
    }
    if let Some(integer) = value.as_integer() {
        let digits = integer.as_str();
        return match u64::from_str_radix(digits, integer.radix()) {
            Ok(number) => Value::Number(number),
            Err(_) => Value::Other(digits.to_owned()),
        };
    }
    if let Some(on) = value.as_bool() {
        return Value::Switch(on);
    }
    if let Some(array) = value.as_array() {
        let texts: Option<Vec<_>> = array.iter().map(|item| list_item(item.get_ref())).collect();
        return texts
            .map_or_else(|| Value::Other("a list of other types".to_owned()), Value::Texts);
    }
    Value::Other(format!("a {}", value.type_str()))
}

fn list_item<'a>(value: &'a DeValue<'a>) -> Option<Cow<'a, str>> {
    match file_value(value) {
        Value::Text(text) => Some(text),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Switch(_) | Value::Texts(_) | Value::Other(_) => None,
    }
}

fn malformed(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let (line, column) = position(text, error.span().map_or(text.len(), |span| span.start));
    let message = error.message().replace('\n', "; ");
    ConfigFault::Malformed { path: path.to_owned(), line, column, message }.into()
}

/// Line and column, both from 1, of a byte offset.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// Whether Docker or Kubernetes sets this variable for a service named `postrider`.
fn is_service_link(variable: &str) -> bool {
    variable == "POSTRIDER_PORT"
        || variable.starts_with("POSTRIDER_PORT_")
        || variable.starts_with("POSTRIDER_SERVICE_")
}
