//! The PostgreSQL server of a bench with `--database`: a database for each service, dropped at the end, and the CPU, WAL
//! and disk space that the server takes. It has to run on this machine, since its CPU is part of the figures.

use std::fs;

use anyhow::Context as _;
use tokio::sync::Mutex;
use url::Url;

use super::measurement::{quotient, to_f64};
use super::process::{children_cpu_us, parent_of};
use super::report::{Goal, ScenarioReport, Unit};

use crate::store::postgres::ServerProbe;

/// WAL and disk space of an event of 1 KB.
const WAL_BYTES: f64 = 3_072.0;
const DISK_BYTES: f64 = 2_560.0;

/// A server.
pub(super) struct Server {
    url: Url,
    /// Its main process.
    process_id: u32,
    pub(super) version: String,
    probe: Mutex<ServerProbe>,
    made: Mutex<Vec<String>>,
}

/// What a server has used so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    wal_bytes: u64,
    disk_bytes: u64,
}

impl Server {
    /// Connects to the server of this address; its database is used to make others.
    pub(super) async fn connect(url: &Url) -> anyhow::Result<Self> {
        let mut probe = ServerProbe::connect(url.as_str()).await?;
        let info = probe.info().await?;
        let local = parent_of(&info.process_id.to_string()).filter(|_| is_server(info.process_id));
        let process_id = local.context(
            "the database's server is not on this machine: its CPU is part of the figures",
        )?;
        let (probe, made) = (Mutex::new(probe), Mutex::new(Vec::new()));
        Ok(Self { url: url.clone(), process_id, version: info.version, probe, made })
    }

    /// Makes a database; returns its address.
    pub(super) async fn database(&self) -> anyhow::Result<Url> {
        let mut made = self.made.lock().await;
        let name = format!("postrider_bench_{}_{}", std::process::id(), made.len());
        self.probe.lock().await.create_database(&name).await?;
        let mut url = self.url.clone();
        url.set_path(&name);
        made.push(name);
        Ok(url)
    }

    /// Drops the databases that were made.
    pub(super) async fn drop_all(&self) -> anyhow::Result<()> {
        let mut probe = self.probe.lock().await;
        for name in self.made.lock().await.drain(..) {
            probe.drop_database(&name).await?;
        }
        Ok(())
    }

    /// CPU time of all its processes, ended ones included.
    pub(super) fn cpu_us(&self) -> anyhow::Result<u64> {
        children_cpu_us(self.process_id)
    }

    /// What a database has used, and the whole server's WAL.
    pub(super) async fn usage(&self, database: &str) -> anyhow::Result<Usage> {
        let wal_bytes = self.probe.lock().await.wal_bytes().await?;
        let disk_bytes = ServerProbe::connect(database).await?.database_bytes().await?;
        Ok(Usage { wal_bytes, disk_bytes })
    }
}

impl Usage {
    /// WAL and disk space of each of the events since `before`.
    pub(super) fn report(self, before: Self, events: u64, found: &mut ScenarioReport) {
        let each = |now: u64, then: u64| quotient(to_f64(now.saturating_sub(then)), to_f64(events));
        let wal = each(self.wal_bytes, before.wal_bytes);
        found.with_goal("WAL an event", Unit::Bytes, wal, Goal::AtMost(WAL_BYTES));
        let disk = each(self.disk_bytes, before.disk_bytes);
        found.with_goal("disk an event", Unit::Bytes, disk, Goal::AtMost(DISK_BYTES));
    }
}

fn is_server(process_id: i32) -> bool {
    let name = fs::read_to_string(format!("/proc/{process_id}/comm")).unwrap_or_default();
    name.trim().starts_with("postgres")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_another_program_is_no_server() {
        let own = i32::try_from(std::process::id()).expect("an id");
        assert!(!is_server(own));
        assert!(!is_server(-1));
    }
}
