//! Settings: what they are, their defaults and limits. They come from `postrider.toml`, then
//! `POSTRIDER_*` variables, then flags; each remembers where it came from.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::domain::auth::DestinationPath;

mod error;
mod flags;
mod load;
mod print;
pub mod secrets;
mod table;

pub(crate) use error::nearest;
pub use error::{ConfigError, ConfigFault};
pub use flags::SettingFlags;
pub use load::{Given, Loaded, Origin, load};
pub use table::{SETTINGS, Setting};

/// Settings in force. Durations and sizes carry their unit in the name.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen.
    pub listen: String,
    /// The address that browsers reach this service by, for what they come back to; none: `listen`.
    pub public_url: Option<String>,
    /// The database file, from `database = "sqlite://PATH"`.
    pub database: PathBuf,
    /// Where the operator's token is written at first start (mode 0600).
    pub token_file: PathBuf,
    /// The key file that seals secrets (mode 0600), unless `secret_key` is given.
    pub secret_key_file: PathBuf,
    /// The key that seals secrets, base64 of 32 bytes; from the environment only.
    pub secret_key: Option<secrecy::SecretString>,
    /// This node's name in attempts and logs.
    pub node_name: String,
    /// Networks that may be delivered to although policy refuses them.
    pub allow_networks: Vec<IpNet>,
    /// Requests in flight at once over all destinations.
    pub max_in_flight: u32,
    /// Processes that insert functions run in, at once.
    pub function_workers: u32,
    /// Connections to intake and API at once.
    pub max_connections: u32,
    /// Requests that each token may make to the admin API in a minute.
    pub api_requests_per_minute: u32,
    /// How long a client may take to send its request's head, in milliseconds.
    pub header_timeout_ms: u64,
    /// How long a client may take to send its request's body, in milliseconds.
    pub body_timeout_ms: u64,
    /// How much of a receiver's answer is kept, in bytes: at most 64 KiB.
    pub response_keep_bytes: u32,
    /// `User-Agent` of deliveries.
    pub user_agent: String,
    /// Mappings a destination can have.
    pub mappings_per_destination: u32,
    /// How long a replaced shared secret goes on signing beside its successor, in hours.
    pub secret_overlap_hours: u32,
    /// How long settled deliveries are kept, in days.
    pub retention_days: u32,
    /// How long dead letters are kept, in days.
    pub dead_retention_days: u32,
    /// The destination that alerts are delivered to; none: they are logged and counted only.
    pub alert_destination: Option<DestinationPath>,
    /// So many dead letters of a destination within an hour raise an alert; 0: never.
    pub alert_dead_letters_per_hour: u32,
    /// Where spans are told by OTLP over HTTP, without `/v1/traces`; none: nowhere.
    pub otlp_endpoint: Option<String>,
    /// Whether `/inspect/NAME` takes webhooks to be looked at.
    pub inspector: bool,
    /// Below this much free space intake refuses events, in MiB.
    pub min_free_disk_mib: u64,
    /// How long a stopping process waits for attempts in flight, in milliseconds.
    pub shutdown_grace_ms: u64,
    /// Which log lines are written: `info`, `postrider=debug`, ….
    pub log: String,
    /// Their shape.
    pub log_format: LogFormat,
}

/// The shape of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Lines for people.
    Text,
    /// A JSON object a line.
    Json,
}

impl LogFormat {
    /// Every shape.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Text, Self::Json];

    /// The word in settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            public_url: None,
            database: PathBuf::from("postrider.db"),
            token_file: PathBuf::from("postrider.db.token"),
            secret_key_file: PathBuf::from("postrider.db.key"),
            secret_key: None,
            node_name: "postrider".to_owned(),
            allow_networks: Vec::new(),
            max_in_flight: 2_048,
            function_workers: cores().max(2),
            max_connections: 4_096,
            api_requests_per_minute: 6_000,
            header_timeout_ms: 10_000,
            body_timeout_ms: 30_000,
            response_keep_bytes: 4_096,
            user_agent: concat!("Postrider/", env!("CARGO_PKG_VERSION")).to_owned(),
            mappings_per_destination: 50,
            secret_overlap_hours: 24,
            retention_days: 30,
            dead_retention_days: 90,
            alert_destination: None,
            alert_dead_letters_per_hour: 100,
            otlp_endpoint: None,
            inspector: false,
            min_free_disk_mib: 256,
            shutdown_grace_ms: 35_000,
            log: "info".to_owned(),
            log_format: LogFormat::Auto,
        }
    }
}

/// The machine's cores, as far as this process may use them.
fn cores() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(cores).unwrap_or(u32::MAX).min(256)
}

impl Settings {
    /// How long a client may take to send its request's head.
    #[must_use]
    pub const fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.header_timeout_ms)
    }
}
