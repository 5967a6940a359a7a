//! `postrider move` with the real binary: from SQLite to PostgreSQL and back, killed on the way, and what it refuses.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use http::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::service::Service;
use crate::support::postgres::Database;
use crate::support::receiver::{Behaviour, Receiver, by_request};

fn moving(service: &Service, from: &str, to: &str) -> Command {
    service.verb(&["move", "--from", from, "--to", to, "--batch-rows", "100"])
}

async fn output(mut command: Command) -> (i32, String, String) {
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let Output { status, stdout, stderr } = run.await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

/// Runs a move until it prints a line that begins with this, and kills it.
async fn kill_at(mut command: Command, line: &'static str) {
    let killing = tokio::task::spawn_blocking(move || {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut seen = Vec::new();
        let is_there = lines.by_ref().any(|it| {
            seen.push(it);
            seen.last().is_some_and(|it| it.starts_with(line))
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_there, "{line}: {seen:?}");
    });
    killing.await.unwrap();
}

/// The items of a list, to its end.
async fn all(service: &Service, path: &str) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let more = if path.contains('?') { '&' } else { '?' };
        let paged = if path == "/tokens" { String::new() } else { format!("{more}limit=500") };
        let url = format!("/api/v1{path}{paged}{cursor}");
        let (status, page) = service.client().get(&url).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{page}");
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&before={next}"),
            None => return items,
        }
    }
}

/// What an operator sees: everything that a move must keep.
async fn seen(service: &Service) -> Vec<(&'static str, Vec<Value>)> {
    let mut seen = Vec::new();
    for path in [
        "/events",
        "/events?rejected=true",
        "/deliveries",
        "/deliveries?state=dead",
        "/deliveries?state=pending",
        "/attempts",
        "/jobs",
        "/tokens",
        "/audit",
    ] {
        seen.push((path, all(service, path).await));
    }
    let (_, status) = service.client().get("/api/v1/status").await.unwrap();
    seen.push(("ledger", vec![status["ledger"].clone()]));
    seen
}

fn assert_same(before: &[(&str, Vec<Value>)], after: &[(&str, Vec<Value>)]) {
    for ((path, before), (_, after)) in before.iter().zip(after) {
        assert_eq!(before.len(), after.len(), "{path}");
        for (one, other) in before.iter().zip(after) {
            let (mut one, mut other) = (one.clone(), other.clone());
            for it in [&mut one, &mut other] {
                // A token's last use goes on; schedules are shown by the clock of the node.
                for field in ["last_used_at", "due_at", "deadline_at"] {
                    it.as_object_mut().unwrap().remove(field);
                }
            }
            assert_eq!(one, other, "{path}");
        }
    }
}

/// A service in `dir` whose keys and token stay in place wherever its database goes.
fn service(dir: &Path) -> Service {
    let file = |name: &str| dir.join(name).display().to_string();
    let settings = format!(
        "min_free_disk_mib = 0\nlog = \"warn\"\nnode_name = \"one\"\ntoken_file = {:?}\nsecret_key_file = {:?}",
        file("postrider.db.token"),
        file("postrider.db.key")
    );
    Service::in_dir(dir, &settings)
}

async fn ids(service: &Service, from: u32, upto: u32) {
    let ids: Vec<String> = (from..upto).map(|number| format!("m-{number}")).collect();
    assert_eq!(service.source().track_batch(&ids).await, Some(StatusCode::OK));
}

/// Events of every kind of end: delivered, in batches, dead, paused, rejected, redriven.
async fn fill(service: &mut Service, receiver: &Receiver) {
    let batches = json!({"mappings": [{
        "name": "everything", "url": receiver.url("/ok"), "batching": {"linger_ms": 20},
    }]});
    service
        .apply(&[
            ("ok", &receiver.url("/ok"), json!({})),
            ("batches", "", batches),
            ("dead", &receiver.url("/dead"), json!({})),
            ("paused", &receiver.url("/ok"), json!({})),
        ])
        .await;
    let done = service.run(&["pause", "website/paused", "--note", "until it is moved"]);
    assert!(done.status.success(), "{done:?}");
    let done = service.run(&["tokens", "create", "second", "--role", "viewer"]);
    assert!(done.status.success(), "{done:?}");
    ids(service, 0, 250).await;
    ids(service, 250, 500).await;
    // Without a name: kept as rejected.
    service.source().track_unnamed("unnamed").await;
    settled(service, 1_500).await;
    let done = service.run(&["redrive", "--all", "--destination", "website/dead", "--yes"]);
    assert!(done.status.success(), "{done:?}");
    settled(service, 1_500).await;
}

