//! The settings in force, and their defaults.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::domain::auth::DestinationPath;
use crate::domain::database::DatabaseAddress;
use crate::domain::delivery_ports::DeliveryPorts;
use crate::domain::oversized::OversizedEvents;

const DAY: Duration = Duration::from_secs(86_400);

/// Settings in force. Durations and sizes carry their unit in the name.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The listen address.
    pub listen: String,
    /// The base URL that browsers reach this service by, for OAuth redirects; none: `listen`.
    pub public_url: Option<String>,
    /// Further names that requests may have in `Host`.
    pub trusted_hosts: Vec<String>,
    /// Networks of reverse proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The database: `sqlite://PATH` or `postgres://…`.
    pub database: DatabaseAddress,
    /// Inboxes in databases of applications.
    pub inbox: Vec<DatabaseAddress>,
    /// The file with the operator's token, created at first start (mode 0600).
    pub token_file: PathBuf,
    /// The file with the sealing key (mode 0600), unless `secret_key` is set.
    pub secret_key_file: PathBuf,
    /// The sealing key, base64 of 32 bytes; from the environment only.
    pub secret_key: Option<secrecy::SecretString>,
    /// This node's name in attempts and logs.
    pub node_name: String,
    /// Networks exempt from SSRF protection.
    pub allow_networks: Vec<IpNet>,
    /// The ports that deliveries may go to.
    pub delivery_ports: DeliveryPorts,
    /// Maximum deliveries in flight, over all destinations.
    pub max_in_flight: u32,
    /// Maximum worker processes of insert functions.
    pub function_workers: u32,
    /// Maximum client connections.
    pub max_connections: u32,
    /// Rate limit of each token at the admin API.
    pub api_requests_per_minute: u32,
    /// Timeout for a request's head, in milliseconds.
    pub header_timeout_ms: u64,
    /// Timeout for a request's body, in milliseconds.
    pub body_timeout_ms: u64,
    /// What becomes of a batch that has an oversized event.
    pub oversized: OversizedEvents,
    /// How much of a response body is kept, in bytes: at most 64 KiB.
    pub response_keep_bytes: u32,
    /// `User-Agent` of deliveries.
    pub user_agent: String,
    /// Maximum mappings of a destination.
    pub mappings_per_destination: u32,
    /// How long a rotated shared secret keeps signing beside its successor, in hours.
    pub secret_overlap_hours: u32,
    /// Retention of settled deliveries and their events.
    pub retention: Duration,
    /// Retention of dead letters.
    pub dead_retention: Duration,
    /// The destination that alerts are delivered to; none: alerts are only logged and counted.
    pub alert_destination: Option<DestinationPath>,
    /// Dead letters of a destination within an hour that raise an alert; 0: never.
    pub alert_dead_letters_per_hour: u32,
    /// The OTLP/HTTP endpoint for traces, without `/v1/traces`; none: no export.
    pub otlp_endpoint: Option<String>,
    /// Whether the test receivers at `/inspect/NAME` are enabled.
    pub inspector: bool,
    /// Free disk space below which intake refuses events, in MiB.
    pub min_free_disk_mib: u64,
    /// How long shutdown waits for attempts in flight, in milliseconds.
    pub shutdown_grace_ms: u64,
    /// The log level or targets: `info`, `postrider=debug`, ….
    pub log: String,
    /// The log format.
    pub log_format: LogFormat,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Human-readable lines.
    Text,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Text, Self::Json];

    /// Its name in settings.
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
            trusted_hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            database: DatabaseAddress::File(PathBuf::from("postrider.db")),
            inbox: Vec::new(),
            token_file: PathBuf::from("postrider.db.token"),
            secret_key_file: PathBuf::from("postrider.db.key"),
            secret_key: None,
            node_name: "postrider".to_owned(),
            allow_networks: Vec::new(),
            delivery_ports: DeliveryPorts::default(),
            max_in_flight: 2_048,
            function_workers: cores().max(2),
            max_connections: 4_096,
            api_requests_per_minute: 6_000,
            header_timeout_ms: 10_000,
            body_timeout_ms: 30_000,
            oversized: OversizedEvents::RejectEvent,
            response_keep_bytes: 4_096,
            user_agent: concat!("Postrider/", env!("CARGO_PKG_VERSION")).to_owned(),
            mappings_per_destination: 50,
            secret_overlap_hours: 24,
            retention: 30 * DAY,
            dead_retention: 90 * DAY,
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

/// The number of cores available to this process.
fn cores() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(cores).unwrap_or(u32::MAX).min(256)
}

impl Settings {
    /// Timeout for a request's head.
    #[must_use]
    pub const fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.header_timeout_ms)
    }
}
