//! The service of a bench: the real `postrider serve` with a database, settings and a pipeline of
//! its own, in a folder that goes away with the bench.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::Process;
use crate::sender::OperatorClient;

const WRITE_KEY: &str = "bench-write-key";
/// How long the service may take to become ready.
const READY: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);
/// How long it may take to stop in order.
const STOP: Duration = Duration::from_secs(45);
/// What statfs(2) calls a file system that lives in memory.
const TMPFS: i64 = 0x0102_1994;

/// A running service.
pub(super) struct Service {
    process: Process,
    folder: TempDir,
    address: SocketAddr,
}

impl Service {
    /// Starts it with this pipeline in a new folder below `parent`.
    pub(super) async fn start(parent: &Path, pipeline: &Value) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("postrider-bench-").tempdir_in(parent)?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700))?;
        // Free now; were it taken before the service has it, the service would say so and the bench end.
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        fs::write(folder.path().join("postrider.toml"), settings(address))?;
        fs::write(folder.path().join("pipeline.json"), pipeline.to_string())?;
        let arguments = ["serve", "--config", "postrider.toml"].map(str::to_owned);
        let process = Process::start("service", &arguments, folder.path())?;
        let mut service = Self { process, folder, address };
        service.wait_ready().await?;
        service.apply().await?;
        Ok(service)
    }

    async fn wait_ready(&mut self) -> anyhow::Result<()> {
        let client = OperatorClient::new(&self.base(), None)?;
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

    async fn apply(&self) -> anyhow::Result<()> {
        let arguments = ["apply", "--config", "postrider.toml", "-f", "pipeline.json"];
        let program = std::env::current_exe()?;
        let applied = tokio::process::Command::new(program)
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true)
            .output();
        let applied = tokio::time::timeout(READY, applied).await.context("apply hung")??;
        let words = String::from_utf8_lossy(&applied.stderr);
        anyhow::ensure!(applied.status.success(), "apply failed: {}", words.trim());
        Ok(())
    }

    fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where events go.
    pub(super) fn intake(&self) -> String {
        format!("{}/v1/track", self.base())
    }

    /// What lets them in.
    pub(super) fn authorization() -> String {
        format!("Basic {}", STANDARD.encode(format!("{WRITE_KEY}:")))
    }

    /// The process, to be measured.
    pub(super) const fn process(&self) -> &Process {
        &self.process
    }

    /// What the database takes on disk, log included, in bytes.
    pub(super) fn disk_bytes(&self) -> anyhow::Result<u64> {
        let mut sum = 0;
        for entry in fs::read_dir(self.folder.path())? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("bench.db") {
                sum += entry.metadata()?.len();
            }
        }
        Ok(sum)
    }

    /// Whether the database is in memory, where a commit costs nothing.
    pub(super) fn is_in_memory(&self) -> bool {
        rustix::fs::statfs(self.folder.path()).is_ok_and(|system| system.f_type == TMPFS)
    }

    /// Stops it in order.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.process.terminate(STOP).await
    }
}

fn settings(address: SocketAddr) -> String {
    format!(
        "listen = \"{address}\"\ndatabase = \"sqlite://bench.db\"\nallow_networks = [\"127.0.0.0/8\"]\n\
         log = \"warn\"\n"
    )
}

/// One mapping to `receiver`. With a `batch_size` events share requests.
pub(super) fn pipeline(receiver: SocketAddr, in_flight: u32, batch_size: u32) -> Value {
    let mut mapping = json!({ "name": "everything", "url": format!("http://{receiver}/") });
    if batch_size > 0 {
        mapping["batching"] = json!({ "size": batch_size });
    }
    json!({ "sources": [{
        "name": "bench",
        "write_key": { "value": WRITE_KEY },
        "destinations": [{
            "name": "receiver",
            "shared_secret": { "value": "bench-shared-secret" },
            "max_in_flight": in_flight,
            "mappings": [mapping],
        }],
    }]})
}
