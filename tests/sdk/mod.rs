//! End to end with the real program: SDKs of Segment and of others that speak its API send every call type, and a
//! receiver in Node verifies the signatures as in the documentation of Segment's webhooks.

mod unreliable;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use postrider::sender::ApiClient;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const SECRET: &str = "clé secrète";
const WRITE_KEY: &str = "sdk-write-key";
/// Time limit: a hung process fails the test by name.
const LIMIT: Duration = Duration::from_secs(60);
const TYPES: [&str; 6] = ["alias", "group", "identify", "page", "screen", "track"];

fn sdk(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk").join(file)
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.unwrap_or_else(|_| panic!("{what}: took too long"))
}

/// The receiver in Node. It answers 503 first, so that each event is retried once.
struct Verifier {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    port: u64,
}

impl Verifier {
    async fn start(answers: &str) -> Self {
        let mut child = Command::new("node")
            .arg(sdk("verify.mjs"))
            .arg(answers)
            .env("SHARED_SECRET", SECRET)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node, as tests/sdk/install sets it up");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let opening = next_line(&mut lines).await;
        let port = opening["listening"].as_u64().expect("the verifier's port");
        Self { child, lines, port }
    }
}

async fn next_line(lines: &mut Lines<BufReader<ChildStdout>>) -> Value {
    let line = within("a line of the verifier", lines.next_line()).await.unwrap();
    serde_json::from_str(&line.expect("the verifier ended early")).unwrap()
}

/// The real program with a database of its own.
struct Program {
    service: Child,
    folder: TempDir,
    base: String,
}

impl Program {
    async fn start(receiver_port: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let settings = format!(
            "listen = \"{address}\"\ndatabase = \"sqlite://sdk.db\"\n\
             allow_networks = [\"127.0.0.0/8\"]\nmin_free_disk_mib = 1\nlog = \"warn\"\n"
        );
        std::fs::write(folder.path().join("postrider.toml"), settings).unwrap();
        let pipeline = json!({ "sources": [{
            "name": "website",
            "write_key": { "env": "SDK_WRITE_KEY" },
            "destinations": [{
                "name": "warehouse",
                "shared_secret": { "env": "SDK_SECRET" },
                "mappings": [{
                    "name": "everything",
                    "url": format!("http://127.0.0.1:{receiver_port}/hook"),
                }],
            }],
        }]});
        std::fs::write(folder.path().join("pipeline.json"), pipeline.to_string()).unwrap();
        let service = postrider(folder.path()).arg("serve").spawn().unwrap();
        let program = Self { service, folder, base: format!("http://{address}") };
        within("readiness", program.ready()).await;
        let applied = postrider(program.folder.path())
            .args(["apply", "-f", "pipeline.json"])
            .env("SDK_WRITE_KEY", WRITE_KEY)
            .env("SDK_SECRET", SECRET)
            .output();
        let applied = within("apply", applied).await.unwrap();
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
        program
    }

    async fn ready(&self) {
        let client = ApiClient::new(&self.base, None).unwrap();
        while !client.get("/readyz").await.is_ok_and(|(status, _)| status.is_success()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Runs a verb that has to succeed, and reads its JSON.
    async fn verb(&self, words: &[&str]) -> Value {
        let output = postrider(self.folder.path()).args(words).arg("--json").output();
        let output = within("a verb", output).await.unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Stops it with a signal.
    async fn stop(mut self) {
        let id = i32::try_from(self.service.id().unwrap()).unwrap();
        let process = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        let status = within("the end of the service", self.service.wait()).await.unwrap();
        assert!(status.success(), "the service ended with {status}");
    }
}

fn postrider(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
    command
        .args(["--config", "postrider.toml"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// An SDK: its script, and the words before its address.
#[derive(Clone, Copy)]
struct Sdk {
    script: &'static str,
    words: &'static [&'static str],
}

const NODE: Sdk = Sdk { script: "send.mjs", words: &[] };
const PYTHON: Sdk = Sdk { script: "send.py", words: &["segment-analytics-python"] };

/// Runs a sending script and gives the messageIds it sent, by type.
async fn send(by: Sdk, base: &str, prefix: &str) -> Vec<(String, String)> {
    let script = by.script;
    let is_python = script.ends_with(".py");
    let interpreter = if is_python { sdk(".venv/bin/python") } else { PathBuf::from("node") };
    let output = Command::new(interpreter)
        .arg(sdk(script))
        .args(by.words)
        .args([base, WRITE_KEY, prefix])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = within(script, output).await.expect("tests/sdk/install has been run");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {words}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["failed"], json!([]), "{script}: {words}");
    let text = |event: &Value, name: &str| event[name].as_str().unwrap().to_owned();
    let sent = report["sent"].as_array().unwrap().iter();
    sent.map(|event| (text(event, "messageId"), text(event, "type"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_sdks_deliver_every_call_type_once_with_signatures_that_verify() {
    let mut verifier = Verifier::start("503,200").await;
    let program = Program::start(verifier.port).await;
    let (by_node, by_python) =
        tokio::join!(send(NODE, &program.base, "node"), send(PYTHON, &program.base, "python"));
    let sent: BTreeMap<String, String> = by_node.into_iter().chain(by_python).collect();
    assert_eq!(sent.len(), 2 * TYPES.len());

    let delivered = verifier.delivered(sent.len()).await;
    let types: BTreeMap<String, String> = delivered
        .into_iter()
        .map(|(id, body)| (id, body["type"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(types, sent);
    program.verb(&["doctor"]).await;
    program.stop().await;
    let rest = within("the verifier's silence", verifier.rest()).await;
    assert_eq!(rest, Vec::<Value>::new(), "nothing arrives a second time");
}

impl Verifier {
    /// So many events, by messageId: each once, signed right.
    async fn delivered(&mut self, count: usize) -> BTreeMap<String, Value> {
        let (mut delivered, mut ids) = (BTreeMap::new(), BTreeMap::new());
        while delivered.len() < count {
            let arrival = next_line(&mut self.lines).await;
            Self::check(&arrival, &mut ids);
            if arrival["status"] == 200 {
                let message_id = arrival["messageId"].as_str().unwrap().to_owned();
                let before = delivered.insert(message_id, arrival["body"].clone());
                assert_eq!(before, None, "delivered twice: {arrival}");
            }
        }
        delivered
    }

    /// Checks a request's signatures, and that a retry keeps its id.
    fn check(arrival: &Value, ids: &mut BTreeMap<String, String>) {
        assert_eq!(arrival["verified"], true, "X-Signature: {arrival}");
        assert_eq!(arrival["standardVerified"], true, "webhook-signature: {arrival}");
        assert_eq!(arrival["exact"], true, "the bytes are what JSON.stringify gives: {arrival}");
        let message_id = arrival["messageId"].as_str().unwrap().to_owned();
        let webhook_id = arrival["webhookId"].as_str().unwrap().to_owned();
        let known = ids.entry(message_id.clone()).or_insert_with(|| webhook_id.clone());
        assert_eq!(*known, webhook_id, "a retry keeps its id: {arrival}");
    }

    /// The rest of its output, after its input is closed.
    async fn rest(mut self) -> Vec<Value> {
        drop(self.child.stdin.take());
        let mut rest = Vec::new();
        while let Some(line) = self.lines.next_line().await.unwrap() {
            rest.push(serde_json::from_str(&line).unwrap());
        }
        rest
    }
}
