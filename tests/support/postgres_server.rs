//! PostgreSQL servers of a test's own, which it crashes, starts again and promotes.

use std::fs::{File, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::postgres::{execute, program, run, text};

/// A server; it stops with the test.
pub(crate) struct Server {
    data: PathBuf,
    log: PathBuf,
    port: u16,
    dir: TempDir,
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Server {
    fn in_folder() -> Self {
        let dir = TempDir::new().unwrap();
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        let (data, log) = (dir.path().join("data"), dir.path().join("log"));
        File::options().append(true).create(true).open(&log).unwrap();
        std::fs::set_permissions(&log, Permissions::from_mode(0o666)).unwrap();
        Self { data, log, port: free_port(), dir }
    }

    /// Makes and starts an empty server.
    pub(crate) fn new() -> Self {
        let server = Self::in_folder();
        let password = server.dir.path().join("password");
        std::fs::write(&password, "secret\n").unwrap();
        let mut initdb = program("initdb").unwrap();
        initdb.args(["--username=postrider", "--encoding=UTF8", "--locale=C", "--auth=password"]);
        initdb.arg("--no-sync").arg("--pwfile").arg(&password).arg("-D").arg(&server.data);
        run(&mut initdb, &server.log).unwrap();
        server.start();
        server
    }

    /// A standby of this server, which it streams from.
    pub(crate) fn standby(&self) -> Self {
        let standby = Self::in_folder();
        let mut copy = program("pg_basebackup").unwrap();
        copy.arg("-D").arg(&standby.data).args(["-R", "-X", "stream", "-c", "fast", "--no-sync"]);
        copy.arg("-d").arg(format!(
            "host=127.0.0.1 port={} user=postrider password=secret application_name=standby",
            self.port
        ));
        run(&mut copy, &standby.log).unwrap();
        standby.start();
        standby
    }

    /// Starts it, also after a crash. The machine does not crash in a test: its disk is not asked for fsync.
    pub(crate) fn start(&self) {
        let options = format!(
            "-c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories='' -c fsync=off \
             -c synchronous_commit=on -c max_connections=100 -c shared_buffers=32MB",
            self.port
        );
        self.control(&["start", "-w", "-o", &options]);
    }

    /// Ends it as a crash does.
    pub(crate) fn crash(&self) {
        self.control(&["stop", "-m", "immediate"]);
    }

    /// Makes a primary of a standby.
    pub(crate) fn promote(&self) {
        self.control(&["promote", "-w"]);
    }

    /// Commits wait for a standby from now on.
    pub(crate) async fn commit_on_standbys(&self) {
        for sql in ["ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"] {
            execute(&self.url("postgres"), sql).await.unwrap();
        }
    }

    /// Speaks TLS with this certificate and key, both PEM, from now on.
    pub(crate) async fn speak_tls(&self, certificate: &str, key: &str) {
        // It reads a key only if that is its user's.
        let owner = std::fs::metadata(&self.data).unwrap();
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = self.data.join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
        }
        let url = self.url("postgres");
        for sql in ["ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()"] {
            execute(&url, sql).await.unwrap();
        }
        let on = async { while text(&url, "SHOW ssl").await.as_deref() != Some("on") {} };
        tokio::time::timeout(std::time::Duration::from_secs(30), on).await.expect("TLS");
    }

    fn control(&self, arguments: &[&str]) {
        let mut control = program("pg_ctl").unwrap();
        control.arg("-D").arg(&self.data).args(arguments);
        let done = run(&mut control, &self.log);
        assert!(done.is_ok(), "{}", self.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The address of a database.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postrider:secret@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        stop(&self.data, &self.log);
    }
}

fn stop(data: &Path, log: &Path) {
    if let Ok(mut control) = program("pg_ctl") {
        control.args(["stop", "-m", "immediate", "-D"]).arg(data);
        // It may be down already.
        let _ = run(&mut control, log);
    }
}
