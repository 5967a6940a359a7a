//! The real binary: exit codes, one-line errors with hints, plain output when piped.

use std::process::{Command, Output, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::support::app::{Builder, TestApp, WRITE_KEY};
use crate::support::receiver::{Behaviour, Receiver, in_turn};

fn command(folder: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
    command.current_dir(folder.path()).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("POSTRIDER_") {
            command.env_remove(name);
        }
    }
    command
}

pub(crate) fn run(folder: &TempDir, arguments: &[&str]) -> (i32, String, String) {
    told(&command(folder).args(arguments).output().unwrap())
}

/// The same with variables.
pub(crate) fn run_with(
    folder: &TempDir,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> (i32, String, String) {
    told(&command(folder).args(arguments).envs(variables.iter().copied()).output().unwrap())
}

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// The binary against a service in this process.
pub(crate) async fn ask(app: &TestApp, arguments: &[&str]) -> (i32, String, String) {
    ask_with(app, arguments, &[]).await
}

/// The same with more variables.
pub(crate) async fn ask_with(
    app: &TestApp,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> (i32, String, String) {
    let mut command = command(&app.dir);
    command
        .args(arguments)
        .envs(variables.iter().copied())
        .env("POSTRIDER_URL", format!("http://{}", app.app.address))
        .env("POSTRIDER_TOKEN_FILE", app.dir.path().join("postrider.token"));
    tokio::task::spawn_blocking(move || told(&command.output().unwrap())).await.unwrap()
}

#[test]
fn usage_errors_exit_with_code_2() {
    let folder = TempDir::new().unwrap();
    for arguments in [&["deliverys"][..], &["deliveries", "--limt", "3"], &[], &["redrive"]] {
        let (code, stdout, stderr) = run(&folder, arguments);
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}: {stderr}");
        assert!(!stderr.is_empty());
    }
}

#[test]
fn settings_are_printed_with_their_origins() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("postrider.toml"), "retention = '3d'\n").unwrap();
    let (code, stdout, _) = run(&folder, &["serve", "--print-config", "--log", "warn"]);
    assert_eq!(code, 0);
    let origin = |name: &str| {
        let line = stdout.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_once("  # ").unwrap().1.trim().to_owned()
    };
    assert_eq!(origin("retention"), "postrider.toml:1");
    assert_eq!(origin("log ="), "--log");
    assert_eq!(origin("listen"), "default");
}

#[test]
fn invalid_settings_prevent_the_start() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("postrider.toml"), "listn = 'x'\n").unwrap();
    let (code, _, stderr) = run(&folder, &["serve"]);
    assert_eq!(code, 2);
    assert!(
        stderr.starts_with(
            "error: postrider.toml:1: there is no setting listn; did you mean listen?\nhint: "
        ),
        "{stderr}"
    );
    assert!(!folder.path().join("postrider.db").exists());
}

#[test]
fn an_unreachable_service_is_exit_code_4() {
    let folder = TempDir::new().unwrap();
    let (code, _, stderr) = run(&folder, &["deliveries"]);
    assert_eq!(code, 4);
    assert!(stderr.contains("there is no token file postrider.db.token"), "{stderr}");
    let output = command(&folder)
        .args(["status", "--url", "http://127.0.0.1:1"])
        .env("POSTRIDER_TOKEN", "x")
        .output()
        .unwrap();
    let (code, _, stderr) = told(&output);
    assert_eq!(code, 4);
    assert!(stderr.contains("hint: start it with: postrider serve"), "{stderr}");
}

#[tokio::test]
async fn apply_waits_while_the_service_works_on_it() {
    let under_way = json!({"type": "about:blank", "title": "Conflict", "status": 409,
        "code": "idempotency_under_way", "detail": "in progress", "faults": []});
    let applied = json!({"version": 7, "changed": true, "dry_run": false, "lines": []});
    let busy = || Behaviour::status(409).body(under_way.to_string());
    let done = Behaviour::ok().body(applied.to_string());
    let service = Receiver::start(in_turn(vec![Behaviour::close(), busy(), busy(), done])).await;
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("p.json"), r#"{"sources": []}"#).unwrap();
    let mut command = command(&folder);
    command.args(["apply", "-f", "p.json"]).env("POSTRIDER_TOKEN", "x");
    command.env("POSTRIDER_URL", service.url(""));
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let (code, stdout, stderr) = told(&output);
    assert_eq!((code, stdout.as_str()), (0, "applied: pipeline version 7\n"), "{stderr}");
    let requests = service.requests();
    assert_eq!(requests.len(), 4);
    let key = requests[0].header("idempotency-key").unwrap();
    assert!(requests.iter().all(|it| it.header("idempotency-key") == Some(key)));
}

