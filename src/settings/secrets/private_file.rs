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
    let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(SecretError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text).map_err(failed)?;
    Ok(Some(text))
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
