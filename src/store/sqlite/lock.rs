//! The lock of a database admits one process. It is on the database file itself, so that it holds under every
//! path and link that leads to the file, and on a file beside it, which shows who holds it and keeps the path
//! when the database is replaced. Both locks are flock(2): SQLite's are POSIX locks, which do not see them.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::fd::IntoRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::open::OpenError;

/// The flag of open(2) that refuses a symbolic link.
const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
/// Where Linux lists the locks of all files.
const LOCKS: &str = "/proc/locks";
/// NFS has flock(2) as POSIX locks, which would exclude SQLite's own.
const NFS_MAGIC: u64 = 0x6969;

/// The lock, released when dropped: after every connection to the file, because to close a descriptor of a
/// file releases all POSIX locks of the process on it.
#[derive(Debug)]
pub(super) struct DatabaseLock {
    path: PathBuf,
    beside: File,
    database: Arc<File>,
}

impl DatabaseLock {
    /// Takes the lock of the database at `given`; creates the file, mode 0600, when it is missing.
    pub(super) fn take(given: &Path) -> Result<Self, OpenError> {
        let unusable = |path: &Path, source| OpenError::Unreadable {
            path: path.display().to_string(),
            source,
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        if !given.exists() {
            options.open(given).map_err(|source| unusable(given, source))?;
        }
        // SQLite names its files by the path without links.
        let path = given.canonicalize().map_err(|source| unusable(given, source))?;
        let name = lock_path(&path);
        // The target of a link is not this store's to lock and to write.
        let beside = options.clone().custom_flags(NO_FOLLOW).open(&name);
        let mut beside = beside.map_err(|source| unusable(&name, source))?;
        let private = beside.set_permissions(Permissions::from_mode(0o600));
        private.map_err(|source| unusable(&name, source))?;
        let in_use = |holder: Option<String>| OpenError::InUse {
            path: given.display().to_string(),
            holder: holder.unwrap_or_else(|| "another process".to_owned()),
        };
        match beside.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(in_use(named(&mut beside).or_else(|| holder_of(&beside))));
            }
            Err(TryLockError::Error(source)) => return Err(unusable(&name, source)),
        }
        let database = options.open(&path).map_err(|source| unusable(&path, source))?;
        if !lock_file(&database).map_err(|source| unusable(&path, source))? {
            let holder = holder_of(&database);
            // Were it closed, another store of this process would lose its POSIX locks on the file.
            let _kept_open = database.into_raw_fd();
            return Err(in_use(holder));
        }
        write_holder(&mut beside, &name);
        Ok(Self { path, beside, database: Arc::new(database) })
    }

    /// The database's path without links.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The database file.
    pub(super) fn database(&self) -> &Arc<File> {
        &self.database
    }

    /// The lock file beside it, with its path.
    pub(super) fn beside(&self) -> (PathBuf, &File) {
        (lock_path(&self.path), &self.beside)
    }
}

/// Locks the database file; false when another process has it locked. A file system without such locks has the
/// lock file alone.
fn lock_file(database: &File) -> std::io::Result<bool> {
    let is_nfs = rustix::fs::fstatfs(database)
        .is_ok_and(|it| u64::try_from(it.f_type).is_ok_and(|kind| kind == NFS_MAGIC));
    if is_nfs {
        return Ok(true);
    }
    match database.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {
            tracing::warn!(%error, "the database file cannot be locked: the lock file alone is");
            Ok(true)
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn lock_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// Writes the process id over that of the last holder: on a full disk there is no room to truncate first.
fn write_holder(beside: &mut File, path: &Path) {
    let text = format!("{}\n", std::process::id());
    let written = beside
        .rewind()
        .and_then(|()| beside.write_all(text.as_bytes()))
        .and_then(|()| beside.set_len(text.len() as u64));
    if let Err(error) = written {
        let path = path.display();
        tracing::warn!(%error, %path, "the process id was not written to the lock file");
    }
}

/// The holder as the lock file names it; the process id may be missing or incomplete.
fn named(beside: &mut File) -> Option<String> {
    let mut text = String::new();
    beside.read_to_string(&mut text).ok()?;
    let process: u32 = text.trim().parse().ok()?;
    Some(format!("process {process}"))
}

/// The holder of a file's lock, where Linux tells it.
fn holder_of(file: &File) -> Option<String> {
    let inode = file.metadata().ok()?.ino();
    let locks = std::fs::read_to_string(LOCKS).ok()?;
    locks.lines().find_map(|line| holder_in(line, inode))
}

/// The holder in a line such as `1: FLOCK  ADVISORY  WRITE 4711 08:01:131085 0 EOF`, if it is of this inode.
fn holder_in(line: &str, inode: u64) -> Option<String> {
    let mut words = line.split_whitespace().skip_while(|word| *word != "FLOCK").skip(3);
    let process: u32 = words.next()?.parse().ok()?;
    let (_device, of) = words.next()?.rsplit_once(':')?;
    (of.parse() == Ok(inode)).then(|| format!("process {process}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_read_from_the_list_of_locks() {
        let line = "3: FLOCK  ADVISORY  WRITE 4711 08:01:131085 0 EOF";
        assert_eq!(holder_in(line, 131_085).as_deref(), Some("process 4711"));
        assert_eq!(holder_in(line, 131_086), None);
        for other in ["", "1: POSIX  ADVISORY  READ 1 08:01:131085 0 EOF", "2: FLOCK  ADVISORY"] {
            assert_eq!(holder_in(other, 131_085), None, "{other}");
        }
    }
}