#[test]
fn completions_are_printed_for_every_shell() {
    let folder = TempDir::new().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, stdout, _) = run(&folder, &["completions", shell]);
        assert_eq!(code, 0);
        assert!(stdout.contains("redrive"), "{shell}");
    }
}

#[test]
fn errors_in_a_pipeline_file_have_line_and_column() {
    let folder = TempDir::new().unwrap();
    for (text, cause) in [
        ("sources:\n  - nam: x\n", "p.yaml:2:5: there is no field nam; did you mean name?"),
        ("sources: 5\n", "p.yaml:1:10: a list is expected here"),
        ("sources:\n  - name: a\n   x: y\n", "p.yaml:3:4: "),
        (
            "sources:\n  - name: a\n    write_key: {evn: X}\n",
            "p.yaml:3:17: evn should be one of env, file, value, kept; did you mean env?",
        ),
        (
            "sources:\n  - name: a\n    destinations:\n      - {name: d, timeout_ms: soon}\n",
            "p.yaml:4:31: a whole number is expected here",
        ),
        (
            "sources:\n  - name: a\n    write_key: {env: NOT_SET_ANYWHERE}\n",
            "source a: write_key: the variable NOT_SET_ANYWHERE is not set",
        ),
        ("{\"sources\": [{\"name\": 1", "p.yaml:"),
    ] {
        std::fs::write(folder.path().join("p.yaml"), text).unwrap();
        let (code, _, stderr) = run(&folder, &["apply", "-f", "p.yaml"]);
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.starts_with(&format!("error: {cause}")), "{stderr}");
    }
}

#[tokio::test]
async fn the_exit_code_of_apply_says_whether_there_are_changes() {
    let app = Builder::new().start().await;
    let file = app.dir.path().join("pipeline.yaml");
    std::fs::write(app.dir.path().join("secret"), "from-a-file\n").unwrap();
    let text = "sources:\n  - name: website\n    destinations:\n      - name: d\n        \
                shared_secret: {file: secret}\n        mappings:\n          \
                - {name: m, url: 'http://127.0.0.1:9/'}\n";
    std::fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();
    let (code, stdout, _) = ask(&app, &["apply", "--dry-run", "-f", path]).await;
    assert_eq!(code, 5, "{stdout}");
    let (code, stdout, stderr) = ask(&app, &["apply", "-f", path]).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("+ mapping website/d/m: POST http://127.0.0.1:9/"), "{stdout}");
    assert!(!stdout.contains("from-a-file"));
    let (code, stdout, _) = ask(&app, &["apply", "--dry-run", "-f", path]).await;
    assert_eq!((code, stdout.as_str()), (0, "no changes\n"));
    app.stop().await;
}

#[tokio::test]
async fn sent_events_are_listed_as_plain_text() {
    let receiver = Receiver::start(Behaviour::status(400)).await;
    let app = TestApp::with(&[("one", &receiver.url("/"), json!({}))]).await;
    let send = ["send", "--write-key", WRITE_KEY, "--count", "3", "--event", "A\u{1b}[2JB"];
    let (code, stdout, stderr) = ask(&app, &send).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.starts_with("3 accepted by "));
    app.until_settled(3).await;
    let (_, stdout, _) = ask(&app, &["dead"]).await;
    assert_eq!(stdout.lines().count(), 3);
    assert!(stdout.lines().all(|line| line.split('\t').count() == 9), "{stdout}");
    assert!(!stdout.contains('\u{1b}'), "control characters do not reach the terminal");
    let (_, stdout, _) = ask(&app, &["dead", "--summary"]).await;
    assert_eq!(stdout, "website/one/everything\trejected\t400\t3\n");
    let id = app.delivery(0).await;
    let (_, stdout, _) = ask(&app, &["--json", "deliveries", "--limit", "1"]).await;
    let page: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(page["items"][0]["message_id"].as_str().is_some(), id.message_id.len() > 1);
    let shown = page["items"][0]["id"].as_str().unwrap();
    let (code, stdout, _) = ask(&app, &["deliveries", shown]).await;
    assert_eq!(code, 0);
    assert!(stdout.contains("attempt 1"), "{stdout}");
    let (code, _, stderr) = ask(&app, &["redrive", "--all"]).await;
    assert_eq!(code, 2);
    assert!(stderr.contains("redrive 3 deliveries?") && stderr.contains("--yes"), "{stderr}");
    let (code, stdout, _) = ask(&app, &["discard", "--state", "dead", "--yes"]).await;
    assert_eq!(code, 0);
    assert!(stdout.contains("done: 3 of 3 discarded"), "{stdout}");
    let (code, _, _) = ask(&app, &["doctor"]).await;
    assert_eq!(code, 0);
    app.stop().await;
}

