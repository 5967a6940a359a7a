//! The database's files: one store per file, whatever path leads to it; a file that is removed or replaced under
//! the store ends it before anything is acknowledged.

use std::path::{Path, PathBuf};

use postrider::store::sqlite::OpenError;
use postrider::store::{Engine as _, NewEvent, StoreError};
use std::sync::Arc;

use super::sqlite::{SqliteFactory, open};
use super::world::World;

fn with(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

async fn holder_of(path: &Path) -> String {
    match open(path).await {
        Err(OpenError::InUse { holder, .. }) => holder,
        Err(error) => panic!("{}: {error}", path.display()),
        Ok(_) => panic!("{} was opened twice", path.display()),
    }
}

#[tokio::test]
async fn a_second_store_is_refused_under_every_path_that_leads_to_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    std::fs::create_dir(&data).expect("made");
    let path = data.join("postrider.db");
    let first = open(&path).await.expect("a store");
    let [link, hard, linked] = ["link.db", "hard.db", "linked"].map(|it| directory.path().join(it));
    std::os::unix::fs::symlink(&path, &link).expect("linked");
    std::os::unix::fs::symlink(&data, &linked).expect("linked");
    std::fs::hard_link(&path, &hard).expect("linked");
    let held_by = format!("process {}", std::process::id());
    let roundabout = data.join("../data/./postrider.db");
    for other in [&path, &link, &hard, &linked.join("postrider.db"), &roundabout] {
        assert_eq!(holder_of(other).await, held_by, "{}", other.display());
    }
    std::fs::remove_file(with(&path, ".lock")).expect("removed");
    assert_eq!(holder_of(&path).await, held_by, "its lock file was removed");
    // What was refused has not disturbed the first one's own locks.
    std::fs::remove_file(&hard).expect("removed");
    first.close().await;
    open(&link).await.expect("free again").close().await;
    assert!(!with(&link, "-wal").exists() && !with(&link, ".lock").exists());
}

fn new_event(world: &World, message_id: &str) -> NewEvent {
    let event = Arc::new(world.event(message_id));
    NewEvent { event, deliveries: vec![world.pending(world.a)], skips: Vec::new() }
}

#[tokio::test]
async fn nothing_is_acknowledged_into_a_file_that_was_removed_or_replaced() {
    for suffix in ["", "-wal", "-shm", ".lock"] {
        for is_replaced in [false, true] {
            let factory = SqliteFactory::new();
            let file = with(&factory.path(), suffix);
            let world = World::new(factory).await;
            world.accept_pending("before", world.a).await;
            assert_eq!(world.store.failure(), None);
            let copy = std::fs::read(&file).expect("read");
            // As by a tool that restores a file; the inode of the old one is kept in use.
            std::fs::rename(&file, file.with_extension("old")).expect("moved");
            if is_replaced {
                std::fs::write(&file, copy).expect("written");
            }
            let error = world.store.accept(vec![new_event(&world, "lost")]).await;
            let error = error.expect_err("it would be acknowledged into nothing");
            assert!(matches!(error, StoreError::Database { .. }), "{error:?}");
            let cause = world.store.failure().expect("it has failed for good");
            let what = if is_replaced { "replaced" } else { "removed" };
            let expected = format!("{} was {what} while", file.display());
            assert!(cause.starts_with(&expected), "{cause}");
            assert_eq!(world.store.failed().await, cause);
            let again = world.store.accept(vec![new_event(&world, "again")]).await;
            assert!(matches!(again, Err(StoreError::Closed)), "{again:?}");
            world.store.close().await;
            // The file that is at the path by now is left alone.
            assert_eq!(file.exists(), is_replaced, "{}", file.display());
        }
    }
}
