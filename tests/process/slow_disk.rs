//! A disk whose fsync stalls: answered attempts wait for their record within a bound, and none is repeated
//! unless the process is killed.

use std::collections::HashMap;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::faulty_disk::shim;
use super::service::Service;
use crate::support::receiver::{Behaviour, Receiver};

/// Deliveries that are due at once.
const BACKLOG: usize = 8_000;
/// Answered attempts without a record at a kill: those in the completion queue and those in flight.
const MAX_UNRECORDED: usize = 2_048 + 64;

fn arrivals(receiver: &Receiver, from: usize) -> HashMap<String, usize> {
    let mut arrivals = HashMap::new();
    for request in &receiver.requests()[from..] {
        let event: Value = serde_json::from_slice(&request.body).unwrap();
        *arrivals.entry(event["messageId"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    arrivals
}

/// Waits until two seconds pass without a request.
async fn until_none_arrive(receiver: &Receiver) {
    let mut known = 0;
    while receiver.requests().len() > known {
        known = receiver.requests().len();
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

async fn until_settled(service: &mut Service) {
    service
        .until("everything is delivered", async |it| {
            it.status().await["ledger"]["delivered"] == BACKLOG
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_fsync_stalls_answered_attempts_wait_within_a_bound_and_only_a_kill_repeats_them() {
    let dir = TempDir::new().unwrap();
    let order = dir.path().join("order");
    let receiver = Receiver::start(Behaviour::status(503)).await;
    let mut service = Service::in_dir(dir.path(), "min_free_disk_mib = 0\nlog = \"warn\"");
    service.set_env("LD_PRELOAD", shim(dir.path()));
    service.set_env("FAULTY_DISK", &order);
    service.start().await;
    service.apply(&[("one", &receiver.url("/"), json!({"enabled": true}))]).await;
    let source = service.source();
    for batch in 0..BACKLOG / 100 {
        let ids: Vec<String> = (0..100).map(|at| format!("m-{batch}-{at}")).collect();
        assert_eq!(source.track_batch(&ids).await, Some(StatusCode::OK));
    }
    service.kill();

    receiver.set_script(Behaviour::ok());
    let before = receiver.requests().len();
    service.start().await;
    receiver.wait_for(before + 200).await;
    std::fs::write(&order, "stall").unwrap();
    until_none_arrive(&receiver).await;
    service.kill();
    std::fs::remove_file(&order).unwrap();
    let first = arrivals(&receiver, before);
    assert!(first.values().all(|count| *count == 1), "none is sent twice without a kill");

    let before = receiver.requests().len();
    service.start().await;
    until_settled(&mut service).await;
    let second = arrivals(&receiver, before);
    let repeated = second.keys().filter(|id| first.contains_key(*id)).count();
    assert!(repeated <= MAX_UNRECORDED, "{repeated} answered attempts were repeated");
    assert!(second.values().all(|count| *count == 1), "none is sent twice without a kill");
    let doctor = service.run(&["doctor"]);
    assert!(doctor.status.success(), "{}", String::from_utf8_lossy(&doctor.stdout));
}
