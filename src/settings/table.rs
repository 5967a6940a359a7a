//! The table of settings: name, help, type, limits, setter and getter. The file, the environment, the flags,
//! `--print-config` and the help texts are derived from it.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::values::{LogFormat, Settings};
use crate::domain::auth::DestinationPath;
use crate::domain::database::DatabaseAddress;
use crate::domain::duration_text::duration_text;
use crate::domain::invisible::first_invisible;
use crate::domain::oversized::OversizedEvents;

const SECOND: Duration = Duration::from_secs(1);
const CENTURY: Duration = Duration::from_secs(36_500 * 86_400);

/// A setting's former name, whose value was a number of days.
#[derive(Debug)]
pub(super) struct FormerName {
    pub(super) name: &'static str,
    /// The setting that it sets now.
    pub(super) setting: &'static str,
}

/// The former names: they are still read.
pub(super) const FORMER_NAMES: [FormerName; 2] = [
    FormerName { name: "retention_days", setting: "retention" },
    FormerName { name: "dead_retention_days", setting: "dead_retention" },
];

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Its name in the file; in the environment with `POSTRIDER_` and in capitals; as a flag with dashes.
    pub name: &'static str,
    /// Its help text.
    pub help: &'static str,
    /// Its type.
    pub(super) kind: Kind,
}

/// The type of a setting: how it is parsed, checked, set and shown.
#[derive(Debug)]
pub(super) enum Kind {
    /// An integer within inclusive limits.
    Number { min: u64, max: u64, set: fn(&mut Settings, u64), get: fn(&Settings) -> u64 },
    /// A duration within inclusive limits, as a whole number and a unit.
    Duration {
        min: Duration,
        max: Duration,
        set: fn(&mut Settings, Duration),
        get: fn(&Settings) -> Duration,
    },
    /// A string; `set` gives `None` when it is invalid.
    Text { expected: &'static str, set: fn(&mut Settings, &str) -> Option<()>, get: Show },
    /// `true` or `false`.
    Switch { set: fn(&mut Settings, bool), get: fn(&Settings) -> bool },
    /// A list of texts; `set` gives `None` when one is invalid.
    List {
        expected: &'static str,
        set: fn(&mut Settings, &[&str]) -> Option<()>,
        get: fn(&Settings) -> Vec<String>,
    },
    /// A list of ports.
    Ports,
    /// A string from the environment only, never shown.
    Secret,
}

type Show = fn(&Settings) -> String;

impl Setting {
    /// Its environment variable.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("POSTRIDER_{}", self.name.to_ascii_uppercase())
    }

    /// Its flag, without the leading dashes.
    #[must_use]
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// Whether it is never shown, and not allowed in the file or as a flag.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret)
    }

    /// Whether it shows paths or networks of the machine, which are for admins alone.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        const INTERNAL: [&str; 7] = [
            "allow_networks",
            "database",
            "inbox",
            "listen",
            "otlp_endpoint",
            "secret_key_file",
            "token_file",
        ];
        INTERNAL.contains(&self.name)
    }

    /// A description of valid values.
    #[must_use]
    pub fn expected(&self) -> String {
        match &self.kind {
            Kind::Number { min, max, .. } => format!("a whole number from {min} to {max}"),
            Kind::Duration { min, max, .. } => {
                let (min, max) = (duration_text(*min), duration_text(*max));
                format!("a whole number with a unit, such as 12h or 30d, from {min} to {max}")
            }
            Kind::Text { expected, .. } => (*expected).to_owned(),
            Kind::Switch { .. } => "true or false".to_owned(),
            Kind::List { expected, .. } => format!("a list of {expected}, separated by commas"),
            Kind::Ports => {
                "a list of ports and ranges such as 443,8000-8999, separated by commas".to_owned()
            }
            Kind::Secret => "the base64 of 32 bytes".to_owned(),
        }
    }

    /// Its value as TOML, which accepts JSON strings and lists; secrets are hidden.
    #[must_use]
    pub fn show(&self, settings: &Settings) -> String {
        match &self.kind {
            Kind::Number { get, .. } => get(settings).to_string(),
            Kind::Duration { get, .. } => format!("\"{}\"", duration_text(get(settings))),
            Kind::Switch { get, .. } => get(settings).to_string(),
            Kind::Text { get, .. } => serde_json::Value::from(get(settings)).to_string(),
            Kind::List { get, .. } => serde_json::Value::from_iter(get(settings)).to_string(),
            Kind::Ports => {
                serde_json::Value::from_iter(settings.delivery_ports.texts()).to_string()
            }
            Kind::Secret => {
                if settings.secret_key.is_some() { "\"(hidden)\"" } else { "\"(none)\"" }.to_owned()
            }
        }
    }
}

/// Parses a network, or an address as a network of one.
fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from))
}

fn non_empty(text: &str) -> Option<String> {
    (!text.trim().is_empty()).then(|| text.to_owned())
}

