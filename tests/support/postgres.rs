//! A real PostgreSQL server for the tests of a run, with a database for each test. The first test that needs it
//! starts it; it ends with the run. `tests/postgres/install` installs it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use postrider::domain::clock::ManualClock;
use postrider::store::Engine as _;
use postrider::store::postgres::PostgresStore;
use postrider::telemetry::metrics::Metrics;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// A database of its own; dropped with this.
pub(crate) struct Database {
    name: String,
}

impl Database {
    /// An empty database.
    pub(crate) async fn new() -> Self {
        Self::from_template("template1").await
    }

    /// A database with the schema: a copy of the one that the run's first such test made.
    pub(crate) async fn migrated() -> Self {
        const TEMPLATE: &str = "migrated";
        // The server is started under the same lock.
        port();
        let lock = lock(&folder()).expect("the lock");
        let found =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)");
        let mut conn = PgConnection::connect(&url("postgres")).await.expect("the server");
        let exists: bool = found.bind(TEMPLATE).fetch_one(&mut conn).await.expect("databases");
        conn.close().await.expect("closed");
        if !exists {
            let made = Self::from_template("template1").await;
            migrate(&made.url()).await;
            let sql = format!("ALTER DATABASE {} RENAME TO {TEMPLATE}", made.name);
            execute(&url("postgres"), &sql).await.expect("renamed");
            std::mem::forget(made);
        }
        drop(lock);
        Self::from_template(TEMPLATE).await
    }

    async fn from_template(template: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("t{}_{number}", std::process::id());
        let sql = format!("CREATE DATABASE {name} TEMPLATE {template}");
        execute(&url("postgres"), &sql).await.expect("a database");
        Self { name }
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        url(&self.name)
    }

    /// The text that a query gives.
    pub(crate) async fn text(&self, sql: &str) -> Option<String> {
        text(&self.url(), sql).await
    }

    /// Runs statements in it, behind the store's back.
    pub(crate) async fn execute(&self, sql: &str) -> Result<(), sqlx::Error> {
        execute(&self.url(), sql).await
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let sql = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        // A test's runtime may be ending.
        let drop = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(execute(&url("postgres"), &sql)).map_err(std::io::Error::other)
        });
        if !matches!(drop.join(), Ok(Ok(()))) && !std::thread::panicking() {
            panic!("the database {} could not be dropped", self.name);
        }
    }
}

/// The text that a query gives.
pub(crate) async fn text(url: &str, sql: &str) -> Option<String> {
    let mut conn = PgConnection::connect(url).await.expect("the server");
    let found = sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut conn).await;
    conn.close().await.expect("closed");
    found.expect("a row")
}

/// Runs statements as an administrator.
pub(crate) async fn execute(url: &str, sql: &str) -> Result<(), sqlx::Error> {
    let mut conn = PgConnection::connect(url).await?;
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut conn).await;
    conn.close().await?;
    done.map(|_| ())
}

/// The address of a database of the run's server.
pub(crate) fn url(database: &str) -> String {
    format!("postgres://postrider:secret@127.0.0.1:{}/{database}", port())
}

/// The server's port.
pub(crate) fn port() -> u16 {
    static PORT: OnceLock<u16> = OnceLock::new();
    *PORT.get_or_init(|| join().expect("PostgreSQL; tests/postgres/install installs it"))
}

/// Brings the schema of a database up to date.
async fn migrate(url: &str) {
    let clock = Arc::new(ManualClock::new(crate::store::START));
    let options =
        postrider::store::postgres::OpenOptions::new(url, Arc::new(Metrics::new()), clock);
    let store = PostgresStore::open(options).await.expect("a store");
    store.close().await;
}

/// The run, and the process that it ends with.
fn run_and_owner() -> (String, u32) {
    match std::env::var("NEXTEST_RUN_ID") {
        Ok(id) => (id, std::os::unix::process::parent_id()),
        Err(_none) => (std::process::id().to_string(), std::process::id()),
    }
}

