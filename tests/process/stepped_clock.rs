//! The system's wall clock steps while the service runs: duties go on, signatures have the new time, and
//! nothing is deleted or dies because of the step.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::StatusCode;
use postrider::domain::clock::{Clock as _, SystemClock};
use serde_json::json;
use tempfile::TempDir;

use super::faulty_disk::compile;
use super::service::Service;
use crate::support::receiver::{Behaviour, Receiver, in_turn};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// A service whose wall clock the test steps.
struct Stepped {
    dir: TempDir,
    service: Service,
    receiver: Receiver,
}

impl Stepped {
    async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let receiver = Receiver::start(Behaviour::ok()).await;
        let mut service = Service::in_dir(dir.path(), "min_free_disk_mib = 0");
        service.set_env("LD_PRELOAD", compile(dir.path(), "stepped_clock"));
        service.set_env("STEPPED_CLOCK", offset_file(dir.path()));
        service.start().await;
        service.apply(&[("one", &receiver.url("/"), json!({}))]).await;
        Self { dir, service, receiver }
    }

    /// Sets how many seconds the service's wall clock is ahead, and waits until it has noticed.
    async fn step_to(&mut self, seconds: i64) {
        let noticed = self.service.log().matches("clock step").count();
        std::fs::write(offset_file(self.dir.path()), seconds.to_string()).unwrap();
        self.service
            .until("the step is noticed", async |it| {
                it.log().matches("clock step").count() > noticed
            })
            .await;
    }

    async fn until_delivered(&mut self, count: u64) {
        self.service
            .until("it is delivered", async |it| it.status().await["ledger"]["delivered"] == count)
            .await;
    }

    /// How far the timestamp of the newest request is from the service's wall clock, in seconds.
    fn signature_age(&self, offset: i64) -> i64 {
        let request = self.receiver.requests().pop().unwrap();
        let timestamp: i64 = request.header("webhook-timestamp").unwrap().parse().unwrap();
        (wall() + offset - timestamp).abs()
    }
}

fn offset_file(dir: &Path) -> PathBuf {
    dir.join("offset")
}

fn wall() -> i64 {
    SystemClock::new().now().as_seconds()
}

#[tokio::test]
async fn after_steps_of_the_clock_duties_go_on_and_signatures_have_the_new_time() {
    let mut stepped = Stepped::start().await;
    let mut count = 0_u64;
    // The second step is noticed only if the duty that notices steps still runs after the first.
    for offset in [-2 * HOUR, 5 * HOUR, -3 * DAY, 0] {
        stepped.step_to(offset).await;
        // A retry is due by a schedule that must follow the step.
        let mut script = vec![Behaviour::ok(); stepped.receiver.requests().len()];
        script.extend([Behaviour::status(503), Behaviour::ok()]);
        stepped.receiver.set_script(in_turn(script));
        let id = format!("m{offset}");
        assert_eq!(stepped.service.source().track(&id).await, Some(StatusCode::OK));
        count += 1;
        stepped.until_delivered(count).await;
        let age = stepped.signature_age(offset);
        assert!(age <= 30, "{age} s from the wall clock after a step to {offset}");
    }
}

#[tokio::test]
async fn a_step_forward_over_the_retention_deletes_nothing() {
    let mut stepped = Stepped::start().await;
    stepped.receiver.set_script(Behaviour::status(400));
    assert_eq!(stepped.service.source().track("dead").await, Some(StatusCode::OK));
    stepped.service.until("it is dead", async |it| it.status().await["ledger"]["dead"] == 1).await;
    // Ninety days ahead, and seconds before retention runs: at 15 s after every tenth minute.
    let ahead = 90 * DAY;
    let until_run = 600 - (wall() + ahead - 15).rem_euclid(600);
    stepped.step_to(ahead + until_run - 4).await;
    stepped
        .service
        .until("retention has run", async |it| it.log().contains("nothing is pruned"))
        .await;
    let page = stepped.service.client().get("/api/v1/dead-letters").await.unwrap().1;
    assert_eq!(page["items"].as_array().map(Vec::len), Some(1), "{page}");
    tokio::time::timeout(Duration::from_secs(5), stepped.service.terminate()).await.unwrap();
}