#[tokio::test]
async fn an_invalid_token_or_write_key_is_reported() {
    let app = Builder::new().start().await;
    let (code, _, stderr) = ask(&app, &["send", "--write-key", "nobody"]).await;
    assert_eq!(code, 4);
    assert!(stderr.contains("no source has this write key"), "{stderr}");
    let folder = TempDir::new().unwrap();
    let mut wrong = command(&folder);
    wrong
        .arg("status")
        .env("POSTRIDER_URL", format!("http://{}", app.app.address))
        .env("POSTRIDER_TOKEN", "prt_wrong");
    let output = tokio::task::spawn_blocking(move || wrong.output().unwrap()).await.unwrap();
    let (code, _, stderr) = told(&output);
    assert_eq!(code, 4);
    assert!(stderr.contains("hint: the token is another service's"), "{stderr}");
    app.stop().await;
}

#[tokio::test]
async fn offline_commands_are_refused_while_the_service_runs() {
    let app = Builder::new().start().await;
    let (dir, _clock) = {
        let database = format!("sqlite://{}", app.dir.path().join("postrider.db").display());
        let mut migrate = command(&app.dir);
        migrate.arg("migrate").env("POSTRIDER_DATABASE", &database);
        let output = tokio::task::spawn_blocking(move || migrate.output().unwrap()).await.unwrap();
        let (code, _, stderr) = told(&output);
        assert_eq!(code, 1);
        assert!(stderr.contains("is in use by process"), "{stderr}");
        app.stop().await
    };
    let (code, stdout, stderr) = run(&dir, &["migrate"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("the schema is up to date"), "{stdout}");
    let (code, stdout, _) = run(&dir, &["doctor", "--offline"]);
    assert_eq!(code, 0, "{stdout}");
}

#[tokio::test]
async fn a_function_is_read_from_its_file_beside_the_pipelines() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let app = Builder::new().start().await;
    let folder = app.dir.path();
    let pipeline = |file: &str| {
        format!(
            "sources:\n- name: s\n  write_key: {{value: {WRITE_KEY}}}\n  destinations:\n  - name: d\n    \
             mappings:\n    - name: m\n      url: {}\n      function:\n        file: {file}\n        \
             settings: {{greeting: hello}}\n",
            receiver.url("/")
        )
    };
    let path = folder.join("pipeline.yaml");
    std::fs::write(&path, pipeline("gone.js")).unwrap();
    let (code, _, stderr) = ask(&app, &["apply", "-f", path.to_str().unwrap()]).await;
    assert_eq!(code, 2);
    assert!(stderr.contains("mapping s/d/m: function: ") && stderr.contains("gone.js"), "{stderr}");
    std::fs::write(&path, pipeline("enrich.js")).unwrap();
    std::fs::write(folder.join("enrich.js"), "function onTrack(event) {\n  return event +;\n}")
        .unwrap();
    let (code, _, stderr) = ask(&app, &["apply", "-f", path.to_str().unwrap()]).await;
    assert_eq!(code, 2);
    assert!(stderr.contains("function.source: SyntaxError: "), "{stderr}");
    assert!(stderr.contains("(line 2, column "), "{stderr}");
    let good = "function onTrack(event, settings) { console.log(settings.greeting); return event }";
    std::fs::write(folder.join("enrich.js"), good).unwrap();
    let (code, _, stderr) = ask(&app, &["apply", "-f", path.to_str().unwrap()]).await;
    assert_eq!(code, 0, "{stderr}");
    app.track("greeted").await;
    app.until_settled(1).await;
    let (_, list) = app.client.get("/api/v1/deliveries").await.unwrap();
    let id = list["items"][0]["id"].as_str().unwrap();
    let (_, stdout, _) = ask(&app, &["deliveries", id]).await;
    assert!(stdout.contains("  console  log: hello\n"), "{stdout}");
    app.stop().await;
}
