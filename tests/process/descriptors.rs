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
