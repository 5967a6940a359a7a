//! The bench's service: `postrider serve` with its own database, settings and pipeline in a temporary
//! folder.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::Process;
use crate::sender::ApiClient;

/// The address of SQLite's file in a service's folder.
pub(super) const FILE: &str = "sqlite://bench.db";
pub(super) const WRITE_KEY: &str = "bench-write-key";
/// Time limit for the service to become ready.
const READY: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(5);
/// Mappings of a destination.
const SHARED_BY: u32 = 50;
/// Time limit for shutdown.
const STOP: Duration = Duration::from_secs(45);

/// A service that was stopped, or has not been started yet.
pub(super) struct Halted {
    folder: Arc<TempDir>,
    /// Its settings, in the folder.
    settings: String,
    database: String,
    address: SocketAddr,
}

/// The intake endpoint that the load uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Through {
    Single,
    Batch,
}

/// A destination of a bench: its mappings, each by the receiver's path.
#[derive(Clone, Debug)]
pub(super) struct Destination {
    pub(super) name: String,
    pub(super) paths: Vec<String>,
}

/// A running service.
pub(super) struct Service {
    process: Process,
    halted: Halted,
}

impl Service {
    /// Starts it with this database and pipeline in a new folder below `parent`.
    pub(super) async fn start(
        parent: &Path,
        database: String,
        pipeline: &Value,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("postrider-bench-").tempdir_in(parent)?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700))?;
        let settings = "postrider.toml".to_owned();
        let service = Halted::new(Arc::new(folder), settings, database)?.start().await?;
        service.apply(pipeline).await?;
        Ok(service)
    }

    /// Starts another node on its database.
    pub(super) async fn join(&self, number: u32) -> anyhow::Result<Self> {
        let Halted { folder, database, .. } = &self.halted;
        let settings = format!("node-{number}.toml");
        Halted::new(Arc::clone(folder), settings, database.clone())?.start().await
    }

    /// The address of its database.
    pub(super) fn database(&self) -> &str {
        &self.halted.database
    }

    /// Shuts it down; it can be started again with its database.
    pub(super) async fn halt(self) -> anyhow::Result<Halted> {
        self.process.terminate(STOP).await?;
        Ok(self.halted)
    }

    /// Kills it; it can be started again with its database.
    pub(super) async fn kill(self) -> anyhow::Result<Halted> {
        self.process.kill().await?;
        Ok(self.halted)
    }

    async fn wait_ready(&mut self) -> anyhow::Result<()> {
        let client = ApiClient::new(&self.base(), None)?;
        let asked = async {
            loop {
                let answer = client.get("/readyz").await;
                if matches!(answer, Ok((StatusCode::OK, _))) {
                    return Ok(());
                }
                anyhow::ensure!(!self.process.has_ended(), "the service ended at once");
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(READY, asked).await.context("the service did not become ready")?
    }

    /// Applies this pipeline and removes everything else.
    pub(super) async fn apply(&self, pipeline: &Value) -> anyhow::Result<()> {
        fs::write(self.halted.folder.path().join("pipeline.json"), pipeline.to_string())?;
        let arguments = ["apply", "--config", "postrider.toml", "-f", "pipeline.json", "--prune"];
        let program = std::env::current_exe()?;
        let applied = tokio::process::Command::new(program)
            .args(arguments)
            .current_dir(self.halted.folder.path())
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true)
            .output();
        let applied = tokio::time::timeout(READY, applied).await.context("apply hung")??;
        let words = String::from_utf8_lossy(&applied.stderr);
        anyhow::ensure!(applied.status.success(), "apply failed: {}", words.trim());
        Ok(())
    }

    /// A client of its API, with the operator's token.
    pub(super) fn client(&self) -> anyhow::Result<ApiClient> {
        let token = fs::read_to_string(self.halted.folder.path().join("bench.token"))?;
        Ok(ApiClient::new(&self.base(), Some(SecretString::from(token.trim().to_owned())))?)
    }

    fn base(&self) -> String {
        format!("http://{}", self.halted.address)
    }

    /// The URL of the intake endpoint.
    pub(super) fn intake(&self, through: Through) -> String {
        let path = match through {
            Through::Single => "/v1/track",
            Through::Batch => "/v1/batch",
        };
        format!("{}{path}", self.base())
    }

    /// The load's `Authorization` header.
    pub(super) fn authorization(write_key: &str) -> String {
        format!("Basic {}", STANDARD.encode(format!("{write_key}:")))
    }

    /// The value of a metric without labels.
    pub(super) async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let client = ApiClient::new(&self.base(), None)?;
        let answer = client.request(Method::GET, "/metrics", HeaderMap::new(), Bytes::new());
        let text = String::from_utf8_lossy(&answer.await?.body).into_owned();
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.context("no such metric")?.parse().context("the metric is no number")
    }

    /// The process, to be measured.
    pub(super) const fn process(&self) -> &Process {
        &self.process
    }

    /// The database's size on disk, WAL included, in bytes.
    pub(super) fn disk_bytes(&self) -> anyhow::Result<u64> {
        disk_bytes(self.halted.folder.path(), "bench.db")
    }

    /// The WAL's size, in bytes.
    pub(super) fn log_bytes(&self) -> anyhow::Result<u64> {
        disk_bytes(self.halted.folder.path(), "bench.db-wal")
    }

    /// Shuts it down. The database's size on disk then, in bytes.
    pub(super) async fn stop(self) -> anyhow::Result<u64> {
        let halted = self.halt().await?;
        disk_bytes(halted.folder.path(), "bench.db")
    }
}

