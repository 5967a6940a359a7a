//! `postrider dev`: its deliveries, its report, and the commands that it suggests.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::service::postrider;

#[test]
fn dev_delivers_every_type_to_both_destinations_and_shows_the_retry() {
    let output = postrider().args(["--json", "dev", "--exit"]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report["delivered"].as_u64(), report["of"].as_u64()), (Some(14), Some(14)));
    let events = report["events"].as_array().unwrap();
    let types: Vec<_> = events.iter().map(|it| it["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["identify", "track", "page", "screen", "group", "alias", "delete"]);
    for event in events {
        let deliveries = event["deliveries"].as_array().unwrap();
        let flaky = deliveries.iter().find(|it| it["destination"] == "flaky").unwrap();
        let attempts: Vec<_> = flaky["attempts"].as_array().unwrap().iter().collect();
        assert_eq!(attempts, ["503 (server_error)", "503 (server_error)", "200"]);
        for delivery in deliveries {
            assert_eq!(delivery["verified"], true);
            assert_eq!(delivery["state"], "delivered");
        }
    }
}

#[test]
fn dev_prints_a_readable_report() {
    let output = postrider().args(["dev", "--exit"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("14 of 14 delivered and verified."), "{text}");
    assert!(text.contains("signature verified"), "{text}");
}

/// Kills the process at the end of the test.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn every_command_that_dev_suggests_works_when_pasted() {
    let mut dev = KillOnDrop(postrider().arg("dev").stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(dev.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let suggested: Vec<String> = lines
        .by_ref()
        .skip_while(|line| !line.contains("in another terminal"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .collect();
    assert!(suggested.len() >= 7, "{suggested:#?}");
    for command in &suggested {
        let output = Command::new("sh").args(["-c", command]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{command}: {said}");
        assert!(!said.contains("\"success\":false"), "{command}: {said}");
    }
    // Two of the commands send an event, each delivered to both destinations.
    let shown = lines.by_ref().filter(|line| line.contains("signature verified")).take(4).count();
    assert_eq!(shown, 4);
    let pid = rustix::process::Pid::from_child(&dev.0);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(dev.0.wait().unwrap().success());
}
