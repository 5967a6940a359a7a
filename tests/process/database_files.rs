//! The database's files under the real binary: a second process is refused by any path, and a process whose files
//! are removed ends instead of acknowledging.

use std::process::{Command, Stdio};

use http::StatusCode;
use serde_json::json;
use tempfile::TempDir;

use super::service::{Service, postrider};
use crate::support::receiver::{Behaviour, Receiver};

#[tokio::test]
async fn a_second_process_is_refused_through_a_link_and_without_the_lock_file() {
    let dir = TempDir::new().unwrap();
    let mut service = Service::in_dir(dir.path(), "min_free_disk_mib = 0\nlog = \"warn\"");
    service.start().await;
    let database = dir.path().join("postrider.db");
    let [link, hard] = ["link.db", "hard.db"].map(|name| dir.path().join(name));
    std::os::unix::fs::symlink(&database, &link).unwrap();
    std::fs::hard_link(&database, &hard).unwrap();
    let refused = |path: &std::path::Path| {
        let database = format!("sqlite://{}", path.display());
        let mut second = postrider();
        second.args(["serve", "--listen", "127.0.0.1:0", "--database", &database]);
        let output = second.current_dir(dir.path()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{told}");
        let error = told.lines().find(|line| line.contains("is in use by process"));
        assert!(error.is_some(), "{}: {told}", path.display());
    };
    for path in [&link, &hard, &dir.path().join("../").join(dir.path()).join("postrider.db")] {
        refused(path);
    }
    service.kill();
    service.start().await;
    assert!(service.run(&["doctor"]).status.success());
}

#[tokio::test]
async fn a_second_process_is_refused_through_a_bind_mount() {
    let dir = TempDir::new().unwrap();
    let other = TempDir::new().unwrap();
    let mut service = Service::in_dir(dir.path(), "min_free_disk_mib = 0\nlog = \"warn\"");
    service.start().await;
    // Of the whole folder, with the lock file; and of the database file alone, without it.
    let file = other.path().join("elsewhere.db");
    std::fs::write(&file, "").unwrap();
    let folder = other.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    let database = dir.path().join("postrider.db");
    for (from, to, path) in
        [(dir.path(), &folder, folder.join("postrider.db")), (&*database, &file, file.clone())]
    {
        let program = postrider();
        let script = "mount --bind \"$1\" \"$2\" && exec \"$3\" serve --listen 127.0.0.1:0 --database \"$4\"";
        let mut second = Command::new("unshare");
        second.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]);
        second.args([from, to.as_path()]).arg(program.get_program());
        second.arg(format!("sqlite://{}", path.display())).current_dir(other.path());
        for (name, _) in program.get_envs() {
            second.env_remove(name);
        }
        let output = second.stdin(Stdio::null()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{told}");
        let error = told.lines().find(|line| line.contains("is in use by"));
        assert!(error.is_some(), "{}: {told}", path.display());
    }
    let source = service.source();
    assert_eq!(source.track("after").await.map(|it| it.as_u16()), Some(401), "it goes on");
    assert!(service.run(&["doctor"]).status.success());
}

#[tokio::test]
async fn a_process_whose_files_are_removed_acknowledges_nothing_and_ends() {
    for name in ["postrider.db", "postrider.db-wal", "postrider.db-shm", "postrider.db.lock"] {
        let receiver = Receiver::start(Behaviour::ok()).await;
        let dir = TempDir::new().unwrap();
        let mut service = Service::in_dir(dir.path(), "min_free_disk_mib = 0\nlog = \"warn\"");
        service.start().await;
        service.apply(&[("one", &receiver.url("/"), json!({}))]).await;
        let source = service.source();
        assert_eq!(source.track("before").await, Some(StatusCode::OK));
        std::fs::remove_file(dir.path().join(name)).unwrap();
        for number in 0..10 {
            let answer = source.track(&format!("lost-{number}")).await;
            assert_ne!(answer, Some(StatusCode::OK), "{name}: acknowledged into nothing");
        }
        let status = service.ended().await;
        assert_eq!(status.code(), Some(1), "{name}");
        let log = service.log();
        assert!(log.contains(&format!("{name} was removed while the service ran")), "{log}");
    }
}

#[tokio::test]
async fn a_wrong_ledger_is_repaired_offline_with_an_audit_entry() {
    let receiver = Receiver::start(Behaviour::status(404)).await;
    let dir = TempDir::new().unwrap();
    let mut service = Service::in_dir(dir.path(), "min_free_disk_mib = 0\nlog = \"warn\"");
    service.start().await;
    service.apply(&[("one", &receiver.url("/"), json!({}))]).await;
    for number in 0..3 {
        assert_eq!(service.source().track(&format!("m-{number}")).await, Some(StatusCode::OK));
    }
    service.until("all are dead", async |it| it.status().await["ledger"]["dead"] == 3).await;
    let running = service.run(&["doctor", "--repair"]);
    assert!(!running.status.success(), "a service runs on it");
    assert!(String::from_utf8_lossy(&running.stderr).contains("is in use by process"));
    assert!(service.terminate().await);
    let wrong = "UPDATE ledger SET accepted = 7, dead = 1, pending = 5, delivered = 1";
    crate::store::sqlite::execute(&dir.path().join("postrider.db"), wrong).await.unwrap();
    let shown = |arguments: &[&str]| {
        let output = service.run(arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text)
    };
    assert_eq!(shown(&["doctor", "--offline"]).0, Some(1), "the check finds it");
    let (code, text) = shown(&["doctor", "--repair", "--dry-run"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("nothing was changed (dry run)"), "{text}");
    let (code, text) = shown(&["doctor", "--repair", "--json"]);
    let repair: serde_json::Value = serde_json::from_str(&text).unwrap();
    let told = |of: &str| {
        let it = &repair[of];
        ["accepted", "pending", "delivered", "dead"].map(|state| it[state].as_u64().unwrap())
    };
    assert_eq!((code, &repair["repaired"]), (Some(0), &json!(true)));
    assert_eq!((told("before"), told("after")), ([7, 5, 1, 1], [3, 0, 0, 3]));
    let (code, text) = shown(&["doctor", "--repair"]);
    assert_eq!(code, Some(0));
    assert!(text.contains("nothing to repair"), "{text}");
    assert_eq!(shown(&["doctor", "--offline"]).0, Some(0));
    service.start().await;
    let audit = service.client().get("/api/v1/audit?action=repair_ledger").await.unwrap().1;
    let entries = audit["items"].as_array().unwrap();
    assert_eq!(entries.len(), 1, "neither the dry run nor the idle repair: {audit}");
    assert_eq!(entries[0]["before"]["dead"], 1);
    assert_eq!(entries[0]["after"]["dead"], 3);
}
