//! The identity of the database's files: database, WAL, WAL index and lock file. A file that is removed or
//! replaced while the store is open takes what is written to it with it: the writer compares after each commit,
//! before it acknowledges anything.

use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::store::failure::LostFile;

/// The files that were opened.
#[derive(Debug)]
pub(super) struct FileIdentities(Vec<FileIdentity>);

#[derive(Debug)]
struct FileIdentity {
    path: PathBuf,
    id: (u64, u64),
}

impl FileIdentities {
    /// Notes the files of a database, by its path, and its lock file; SQLite has created the WAL and its index
    /// by now.
    pub(super) fn of(
        (path, database): (&Path, &File),
        (lock_path, lock): (PathBuf, &File),
    ) -> std::io::Result<Self> {
        let mut files = vec![
            FileIdentity::of(path.to_owned(), &database.metadata()?),
            FileIdentity::of(lock_path, &lock.metadata()?),
        ];
        for suffix in ["-wal", "-shm"] {
            let path = with_suffix(path, suffix);
            // Not opened: to close the WAL index would release SQLite's locks on it.
            let found = std::fs::metadata(&path)?;
            files.push(FileIdentity::of(path, &found));
        }
        Ok(Self(files))
    }

    /// Compares them with what is at their paths now.
    pub(super) fn check(&self) -> Result<(), LostFile> {
        self.0.iter().try_for_each(FileIdentity::check)
    }
}

impl FileIdentity {
    fn of(path: PathBuf, found: &Metadata) -> Self {
        Self { path, id: (found.dev(), found.ino()) }
    }

    fn check(&self) -> Result<(), LostFile> {
        let what = match std::fs::metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == self.id => return Ok(()),
            Ok(_) => "replaced",
            Err(error) if is_gone(error.kind()) => "removed",
            // Nothing is known of the file.
            Err(_) => return Ok(()),
        };
        Err(LostFile { path: self.path.display().to_string(), what })
    }
}

fn is_gone(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
