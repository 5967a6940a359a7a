//! Files with secrets: mode 0600, created atomically, durable before use.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use super::error::SecretError;

/// Reads a file; `None` when it does not exist. Refuses a file that group or others can read.
pub(super) fn read(path: &Path) -> Result<Option<Zeroizing<String>>, SecretError> {
    let failed = |source| SecretError::File { path: path.to_owned(), what: "read", source };
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let metadata = file.metadata().map_err(failed)?;
    check(path, metadata.uid(), metadata.mode() & 0o7777, rustix::process::geteuid().as_raw())?;
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text).map_err(failed)?;
    Ok(Some(text))
}

/// Refuses a file whose owner, who can change it, is neither this process's user nor root, and one that
/// group or others can read.
fn check(path: &Path, owner: u32, mode: u32, user: u32) -> Result<(), SecretError> {
    if owner != user && owner != 0 {
        return Err(SecretError::Foreign { path: path.to_owned(), owner, user });
    }
    if mode & 0o077 != 0 {
        return Err(SecretError::Exposed { path: path.to_owned(), mode });
    }
    Ok(())
}

/// Creates a file with mode 0600 atomically; never replaces an existing one.
pub(super) fn create(path: &Path, text: &str) -> Result<(), SecretError> {
    let failed = |source| SecretError::File { path: path.to_owned(), what: "created", source };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.write_all(b"\n").map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist_noclobber(path).map_err(|error| failed(error.error))?;
    // fsync of the directory: secrets sealed with a lost key are lost.
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_owner_is_refused() {
        let path = Path::new("postrider.db.key");
        assert!(check(path, 1000, 0o600, 1000).is_ok());
        assert!(check(path, 0, 0o600, 1000).is_ok(), "root can read and change any file");
        for (owner, user) in [(1000, 0), (1001, 1000)] {
            let refused = check(path, owner, 0o600, user);
            assert!(matches!(refused, Err(SecretError::Foreign { .. })), "{owner} {user}");
        }
        let refused = check(path, 1000, 0o640, 1000);
        assert!(matches!(refused, Err(SecretError::Exposed { .. })));
    }
}