impl Halted {
    /// Writes its settings, with a port that is free now; if it is taken before the service binds it, the service
    /// reports an error and the bench ends.
    fn new(folder: Arc<TempDir>, settings: String, database: String) -> anyhow::Result<Self> {
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        fs::write(folder.path().join(&settings), text(address, &database))?;
        Ok(Self { folder, settings, database, address })
    }

    /// Starts it; it is ready.
    pub(super) async fn start(self) -> anyhow::Result<Service> {
        let arguments = ["serve", "--config", &self.settings].map(str::to_owned);
        let process = Process::start("service", &arguments, self.folder.path())?;
        let mut service = Service { process, halted: self };
        service.wait_ready().await?;
        Ok(service)
    }
}

fn disk_bytes(folder: &Path, beginning: &str) -> anyhow::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(beginning) {
            sum += entry.metadata()?.len();
        }
    }
    Ok(sum)
}

fn text(address: SocketAddr, database: &str) -> String {
    format!(
        "listen = \"{address}\"\ndatabase = \"{database}\"\nallow_networks = [\"127.0.0.0/8\"]\n\
         token_file = \"bench.token\"\nsecret_key_file = \"bench.key\"\nlog = \"warn\"\n"
    )
}

/// The pipeline with one destination that has these many mappings, each with its own path.
pub(super) fn destination(mappings: u32) -> Destination {
    let paths = (0..mappings).map(|number| format!("/{number}")).collect();
    Destination { name: "receiver".to_owned(), paths }
}

/// Destinations that have these many mappings together, each with its own path.
pub(super) fn destinations(mappings: u32) -> Vec<Destination> {
    let numbers = 0..mappings.div_ceil(SHARED_BY);
    let destination = |number| {
        let last = mappings.min((number + 1) * SHARED_BY);
        let paths = (number * SHARED_BY..last).map(|path| format!("/{path}")).collect();
        Destination { name: format!("receiver-{number}"), paths }
    };
    numbers.map(destination).collect()
}

/// Destinations at `receiver`, all for every event. With a `batch_size` deliveries share requests.
pub(super) fn pipeline(
    receiver: SocketAddr,
    destinations: &[Destination],
    (in_flight, batch_size): (u32, u32),
) -> Value {
    let mapping = |path: &String| {
        let name = format!("to{}", path.replace('/', "-"));
        let mut mapping = json!({ "name": name, "url": format!("http://{receiver}{path}") });
        if batch_size > 0 {
            mapping["batching"] = json!({ "size": batch_size });
        }
        mapping
    };
    let destinations = destinations.iter().map(|destination| {
        json!({
            "name": destination.name,
            "shared_secret": { "value": "bench-shared-secret" },
            "max_in_flight": in_flight,
            "mappings": destination.paths.iter().map(mapping).collect::<Vec<_>>(),
        })
    });
    json!({ "sources": [{
        "name": "bench",
        "write_key": { "value": WRITE_KEY },
        "destinations": destinations.collect::<Vec<_>>(),
    }]})
}