fn socket(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    non_empty(host).map(|_| text.to_owned())
}

#[expect(clippy::option_option, reason = "the outer option says whether the text is valid")]
fn public_url(text: &str) -> Option<Option<String>> {
    if text.is_empty() {
        return Some(None);
    }
    let url = url::Url::parse(text).ok().filter(|_| first_invisible(text).is_none())?;
    let is_base = matches!(url.scheme(), "http" | "https")
        && url.host().is_some()
        && url.port() != Some(0)
        && url.username().is_empty()
        && url.query().is_none()
        && url.fragment().is_none();
    is_base.then(|| Some(text.trim_end_matches('/').to_owned()))
}

#[expect(clippy::option_option, reason = "the outer option says whether the text is valid")]
fn alert_destination(text: &str) -> Option<Option<DestinationPath>> {
    if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
}

fn host_names(text: &str) -> Option<Vec<String>> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let is_name = |name: &str| {
        let fits = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '.' | '_');
        name.chars().all(fits)
    };
    names.map(|name| is_name(name).then(|| name.to_ascii_lowercase())).collect()
}

fn networks(text: &str) -> Option<Vec<IpNet>> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(network).collect()
}

/// Converts a number that the table's limits have bounded.
fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

macro_rules! number {
    ($name:ident, $min:expr, $max:expr, $help:expr) => {
        Setting {
            name: stringify!($name),
            help: $help,
            kind: Kind::Number {
                min: $min,
                max: $max,
                set: |settings, number| settings.$name = narrow(number).into(),
                get: |settings| settings.$name.into(),
            },
        }
    };
}

macro_rules! duration {
    ($name:ident, $min:expr, $max:expr, $help:expr) => {
        Setting {
            name: stringify!($name),
            help: $help,
            kind: Kind::Duration {
                min: $min,
                max: $max,
                set: |settings, duration| settings.$name = duration,
                get: |settings| settings.$name,
            },
        }
    };
}

macro_rules! text {
    ($name:ident, $expected:expr, $read:expr, $show:expr, $help:expr) => {
        Setting {
            name: stringify!($name),
            help: $help,
            kind: Kind::Text {
                expected: $expected,
                set: |settings, text| {
                    settings.$name = $read(text)?;
                    Some(())
                },
                get: |settings| $show(&settings.$name),
            },
        }
    };
}

fn path(text: &str) -> Option<PathBuf> {
    non_empty(text).map(PathBuf::from)
}

#[expect(clippy::ptr_arg, reason = "the table's getters pass the field by reference")]
fn show_path(path: &PathBuf) -> String {
    path.display().to_string()
}

fn printable(text: &str) -> Option<String> {
    let is_printable = !text.is_empty() && text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    is_printable.then(|| text.to_owned())
}

fn log_targets(text: &str) -> Option<String> {
    // A word without a level would be a target, and everything else silent: `--log foo`.
    let is_level = |part: &str| part.parse::<tracing_subscriber::filter::LevelFilter>().is_ok();
    let has_level =
        |part: &str| part.rsplit('=').next().is_some_and(|level| is_level(level.trim()));
    let targets = text.parse::<tracing_subscriber::filter::Targets>().ok();
    targets.filter(|_| text.split(',').all(has_level)).and_then(|_| non_empty(text))
}

fn log_format(text: &str) -> Option<LogFormat> {
    LogFormat::ALL.into_iter().find(|format| format.as_str() == text)
}

