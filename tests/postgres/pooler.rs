//! PgBouncer, as docs/postgres.md says what works through it.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;

use super::serve;
use crate::support::postgres::{Database, execute, port};

/// A PgBouncer of its own; stopped when it is dropped.
struct PgBouncer {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl PgBouncer {
    async fn start(mode: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path();
        let listen =
            std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {listen}\n\
             auth_type = plain\nauth_file = {1}/users\npool_mode = {mode}\nunix_socket_dir =\n\
             ignore_startup_parameters = options,extra_float_digits\nlogfile = {1}/log\n",
            port(),
            path.display(),
        );
        std::fs::write(path.join("settings"), settings).unwrap();
        std::fs::write(path.join("users"), "\"postrider\" \"secret\"\n").unwrap();
        std::fs::write(path.join("log"), "").unwrap();
        for (file, mode) in [("", 0o777), ("settings", 0o666), ("users", 0o666), ("log", 0o666)] {
            std::fs::set_permissions(path.join(file), std::fs::Permissions::from_mode(mode))
                .unwrap();
        }
        // It refuses to run as root.
        let mut command = if rustix::process::getuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "pgbouncer"]);
            command
        } else {
            Command::new("pgbouncer")
        };
        let child = command.arg("-q").arg(path.join("settings")).stderr(Stdio::null()).spawn();
        let child = child.expect("PgBouncer; tests/postgres/install installs it");
        let bouncer = Self { child, port: listen, _folder: folder };
        let reached = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", listen)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), reached).await.expect("PgBouncer answers");
        bouncer
    }

    fn through(&self, database: &Database) -> String {
        database.url().replace(&format!(":{}/", port()), &format!(":{}/", self.port))
    }
}

#[tokio::test]
async fn pgbouncer_serves_applications_by_transaction_and_the_service_by_session() {
    let database = Database::new().await;
    let name = database.url();
    let name = name.rsplit('/').next().unwrap();
    // In the database of this test alone.
    let set = format!("ALTER ROLE postrider IN DATABASE {name} SET search_path = postrider");
    execute(&database.url(), &set).await.unwrap();
    let session = PgBouncer::start("session").await;
    let (app, _receiver) = serve(&session.through(&database)).await;
    app.track("m-1").await;
    let transaction = PgBouncer::start("transaction").await;
    let mut conn = PgConnection::connect(&transaction.through(&database)).await.unwrap();
    let enqueue = "BEGIN; SELECT postrider.enqueue('website',
        '{\"type\": \"track\", \"event\": \"E\", \"userId\": \"u\"}', 'm-2'); COMMIT";
    sqlx::raw_sql(enqueue).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    app.until_settled(2).await;
    app.app.stop().await;
}
