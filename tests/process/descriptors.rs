//! A limit of 1,024 open files, soft and hard: destinations that hang take only their share, a healthy one is
//! delivered to, senders are acknowledged, and health, metrics and the command line answer. What this machine
//! lacks is booked on no receiver.

use http::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::service::Service;
use crate::support::receiver::{Behaviour, Receiver};

/// Destinations that never answer.
const HANGING: usize = 20;
/// Events, each for every destination.
const EVENTS: usize = 400;
const OPEN_FILES: u32 = 1_024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_few_open_files_hanging_destinations_harm_no_receiver_and_no_sender() {
    let dir = TempDir::new().unwrap();
    let healthy = Receiver::start(Behaviour::ok()).await;
    let hanging = Receiver::start(Behaviour::hang()).await;
    let mut service = Service::in_dir(dir.path(), "min_free_disk_mib = 0\nlog = \"warn\"");
    service.limit_open_files(OPEN_FILES);
    service.start().await;
    let names: Vec<String> = (0..HANGING).map(|number| format!("hang-{number}")).collect();
    let url = hanging.url("/");
    let settings = json!({"timeout_ms": 30_000, "max_in_flight": 1_024});
    let mut destinations: Vec<_> =
        names.iter().map(|name| (name.as_str(), url.as_str(), settings.clone())).collect();
    let healthy_url = healthy.url("/");
    destinations.push(("healthy", healthy_url.as_str(), json!({})));
    service.apply(&destinations).await;

    let source = service.source();
    for batch in 0..EVENTS / 50 {
        let ids: Vec<String> = (0..50).map(|at| format!("m-{batch}-{at}")).collect();
        assert_eq!(source.track_batch(&ids).await, Some(StatusCode::OK), "it is acknowledged");
    }
    healthy.wait_for(EVENTS).await;

    // While the others hang: operators, probes and senders are served.
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(service.get(path).await, Some(StatusCode::OK), "{path}");
    }
    let status = service.run(&["status", "--json"]);
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    assert_eq!(service.source().track("later").await, Some(StatusCode::OK));
    healthy.wait_for(EVENTS + 1).await;

    let metrics = service.client().get("/metrics").await.unwrap().1;
    let metrics = metrics.as_str().unwrap();
    for outcome in ["connect", "dns", "reset", "tls"] {
        let attempts = format!("postrider_attempts_total{{outcome=\"{outcome}\"}}");
        assert!(!metrics.contains(&attempts), "{metrics}");
    }
    let open: Vec<Value> = service.status().await["open_circuits"].as_array().unwrap().clone();
    assert!(open.iter().all(|it| it["mapping"] != "website/healthy/everything"), "{open:?}");
    let lacking = service.log().lines().filter(|it| it.contains("this machine lacks")).count();
    assert!(lacking <= 3, "logged by rate:\n{}", service.log());
}

/// The function workers of a process.
fn workers_of(pid: i32) -> Vec<rustix::process::Pid> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let number = |it: std::fs::DirEntry| it.file_name().to_str()?.parse::<i32>().ok();
    let is_child = |child: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        let mut fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
        fields.nth(1) == Some(&pid.to_string())
    };
    let children = processes.filter_map(number).filter(is_child);
    children.filter_map(rustix::process::Pid::from_raw).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_worker_that_lacks_descriptors_is_no_attempt_and_opens_no_circuit() {
    const FUNCTION: &str = "function onTrack(event) { return {ran: event.messageId} }";
    let dir = TempDir::new().unwrap();
    let receiver = Receiver::start(Behaviour::ok()).await;
    let mut service = Service::in_dir(dir.path(), "min_free_disk_mib = 0\nlog = \"warn\"");
    service.start().await;
    let url = receiver.url("/");
    let mapping = json!({"name": "everything", "url": url, "function": {"source": FUNCTION}});
    service.apply(&[("one", &url, json!({"mappings": [mapping]}))]).await;
    // The connections of this test are open before none can be opened any more.
    let (source, client) = (service.source(), service.client());
    assert_eq!(source.track("before").await, Some(StatusCode::OK));
    receiver.wait_for(1).await;
    service.until("it is recorded", async |it| it.status().await["ledger"]["delivered"] == 1).await;
    assert_eq!(client.get("/healthz").await.unwrap().0, StatusCode::OK);

    let pid = service.pid();
    let nofile = rustix::process::Resource::Nofile;
    let few = rustix::process::Rlimit { current: Some(3), ..rustix::process::getrlimit(nofile) };
    let before = rustix::process::prlimit(Some(pid), nofile, few).unwrap();
    for worker in workers_of(pid.as_raw_nonzero().get()) {
        rustix::process::kill_process(worker, rustix::process::Signal::KILL).unwrap();
    }
    for number in 0..20 {
        assert_eq!(source.track(&format!("m-{number}")).await, Some(StatusCode::OK));
    }
    let postponed = async || {
        let metrics = client.get("/metrics").await.unwrap().1;
        let name = "postrider_deliveries_postponed_total{lacking=\"function_worker\"} ";
        let mut lines = metrics.as_str().unwrap().lines();
        lines.find_map(|line| line.strip_prefix(name)?.parse::<u64>().ok()).unwrap_or(0)
    };
    service.until("each was postponed, some twice", async |_| postponed().await > 20).await;
    let log = service.log();
    let told = log.lines().filter(|it| it.contains("a function worker cannot be started"));
    assert_eq!(told.count(), 1, "once:\n{log}");
    assert_eq!(receiver.requests().len(), 1, "nothing was sent");

    rustix::process::prlimit(Some(pid), nofile, before).unwrap();
    receiver.wait_for(21).await;
    service
        .until("all are recorded", async |it| it.status().await["ledger"]["delivered"] == 21)
        .await;
    let rows = service.client().get("/api/v1/deliveries").await.unwrap().1;
    for row in rows["items"].as_array().unwrap() {
        let id = row["id"].as_str().unwrap();
        let shown = service.client().get(&format!("/api/v1/deliveries/{id}")).await.unwrap().1;
        assert_eq!(shown["attempts"].as_array().map(Vec::len), Some(1), "{shown}");
    }
    assert_eq!(service.status().await["open_circuits"], json!([]));
    assert!(service.run(&["doctor"]).status.success());
}