/// The run's folder.
fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("postrider-postgres-{}", run_and_owner().0))
}

/// Waits for the other tests of the run.
fn lock(folder: &Path) -> std::io::Result<File> {
    let lock =
        OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("lock"))?;
    lock.lock()?;
    Ok(lock)
}

/// Joins the run's server, or starts it.
fn join() -> std::io::Result<u16> {
    let (folder, (_, owner)) = (folder(), run_and_owner());
    std::fs::create_dir_all(&folder)?;
    let _lock = lock(&folder)?;
    let ready = folder.join("port");
    if !ready.exists() {
        let port = start(&folder, owner)?;
        std::fs::write(&ready, port.to_string())?;
    }
    let port = std::fs::read_to_string(&ready)?;
    port.trim().parse().map_err(std::io::Error::other)
}

/// Where the server's programs are: the oldest of this machine.
fn programs() -> std::io::Result<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = Vec::new();
    if let Ok(found) = std::fs::read_dir("/usr/lib/postgresql") {
        for entry in found.flatten() {
            let version = entry.file_name().to_string_lossy().parse().unwrap_or(u32::MAX);
            versions.push((version, entry.path().join("bin")));
        }
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    versions.extend(std::env::split_paths(&path).map(|folder| (u32::MAX, folder)));
    versions.sort();
    let mut folders = versions.into_iter().map(|(_, folder)| folder);
    let missing = || std::io::Error::other("no initdb on this machine");
    folders.find(|folder| folder.join("initdb").exists()).ok_or_else(missing)
}

/// A program of the server's. It refuses to run as root: Debian's package brings a user for it.
pub(super) fn program(name: &str) -> std::io::Result<Command> {
    let path = programs()?.join(name);
    if !rustix::process::getuid().is_root() {
        return Ok(Command::new(path));
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(path);
    Ok(command)
}

pub(super) fn run(command: &mut Command, log: &Path) -> std::io::Result<()> {
    let log = File::options().append(true).create(true).open(log)?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(std::io::Error::other(format!("{command:?}"))) }
}

fn start(folder: &Path, owner: u32) -> std::io::Result<u16> {
    let (log, data) = (folder.join("log"), folder.join("data"));
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777))?;
    File::options().append(true).create(true).open(&log)?;
    std::fs::set_permissions(&log, std::fs::Permissions::from_mode(0o666))?;
    let password = folder.join("password");
    std::fs::write(&password, "secret\n")?;
    let mut initdb = program("initdb")?;
    initdb.args(["--username=postrider", "--encoding=UTF8", "--locale=C", "--auth=password"]);
    run(initdb.arg("--no-sync").arg("--pwfile").arg(&password).arg("-D").arg(&data), &log)?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    // Tests of durability start servers of their own: this one's disk is not asked for it.
    let options = format!(
        "-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories='' -c fsync=off \
         -c full_page_writes=off -c synchronous_commit=off -c max_connections=300 \
         -c shared_buffers=64MB -c max_locks_per_transaction=256"
    );
    let mut start = program("pg_ctl")?;
    run(start.arg("start").arg("-w").arg("-D").arg(&data).arg("-o").arg(options), &log)?;
    end_with(owner, folder, &data)?;
    Ok(port)
}

/// Stops the server and removes its files once the process `owner` has ended.
fn end_with(owner: u32, folder: &Path, data: &Path) -> std::io::Result<()> {
    let mut stop = program("pg_ctl")?;
    stop.args(["stop", "-m", "immediate", "-D"]).arg(data);
    let words: Vec<String> = std::iter::once(stop.get_program())
        .chain(stop.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let script = format!(
        "while kill -0 {owner} 2>/dev/null; do sleep 1; done; {} ; rm -rf '{}'",
        words.join(" "),
        folder.display()
    );
    Command::new("setsid")
        .args(["sh", "-c", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(())
}
