//! The worker process: its sandbox, its replacement after a crash, and that it exits with the service.

use std::collections::HashSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use postrider::domain::attempt::Outcome;
use postrider::functions::{FunctionPool, VERB};
use rustix::process::{Pid, Signal, kill_process};

use super::{given, patient, pool, run};

const GOOD: &str = "function onTrack(event) { return event }";

/// The worker processes of this process.
pub(super) fn workers() -> HashSet<i32> {
    let own = std::process::id().to_string();
    let mut found = HashSet::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((_, after)) = stat.rsplit_once(") ") else { continue };
        let mut fields = after.split(' ');
        let alive = fields.next().is_some_and(|state| state != "Z" && state != "X");
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let is_worker = line.split(|byte| *byte == 0).any(|word| word == VERB.as_bytes());
        if alive && is_worker && fields.next() == Some(&own) {
            found.insert(entry.file_name().to_str().unwrap().parse().unwrap());
        }
    }
    found
}

pub(super) fn kill(process: i32) {
    // It may have exited already.
    let _ = kill_process(Pid::from_raw(process).unwrap(), Signal::KILL);
}

/// Returns once all of these workers have exited.
pub(super) async fn until_gone(processes: &HashSet<i32>) {
    while !workers().is_disjoint(processes) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn workers_start_on_demand_are_reused_and_stop_with_the_pool() {
    let pool = patient();
    assert!(workers().is_empty());
    given(&pool, GOOD).await;
    let first = workers();
    assert_eq!(first.len(), 1);
    given(&pool, GOOD).await;
    assert_eq!(workers(), first);
    pool.stop();
    until_gone(&first).await;
    given(&pool, GOOD).await;
    until_gone(&workers()).await;
}

/// The open descriptors of a process, as far as they can be read.
fn open(process: &str) -> Vec<String> {
    let folder = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten();
    let targets = folder.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    targets.map(|target| target.display().to_string()).collect()
}

#[tokio::test]
async fn a_worker_is_sandboxed_and_inherits_nothing() {
    let before = open("self");
    let folder = tempfile::TempDir::new().unwrap();
    let _file = std::fs::File::create(folder.path().join("secret")).unwrap();
    let _socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pool = patient();
    given(&pool, GOOD).await;
    let process = workers().into_iter().next().unwrap();
    let of = |name: &str| std::path::PathBuf::from(format!("/proc/{process}/{name}"));
    assert_eq!(std::fs::read(of("environ")).unwrap(), b"");
    assert_eq!(std::fs::read_link(of("cwd")).unwrap(), std::path::Path::new("/"));
    // Descriptors that this process inherited may be meant for its children.
    let opened: Vec<_> = open("self").into_iter().filter(|it| !before.contains(it)).collect();
    assert!(opened.iter().any(|it| it.ends_with("/secret")), "{opened:?}");
    let shared: Vec<_> = open(&process.to_string())
        .into_iter()
        .filter(|it| opened.contains(it) && !it.starts_with("pipe:"))
        .collect();
    assert_eq!(shared, Vec::<String>::new());
    let status = std::fs::read_to_string(of("status")).unwrap();
    assert!(status.contains("\nSeccomp:\t2\n"), "{status}");
    assert!(status.contains("\nNoNewPrivs:\t1\n"), "{status}");
    let limits = std::fs::read_to_string(of("limits")).unwrap();
    let hard = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(hard("Max file size"), "0");
    assert_eq!(hard("Max core file size"), "0");
    assert_eq!(hard("Max processes"), "0");
    assert_eq!(hard("Max open files"), "3");
    let data: u64 = hard("Max data size").parse().unwrap();
    assert!(data < 4 * 1024 * 1024 * 1024, "{data}");
}

#[tokio::test]
async fn a_dead_idle_worker_is_replaced_transparently() {
    let pool = patient();
    for _ in 0..5 {
        given(&pool, GOOD).await;
        let all = workers();
        all.iter().copied().for_each(kill);
        until_gone(&all).await;
    }
}

/// Kills every worker, repeatedly.
async fn killing() {
    loop {
        workers().into_iter().for_each(kill);
        tokio::task::yield_now().await;
    }
}

async fn killed_while(pool: &FunctionPool, source: &str) -> (Outcome, String) {
    let ran = tokio::select! {
        ran = run(pool, source) => ran,
        () = killing() => panic!("never ends"),
    };
    let failure = ran.event.unwrap_err();
    (failure.outcome, failure.message)
}

#[tokio::test]
async fn a_worker_killed_during_a_call_causes_a_retry() {
    let pool = patient();
    let (outcome, message) = killed_while(&pool, "function onTrack() { for (;;); }").await;
    assert_eq!(outcome, Outcome::FunctionTimeout);
    assert_eq!(message, "the function worker exited during the call: signal: 9 (SIGKILL)");
    given(&pool, GOOD).await;
}

#[tokio::test]
async fn a_worker_that_cannot_be_started_is_reported() {
    let pool = pool(|options| options.executable = "/nowhere/postrider".into());
    assert_eq!(pool.failure(), None);
    let failure = run(&pool, GOOD).await.event.unwrap_err();
    assert_eq!(failure.outcome, Outcome::FunctionTimeout);
    assert!(
        failure.message.starts_with("a function worker cannot be started: "),
        "{}",
        failure.message
    );
    assert_eq!(pool.failure(), Some(failure.message));
}

fn worker() -> std::process::Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
    command.arg(VERB).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().unwrap()
}

fn framed(call: &str) -> Vec<u8> {
    let length = u32::try_from(call.len()).unwrap().to_le_bytes();
    [&length[..], call.as_bytes()].concat()
}

#[test]
fn a_worker_exits_when_stdin_closes_even_during_a_call() {
    let mut idle = worker();
    drop(idle.stdin.take());
    assert!(idle.wait().unwrap().success());
    let mut busy = worker();
    let call = r#"{"isolate":1,"load":{"source":"for (;;);","settings":{}},"evict":null,
        "task":"Each","events":[{"type":"track"}],"memory_bytes":9000000}"#;
    let mut input = busy.stdin.take().unwrap();
    input.write_all(&framed(call)).unwrap();
    drop(input);
    assert!(busy.wait().unwrap().success());
}

#[test]
fn a_worker_exits_on_a_protocol_error() {
    for malformed in [&framed("{}")[..], &[255; 64]] {
        let mut worker = worker();
        // It may exit before it has read everything.
        let _ = worker.stdin.as_mut().unwrap().write_all(malformed);
        worker.wait().unwrap();
    }
}
