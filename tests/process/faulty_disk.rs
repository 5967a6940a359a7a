//! I/O errors: after a failed write or fsync the state on disk is unknown, so the process logs it and exits;
//! the next start recovers every acknowledged event.

use std::path::{Path, PathBuf};
use std::process::Command;

use http::StatusCode;
use serde_json::json;
use tempfile::TempDir;

use super::service::Service;
use crate::support::receiver::{Behaviour, Receiver};

/// Compiles the LD_PRELOAD shim that injects I/O faults.
pub(super) fn shim(dir: &Path) -> PathBuf {
    compile(dir, "faulty_disk")
}

/// Compiles an LD_PRELOAD shim of this folder.
pub(super) fn compile(dir: &Path, name: &str) -> PathBuf {
    let shim = dir.join(format!("{name}.so"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/process");
    let source = folder.join(format!("{name}.c"));
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([shim.as_os_str(), source.as_os_str()])
        .arg("-ldl")
        .status()
        .expect("a C compiler, which the bundled SQLite needs as well");
    assert!(compiled.success());
    shim
}

async fn ends_and_recovers(fault: &str) {
    let dir = TempDir::new().unwrap();
    let order = dir.path().join("order");
    let receiver = Receiver::start(Behaviour::ok()).await;
    let mut service = Service::in_dir(dir.path(), "min_free_disk_mib = 0\nlog = \"warn\"");
    service.set_env("LD_PRELOAD", shim(dir.path()));
    service.set_env("FAULTY_DISK", &order);
    service.start().await;
    service.apply(&[("one", &receiver.url("/"), json!({}))]).await;
    let source = service.source();
    for number in 0..20 {
        assert_eq!(source.track(&format!("m-{number}")).await, Some(StatusCode::OK));
    }
    std::fs::write(&order, fault).unwrap();
    let refused = source.track("not-on-disk").await;
    assert_ne!(refused, Some(StatusCode::OK), "an event that is not durable was acknowledged");
    let status = service.ended().await;
    assert!(!status.success(), "{status}");
    let log = service.log();
    assert!(log.contains("disk I/O error"), "{log}");

    std::fs::remove_file(&order).unwrap();
    service.start().await;
    assert_eq!(service.source().track("after").await, Some(StatusCode::OK));
    service
        .until("everything is delivered", async |it| {
            let ledger = &it.status().await["ledger"];
            ledger["delivered"] == ledger["accepted"]
        })
        .await;
    let bodies: Vec<String> = receiver
        .requests()
        .iter()
        .map(|request| String::from_utf8_lossy(&request.body).into_owned())
        .collect();
    let arrived = |id: &str| bodies.iter().any(|body| body.contains(&format!("\"{id}\"")));
    for number in 0..20 {
        assert!(arrived(&format!("m-{number}")), "m-{number} was acknowledged and is lost");
    }
    assert!(arrived("after"));
    let doctor = service.run(&["doctor"]);
    assert!(doctor.status.success(), "{}", String::from_utf8_lossy(&doctor.stdout));
}

#[tokio::test]
async fn a_failed_fsync_ends_the_process_and_loses_nothing_acknowledged() {
    ends_and_recovers("fsync").await;
}

#[tokio::test]
async fn a_failed_write_ends_the_process_and_loses_nothing_acknowledged() {
    ends_and_recovers("write").await;
}
