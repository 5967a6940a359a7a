//! A full disk: intake answers 507, no acknowledged event is lost, deliveries continue, and intake accepts
//! events again once there is space.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::service::Service;
use crate::support::receiver::{Behaviour, Receiver};

/// A small tmpfs, if this user may mount one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, mebibytes: u32) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"])
            .arg(at)
            .status()
            .is_ok_and(|status| status.success());
        mounted.then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

async fn send_until_refused(service: &Service) -> (HashSet<String>, StatusCode) {
    let source = service.source();
    let mut acknowledged = HashSet::new();
    for number in 0.. {
        let id = format!("m-{number}");
        // Padded to fill the disk quickly.
        match source.track_padded(&id, 8_000).await.unwrap() {
            StatusCode::OK => {
                acknowledged.insert(id);
            }
            refused => return (acknowledged, refused),
        }
    }
    unreachable!("a disk is finite")
}

fn arrived(receiver: &Receiver) -> HashSet<String> {
    let id = |body: &[u8]| {
        let event: Value = serde_json::from_slice(body).unwrap();
        event["messageId"].as_str().unwrap().to_owned()
    };
    receiver.requests().iter().map(|request| id(&request.body)).collect()
}

#[tokio::test]
async fn no_acknowledged_event_is_lost_below_the_disk_floor_or_on_a_full_disk() {
    let dir = TempDir::new().unwrap();
    let Some(_disk) = SmallDisk::mount(dir.path(), 64) else {
        // Without a mount, the floor is set above the free space.
        return refused_below_the_floor(dir.path()).await;
    };
    let receiver = Receiver::start(Behaviour::hang()).await;
    let mut service = Service::in_dir(dir.path(), "min_free_disk_mib = 40\nlog = \"warn\"");
    service.start().await;
    service.apply(&[("one", &receiver.url("/"), json!({"timeout_ms": 1000}))]).await;
    let (acknowledged, refused) = send_until_refused(&service).await;
    assert_eq!(refused, StatusCode::INSUFFICIENT_STORAGE);
    // Deliveries continue below the floor.
    receiver.set_script(Behaviour::ok());
    let count = acknowledged.len();
    service
        .until("everything is delivered", async |it| {
            it.status().await["ledger"]["delivered"] == count
        })
        .await;
    assert!(acknowledged.is_subset(&arrived(&receiver)));
    // A completely full disk: another file takes the space that the floor reserves.
    let ballast = dir.path().join("ballast");
    let _ = std::fs::write(&ballast, vec![0; 64 * 1024 * 1024]);
    assert_ne!(service.source().track("full").await, Some(StatusCode::OK));
    // Operators can sign in although the audit entry cannot be written.
    assert_eq!(sign_in(&service, dir.path()).await, StatusCode::SEE_OTHER);
    std::fs::remove_file(&ballast).unwrap();
    service.write_settings("min_free_disk_mib = 0");
    service.kill();
    service.start().await;
    assert_eq!(service.source().track("again").await, Some(StatusCode::OK));
    let all = count + 1;
    service
        .until("the last is delivered", async |it| it.status().await["ledger"]["delivered"] == all)
        .await;
    let doctor = service.run(&["doctor"]);
    assert!(doctor.status.success(), "{}", String::from_utf8_lossy(&doctor.stdout));
}

#[tokio::test]
async fn a_restart_on_a_full_disk_checkpoints_the_wal_and_delivers_while_intake_answers_507() {
    let dir = TempDir::new().unwrap();
    let Some(_disk) = SmallDisk::mount(dir.path(), 128) else {
        return refused_below_the_floor(dir.path()).await;
    };
    let receiver = Receiver::start(Behaviour::hang()).await;
    let mut service = Service::in_dir(dir.path(), "min_free_disk_mib = 60\nlog = \"warn\"");
    service.start().await;
    service.apply(&[("one", &receiver.url("/"), json!({"timeout_ms": 1000}))]).await;
    let source = service.source();
    let mut acknowledged = HashSet::new();
    // More than is reserved ahead, less than is checkpointed.
    for number in 0..700 {
        let id = format!("m-{number}");
        assert_eq!(source.track_padded(&id, 8_000).await, Some(StatusCode::OK));
        acknowledged.insert(id);
    }
    let (database, wal) = (dir.path().join("postrider.db"), dir.path().join("postrider.db-wal"));
    let length = |path: &Path| std::fs::metadata(path).unwrap().len();
    assert!(length(&wal) > 8 << 20, "the events are in the WAL");
    assert!(length(&database) < 4 << 20, "and not in the database yet");
    service.kill();
    let ballast = dir.path().join("ballast");
    let _ = std::fs::write(&ballast, vec![0; 128 << 20]);
    service.start().await;
    assert!(length(&database) > 5 << 20, "the WAL was checkpointed");
    assert_eq!(service.source().track("full").await, Some(StatusCode::INSUFFICIENT_STORAGE));
    receiver.set_script(Behaviour::ok());
    service
        .until("everything is delivered", async |it| {
            it.status().await["ledger"]["delivered"] == acknowledged.len()
        })
        .await;
    assert!(acknowledged.is_subset(&arrived(&receiver)));
    // After an orderly stop, SQLite's files beside the database have to be created again.
    assert!(service.terminate().await);
    let _ = std::fs::OpenOptions::new()
        .append(true)
        .open(&ballast)
        .and_then(|mut file| std::io::Write::write_all(&mut file, &vec![0; 128 << 20]));
    service.start().await;
    assert_eq!(service.source().track("full").await, Some(StatusCode::INSUFFICIENT_STORAGE));
    std::fs::remove_file(&ballast).unwrap();
    service
        .until("intake accepts again", async |it| {
            it.source().track("again").await == Some(StatusCode::OK)
        })
        .await;
    let doctor = service.run(&["doctor"]);
    assert!(doctor.status.success(), "{}", String::from_utf8_lossy(&doctor.stdout));
}

/// Signs in to the pages with the operator's token.
async fn sign_in(service: &Service, dir: &Path) -> StatusCode {
    let token = std::fs::read_to_string(dir.join("postrider.db.token")).unwrap();
    let form = HeaderMap::from_iter([(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-www-form-urlencoded"),
    )]);
    let typed = format!("token={}", token.trim()).into();
    service.client().post_bytes("/sign-in", form, typed).await.unwrap().status
}

async fn refused_below_the_floor(dir: &Path) {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let mut service = Service::in_dir(dir, "min_free_disk_mib = 0");
    service.start().await;
    service.apply(&[("one", &receiver.url("/"), json!({}))]).await;
    assert_eq!(service.source().track("before").await, Some(StatusCode::OK));
    service.kill();
    service.write_settings("min_free_disk_mib = 1000000000");
    service.start().await;
    assert_eq!(service.source().track("below").await, Some(StatusCode::INSUFFICIENT_STORAGE));
    service
        .until("it is delivered", async |it| it.status().await["ledger"]["delivered"] == 1)
        .await;
}
