//! Runs `postrider serve` and other verbs as processes.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use postrider::sender::ApiClient;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::support::app::pipeline;

/// A longer wait fails the test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The polling interval for processes without a signal.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The binary under test, without settings from the environment.
pub(crate) fn postrider() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
    for (name, _) in std::env::vars() {
        if name.starts_with("POSTRIDER_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// A service process and its directory.
pub(crate) struct Service {
    dir: PathBuf,
    listen: String,
    env: Vec<(&'static str, PathBuf)>,
    open_files: Option<u32>,
    child: Option<Child>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Service {
    /// Writes settings to `dir`; the process is not started yet.
    pub(crate) fn in_dir(dir: &Path, more_settings: &str) -> Self {
        // A port that was free a moment ago; the service binds it at every start.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let listen = free.to_string();
        let service =
            Self { dir: dir.to_owned(), listen, env: Vec::new(), open_files: None, child: None };
        service.write_settings(more_settings);
        service
    }

    pub(crate) fn write_settings(&self, more: &str) {
        let database = self.dir.join("postrider.db");
        let text = format!(
            "listen = \"{}\"\ndatabase = \"sqlite://{}\"\nallow_networks = [\"127.0.0.0/8\"]\n{more}\n",
            self.listen,
            database.display()
        );
        std::fs::write(self.config(), text).unwrap();
    }

    /// Sets an environment variable of processes started from now on.
    pub(crate) fn set_env(&mut self, name: &'static str, value: impl Into<PathBuf>) {
        self.env.push((name, value.into()));
    }

    /// Limits the open files, soft and hard, of processes started from now on.
    pub(crate) fn limit_open_files(&mut self, limit: u32) {
        self.open_files = Some(limit);
    }

    /// The command that serves.
    fn serving(&self) -> Command {
        let Some(limit) = self.open_files else { return postrider() };
        let program = postrider();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "ulimit -n \"$0\" && exec \"$@\""]).arg(limit.to_string());
        command.arg(program.get_program()).stdin(Stdio::null());
        for (name, _) in program.get_envs() {
            command.env_remove(name);
        }
        command
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir.join("postrider.toml")
    }

    /// Starts the process and waits until it answers.
    pub(crate) async fn start(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("serve.log"))
            .unwrap();
        let child = self
            .serving()
            .arg("--config")
            .arg(self.config())
            .arg("serve")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        self.until("the service answers", async |service| {
            let exited = service.child.as_mut().unwrap().try_wait().unwrap();
            assert!(exited.is_none(), "serve ended: {exited:?}\n{}", service.log());
            service.get("/healthz").await == Some(StatusCode::OK)
        })
        .await;
    }

    /// Polls until the condition holds.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        mut is_so: impl AsyncFnMut(&mut Self) -> bool,
    ) {
        let waiting = async {
            while !is_so(self).await {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, Box::pin(waiting)).await;
        assert!(waited.is_ok(), "timed out waiting until {what}:\n{}", self.log());
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("serve.log")).unwrap_or_default()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// The running process.
    pub(crate) fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(self.child.as_ref().unwrap())
    }

    /// Waits until the process exits.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap()
    }

    /// SIGTERM; whether the process exits with success.
    pub(crate) async fn terminate(&mut self) -> bool {
        let mut child = self.child.take().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        tokio::task::spawn_blocking(move || child.wait().unwrap().success()).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Option<StatusCode> {
        let client = ApiClient::new(&format!("http://{}", self.listen), None).unwrap();
        client.get(path).await.ok().map(|(status, _)| status)
    }

    /// The operator's token.
    pub(crate) fn token(&self) -> String {
        let token = std::fs::read_to_string(self.dir.join("postrider.db.token")).unwrap();
        token.trim().to_owned()
    }

    /// A client with the operator's token.
    pub(crate) fn client(&self) -> ApiClient {
        let token = SecretString::from(self.token());
        ApiClient::new(&format!("http://{}", self.listen), Some(token)).unwrap()
    }

    pub(crate) async fn apply(&self, destinations: &[(&str, &str, Value)]) {
        let request = json!({"document": pipeline(destinations)});
        let (status, answer) = self.client().post("/api/v1/pipeline", &request).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{answer}");
    }

    /// The service's status.
    pub(crate) async fn status(&self) -> Value {
        self.client().get("/api/v1/status").await.unwrap().1
    }

    /// Its base URL.
    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// Runs another verb with the same settings.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.verb(arguments).output().unwrap()
    }

    /// The command of another verb with the same settings.
    pub(crate) fn verb(&self, arguments: &[&str]) -> Command {
        let mut command = postrider();
        command.arg("--config").arg(self.config()).args(arguments);
        command
    }

    /// A client of the tracking API with its own connection.
    pub(crate) fn source(&self) -> Source {
        Source(ApiClient::new(&format!("http://{}", self.listen), None).unwrap())
    }
}

/// Sends events with the write key.
pub(crate) struct Source(ApiClient);

impl Source {
    /// Sends an event with this messageId; the response's status, or none without a response.
    pub(crate) async fn track(&self, message_id: &str) -> Option<StatusCode> {
        self.track_padded(message_id, 0).await
    }

    /// The same with a padding of this many bytes.
    pub(crate) async fn track_padded(&self, message_id: &str, bytes: usize) -> Option<StatusCode> {
        let event = json!({
            "event": "Load",
            "userId": "u1",
            "messageId": message_id,
            "properties": {"padding": "x".repeat(bytes)},
        });
        self.post("/v1/track", &event).await
    }

    /// Tracks an event without a name, which is rejected.
    pub(crate) async fn track_unnamed(&self, message_id: &str) -> Option<StatusCode> {
        self.post("/v1/track", &json!({"userId": "u1", "messageId": message_id})).await
    }

    /// Sends a batch of events with these messageIds.
    pub(crate) async fn track_batch(&self, message_ids: &[String]) -> Option<StatusCode> {
        let event = |id: &String| json!({"type": "track", "event": "Load", "userId": "u1", "messageId": id});
        let batch: Vec<_> = message_ids.iter().map(event).collect();
        self.post("/v1/batch", &json!({"batch": batch})).await
    }

    async fn post(&self, path: &str, body: &serde_json::Value) -> Option<StatusCode> {
        let headers = HeaderMap::from_iter([
            (header::AUTHORIZATION, HeaderValue::from_static("Basic dGhlLXdyaXRlLWtleTo=")),
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        ]);
        let body = Bytes::from(body.to_string());
        self.0.post_bytes(path, headers, body).await.ok().map(|answer| answer.status)
    }
}
