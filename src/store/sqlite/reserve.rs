//! Reserved disk space: blocks behind the database's end, for as many pages as the WAL adds and a few more. So a
//! checkpoint needs no free space, whatever else fills the disk.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

/// Reserved beyond the pages of the newest commit: more than is written between two measurements.
const AHEAD_BYTES: u64 = 4 << 20;
/// The unit of a file's blocks in stat(2).
const BLOCK_BYTES: u64 = 512;
/// With less free space at start, what is reserved is released for SQLite's files beside the database.
const LEAST_FREE_BYTES: u64 = 1 << 20;

/// Reserves blocks for a database of so many bytes, behind the end of its file. False when the disk has no room.
pub(super) fn extend(database: &File, bytes: u64) -> bool {
    // A truncated file has lost the blocks behind its end: what it has is asked for each time.
    let Ok(found) = database.metadata() else { return true };
    let needed = bytes.max(found.len());
    if needed + AHEAD_BYTES / 2 <= found.blocks() * BLOCK_BYTES {
        return true;
    }
    let length = needed + AHEAD_BYTES - found.len();
    match rustix::fs::fallocate(database, FallocateFlags::KEEP_SIZE, found.len(), length) {
        Ok(()) => true,
        Err(Errno::NOSPC | Errno::DQUOT) => false,
        Err(error) => {
            tracing::debug!(%error, "the file system reserves no blocks");
            true
        }
    }
}

/// Before the database is opened: on a full disk, releases what is reserved, so that SQLite can create its files.
/// While there is a WAL, its checkpoint needs the reserve, and its files exist.
pub(super) fn release_if_full(database: &File, path: &Path) {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    let is_checkpointed = std::fs::metadata(wal).map_or(true, |wal| wal.len() == 0);
    let is_full = rustix::fs::fstatvfs(database)
        .is_ok_and(|it| it.f_bavail.saturating_mul(it.f_frsize) < LEAST_FREE_BYTES);
    let Ok(found) = database.metadata() else { return };
    if is_checkpointed && is_full {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if let Err(error) = rustix::fs::fallocate(database, flags, found.len(), 4 * AHEAD_BYTES) {
            tracing::debug!(%error, "the file system releases no reserved blocks");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_reserved_ahead_of_the_end_and_released_on_a_full_disk_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("one.db");
        let file = File::create_new(&path).expect("a file");
        let reserved = || {
            let found = file.metadata().expect("there");
            (found.len(), found.blocks() * BLOCK_BYTES)
        };
        assert!(extend(&file, 1 << 20));
        let (length, bytes) = reserved();
        assert!(length == 0 && bytes >= (1 << 20) + AHEAD_BYTES, "{bytes}");
        assert!(extend(&file, 2 << 20));
        assert_eq!(reserved().1, bytes, "enough is reserved");
        release_if_full(&file, &path);
        assert_eq!(reserved().1, bytes, "the disk is not full");
        file.set_len(1 << 21).expect("grown");
        file.set_len(1 << 13).expect("truncated");
        assert!(reserved().1 < 1 << 20);
        assert!(extend(&file, 1 << 20));
        assert!(reserved().1 >= (1 << 20) + AHEAD_BYTES, "reserved again");
    }
}