/// Waits until so many deliveries ended.
async fn settled(service: &mut Service, count: u64) {
    service
        .until("deliveries have ended", async |service| {
            let ledger = &service.status().await["ledger"];
            let of = |state: &str| ledger[state].as_u64().unwrap_or(0);
            of("leased") == 0 && of("delivered") + of("dead") == count
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_moved_to_postgresql_and_back_through_kills_is_the_same_and_goes_on() {
    let script =
        by_request(
            |request| {
                if request.path == "/dead" { Behaviour::status(404) } else { Behaviour::ok() }
            },
        );
    let receiver = Receiver::start(script).await;
    let dir = TempDir::new().unwrap();
    let mut service = service(dir.path());
    service.start().await;
    fill(&mut service, &receiver).await;
    let before = seen(&service).await;
    assert!(before.iter().all(|(_, items)| !items.is_empty()), "{before:?}");
    let half = before[0].1[249]["received_at"].as_str().unwrap().to_owned();
    let young = all(&service, &format!("/events?since={half}")).await;
    assert!(service.terminate().await);

    let file = |name: &str| format!("sqlite://{}", dir.path().join(name).display());
    let database = Database::new().await;
    let (sqlite, postgres, back) = (file("postrider.db"), database.url(), file("back.db"));
    for line in ["copied mappings", "copied events", "copied deliveries", "compared attempts"] {
        kill_at(moving(&service, &sqlite, &postgres), line).await;
    }
    for (address, expected) in [(&sqlite, "has begun"), (&postgres, "is not done")] {
        let (code, _, error) = served(&service, address).await;
        assert!(code != 0 && error.contains(expected), "{error}");
    }
    let (code, out, error) = output(moving(&service, &sqlite, &postgres)).await;
    assert_eq!(code, 0, "{error}");
    assert!(out.contains("all equal") && !out.contains("different"), "{out}");
    let (code, out, _) = output(moving(&service, &sqlite, &postgres)).await;
    assert!(code == 0 && out.contains("before"), "{out}");
    let (code, _, error) = served(&service, &sqlite).await;
    assert!(code != 0 && error.contains("was moved to postgres://"), "{error}");
    assert!(error.contains("postrider move --undo --from sqlite://"), "{error}");

    service.set_env("POSTRIDER_DATABASE", &postgres);
    service.start().await;
    assert_same(&before, &seen(&service).await);
    assert_eq!(young, all(&service, &format!("/events?since={half}")).await);
    goes_on(&mut service, &receiver, 500).await;
    let before = seen(&service).await;
    assert!(service.terminate().await);

    kill_at(moving(&service, &postgres, &back), "copied attempts").await;
    let (code, out, error) = output(moving(&service, &postgres, &back)).await;
    assert_eq!(code, 0, "{out}{error}");
    let (code, _, error) = served(&service, &postgres).await;
    assert!(code == 2 && error.contains("was moved to sqlite://"), "{error}");
    service.set_env("POSTRIDER_DATABASE", &back);
    service.start().await;
    assert_same(&before, &seen(&service).await);
    goes_on(&mut service, &receiver, 510).await;
    assert!(service.terminate().await);

    let copy = file("copy.db");
    let (code, _, error) = output(moving(&service, &back, &copy)).await;
    assert_eq!(code, 0, "{error}");
    let undo = service.verb(&["move", "--undo", "--from", &back]);
    let (code, out, error) = output(undo).await;
    assert!(code == 0 && out.contains("can be served again"), "{out}{error}");
    service.start().await;
    service.kill();
}

/// Starts a service on a database that must refuse it.
async fn served(service: &Service, address: &str) -> (i32, String, String) {
    let mut serve = service.verb(&["serve"]);
    serve.env("POSTRIDER_DATABASE", address);
    output(serve).await
}

/// Duplicates are known, new events are delivered once, checks and the audit chain are right.
async fn goes_on(service: &mut Service, receiver: &Receiver, from: u32) {
    let ledger = service.status().await["ledger"].clone();
    let (accepted, ended) =
        (ledger["events_accepted"].as_u64(), |name: &str| ledger[name].as_u64());
    let ended = ended("delivered").unwrap() + ended("dead").unwrap();
    let requests = receiver.requests().len();
    ids(service, 0, 250).await;
    ids(service, from - 10, from).await;
    assert_eq!(service.status().await["ledger"]["events_accepted"].as_u64(), accepted);
    ids(service, from, from + 10).await;
    settled(service, ended + 30).await;
    assert!(receiver.requests().len() > requests);
    for verb in [&["audit", "verify"][..], &["doctor"]] {
        let done = service.run(verb);
        assert!(done.status.success(), "{done:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_refuses_what_it_would_harm_and_changes_nothing() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let dir = TempDir::new().unwrap();
    let mut service = service(dir.path());
    service.start().await;
    service.apply(&[("ok", &receiver.url("/"), json!({}))]).await;
    ids(&service, 0, 20).await;
    settled(&mut service, 20).await;
    let file = |name: &str| format!("sqlite://{}", dir.path().join(name).display());
    let (sqlite, other) = (file("postrider.db"), file("other.db"));
    let refused = async |command: Command, expected: &str| {
        let (code, _, error) = output(command).await;
        assert_eq!(code, 2, "{expected}: {error}");
        assert!(error.contains(expected) && !error.contains("secret@"), "{expected}: {error}");
    };
    refused(moving(&service, &sqlite, &other), "in use by process").await;
    assert!(service.terminate().await);
    refused(moving(&service, &file("none.db"), &other), "there is no database").await;
    refused(moving(&service, &sqlite, &sqlite), "both the source and the target").await;
    let other_key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let mut wrong = moving(&service, &sqlite, &other);
    wrong.env("POSTRIDER_SECRET_KEY", other_key);
    refused(wrong, "could not open a secret of").await;

    // A database that a service has run on is no target, and neither is one with a live node.
    let database = Database::new().await;
    let postgres = database.url();
    service.set_env("POSTRIDER_DATABASE", &postgres);
    service.start().await;
    refused(moving(&service, &sqlite, &postgres), "node one runs on it").await;
    refused(moving(&service, &postgres, &other), "node one runs on it").await;
    assert!(service.terminate().await);
    refused(moving(&service, &sqlite, &postgres), "is not empty").await;

    // None of these has marked the source.
    service.set_env("POSTRIDER_DATABASE", &sqlite);
    service.start().await;
    assert!(service.terminate().await);
    let undo = service.verb(&["move", "--undo", "--from", &sqlite]);
    refused(undo, "was not moved").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_differs_is_reported_and_never_served() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let dir = TempDir::new().unwrap();
    let mut service = service(dir.path());
    service.start().await;
    service.apply(&[("ok", &receiver.url("/"), json!({}))]).await;
    ids(&service, 0, 120).await;
    settled(&mut service, 120).await;
    assert!(service.terminate().await);
    let sqlite = format!("sqlite://{}", dir.path().join("postrider.db").display());
    let database = Database::new().await;
    let postgres = database.url();
    kill_at(moving(&service, &sqlite, &postgres), "compared sources").await;
    let change = "UPDATE postrider.settled SET tried = tried + 1 WHERE id = 7";
    database.execute(change).await.unwrap();
    let (code, out, error) = output(moving(&service, &sqlite, &postgres)).await;
    assert_eq!(code, 1, "{out}{error}");
    let different: Vec<&str> = out.lines().filter(|line| line.ends_with("different")).collect();
    assert!(matches!(different[..], [line] if line.starts_with("deliveries\t120\t")), "{out}");
    assert!(error.contains("source and target differ in deliveries"), "{error}");
    let (code, _, error) = served(&service, &postgres).await;
    assert!(code == 2 && error.contains("is not done"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_and_status_of_several_deployments_say_which() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let dirs = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let mut services = dirs.each_ref().map(|dir| service(dir.path()));
    for (number, service) in services.iter_mut().enumerate() {
        service.start().await;
        service.apply(&[("ok", &receiver.url("/"), json!({}))]).await;
        assert_eq!(service.source().track(&format!("of-{number}")).await, Some(StatusCode::OK));
        settled(service, 1).await;
    }
    let bases = services.each_ref().map(Service::base);
    let tokens = dirs.each_ref().map(|dir| dir.path().join("postrider.db.token"));
    let [one, other] = &mut services;
    let several = |verb: &[&str]| {
        let mut command = one.verb(verb);
        for (base, token) in bases.iter().zip(&tokens) {
            command.args(["--url", base, "--token-file"]).arg(token);
        }
        command
    };
    let (code, out, error) = output(several(&["events"])).await;
    let of: Vec<&str> = out.lines().filter_map(|line| line.split('\t').next()).collect();
    assert_eq!((code, of), (0, bases.each_ref().map(String::as_str).to_vec()), "{out}{error}");
    let (code, out, _) = output(several(&["events", "--json"])).await;
    let pages: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen = pages.iter().map(|it| {
        (it["url"].as_str().unwrap(), it["result"]["items"][0]["message_id"].as_str().unwrap())
    });
    let expected = [(bases[0].as_str(), "of-0"), (bases[1].as_str(), "of-1")];
    assert_eq!((code, seen.collect::<Vec<_>>()), (0, expected.to_vec()));
    let (code, out, _) = output(several(&["status"])).await;
    assert!(
        code == 0 && out.lines().all(|line| bases.iter().any(|it| line.starts_with(it))),
        "{out}"
    );

    let (code, _, error) = output(several(&["pause", "website/ok"])).await;
    assert!(code == 2 && error.contains("is for one deployment"), "{error}");
    other.kill();
    let (code, out, error) = output(several(&["events"])).await;
    assert!(code == 4 && out.starts_with(&bases[0]) && error.contains(&bases[1]), "{out}{error}");
}