/// Every setting, in display order.
pub static SETTINGS: &[Setting] = &[
    text!(
        listen,
        "an address and port such as 127.0.0.1:8080",
        socket,
        String::clone,
        "The address that the service listens on"
    ),
    text!(
        public_url,
        "an http or https URL such as https://hooks.example.com",
        public_url,
        |url: &Option<String>| url.clone().unwrap_or_default(),
        "The base URL that browsers reach this service by, for OAuth redirects; empty: that of listen"
    ),
    text!(
        trusted_hosts,
        "host names, separated by commas",
        host_names,
        |names: &Vec<String>| names.join(","),
        "Host names that requests may have beside that of public_url, localhost, addresses and names without a dot"
    ),
    text!(
        trusted_proxies,
        "networks such as 10.0.0.0/8, separated by commas",
        networks,
        |networks: &Vec<IpNet>| networks.iter().map(IpNet::to_string).collect::<Vec<_>>().join(","),
        "Networks of reverse proxies whose X-Forwarded-For names the senders, for sources with client_ip"
    ),
    text!(
        database,
        "sqlite:// and a path, such as sqlite://postrider.db, or postgres://user:password@host:5432/name",
        DatabaseAddress::parse,
        DatabaseAddress::shown,
        "The database: a SQLite file, or a PostgreSQL database, which one node may use for now"
    ),
    Setting {
        name: "inbox",
        help: "Inboxes in databases of applications, made by postrider inbox init, which events are taken from",
        kind: Kind::List {
            expected: "SQLite files or postgres:// URLs, such as app.db",
            set: |settings, texts| {
                settings.inbox = texts
                    .iter()
                    .map(|text| DatabaseAddress::of_application(text))
                    .collect::<Option<_>>()?;
                Some(())
            },
            get: |settings| settings.inbox.iter().map(DatabaseAddress::shown).collect(),
        },
    },
    text!(
        token_file,
        "a path",
        path,
        show_path,
        "The file with the operator's token, which the CLI on this machine uses; created at first start"
    ),
    text!(
        secret_key_file,
        "a path",
        path,
        show_path,
        "The file with the key that encrypts secrets; created at first start"
    ),
    Setting {
        name: "secret_key",
        help: "The key that encrypts secrets, instead of the key file: base64 of 32 bytes",
        kind: Kind::Secret,
    },
    text!(
        node_name,
        "a name of printable ASCII characters",
        printable,
        String::clone,
        "This node's name in attempts and logs"
    ),
    Setting {
        name: "allow_networks",
        help: "Networks exempt from SSRF protection, which refuses deliveries to private and loopback addresses",
        kind: Kind::List {
            expected: "networks such as 10.0.0.0/8",
            set: |settings, texts| {
                settings.allow_networks =
                    texts.iter().map(|text| network(text)).collect::<Option<_>>()?;
                Some(())
            },
            get: |settings| settings.allow_networks.iter().map(ToString::to_string).collect(),
        },
    },
    Setting {
        name: "delivery_ports",
        help: "The ports that deliveries may go to; empty: all but those of well-known mail, shell and database services",
        kind: Kind::Ports,
    },
    number!(max_in_flight, 1, 65_536, "Maximum deliveries in flight, over all destinations"),
    number!(
        function_workers,
        1,
        256,
        "Maximum worker processes of insert functions; started on first use"
    ),
    number!(max_connections, 1, 1_000_000, "Maximum client connections"),
    number!(
        api_requests_per_minute,
        1,
        1_000_000,
        "Rate limit of each token at the admin API, in requests per minute"
    ),
    number!(header_timeout_ms, 100, 600_000, "Timeout for a request's head"),
    number!(body_timeout_ms, 100, 600_000, "Timeout for a request's body"),
    text!(
        oversized,
        "reject_event or reject_batch",
        |text: &str| OversizedEvents::ALL.into_iter().find(|it| it.as_str() == text),
        |oversized: &OversizedEvents| oversized.as_str().to_owned(),
        "What becomes of a batch with an event over 32 KB: reject_event keeps the others, reject_batch refuses it as Segment does"
    ),
    number!(response_keep_bytes, 0, 65_536, "How much of a response body is kept with the attempt"),
    text!(
        user_agent,
        "printable ASCII characters",
        printable,
        String::clone,
        "The User-Agent of deliveries"
    ),
    number!(mappings_per_destination, 1, 10_000, "Maximum mappings of a destination"),
    number!(
        secret_overlap_hours,
        0,
        8_760,
        "How long a rotated shared secret keeps signing beside its successor"
    ),
    duration!(
        retention,
        SECOND,
        CENTURY,
        "Retention of settled deliveries and their events; de-duplication has its own"
    ),
    duration!(dead_retention, SECOND, CENTURY, "Retention of dead letters"),
    text!(
        alert_destination,
        "source/destination, or nothing",
        alert_destination,
        |path: &Option<DestinationPath>| path.as_ref().map(ToString::to_string).unwrap_or_default(),
        "The destination that alerts are delivered to, as events of its source; empty: none"
    ),
    number!(
        alert_dead_letters_per_hour,
        0,
        1_000_000_000,
        "Dead letters of a destination within an hour that raise an alert; 0: never"
    ),
    text!(
        otlp_endpoint,
        "an http or https URL such as http://127.0.0.1:4318",
        public_url,
        |url: &Option<String>| url.clone().unwrap_or_default(),
        "The OpenTelemetry collector that traces are exported to by OTLP over HTTP; empty: none"
    ),
    Setting {
        name: "inspector",
        help: "Whether the test receivers at /inspect/NAME accept webhooks, without authentication",
        kind: Kind::Switch {
            set: |settings, on| settings.inspector = on,
            get: |settings| settings.inspector,
        },
    },
    number!(
        min_free_disk_mib,
        0,
        1_048_576,
        "Free disk space below which intake answers 507; deliveries continue"
    ),
    number!(shutdown_grace_ms, 0, 3_600_000, "How long shutdown waits for attempts in flight"),
    text!(
        log,
        "a level such as info, or targets such as warn,postrider=debug",
        log_targets,
        String::clone,
        "The log level, or levels by target"
    ),
    text!(
        log_format,
        "auto, text or json",
        log_format,
        |format: &LogFormat| format.as_str().to_owned(),
        "The log format: auto is text on a terminal and JSON otherwise"
    ),
];
