//! Packages: what `deploy/package` makes installs and runs; the image is built from all that the program is built from.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn file_ending(folder: &Path, ending: &str) -> PathBuf {
    let mut files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.to_string_lossy().ends_with(ending)).unwrap()
}

/// The command that packages the program under test.
fn packaging(folder: &Path) -> Command {
    let mut command = Command::new("deploy/package");
    command.arg(folder).env("POSTRIDER_BINARY", env!("CARGO_BIN_EXE_postrider"));
    command
}

#[test]
fn a_program_that_has_grown_too_large_is_not_packaged() {
    let folder = tempfile::tempdir().unwrap();
    let output = packaging(folder.path()).env("POSTRIDER_SIZE_LIMIT_MB", "1").output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && errors.contains("MB, and should have less than 1"),
        "{errors}"
    );
    let packaged = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let programs = packaged.filter(|path| !path.to_string_lossy().ends_with(".cdx.json"));
    assert_eq!(programs.count(), 0);
}

#[test]
fn a_package_is_installed_runs_its_service_and_is_removed_without_the_database() {
    let folder = tempfile::tempdir().unwrap();
    // A debug build is larger than what is shipped.
    run(packaging(folder.path()).env("POSTRIDER_SIZE_LIMIT_MB", "500"));
    run(Command::new("sha256sum")
        .args(["--check", "--strict"])
        .arg(folder.path().join("SHA256SUMS"))
        .current_dir(folder.path()));

    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let package = file_ending(folder.path(), ".deb");
    let installed = run(Command::new("unshare")
        .args(["--mount", "tests/process/package_installed.sh"])
        .arg(&package)
        .arg(address.to_string()));
    assert!(installed.ends_with("installed, ran, removed\n"), "{installed}");

    let archive = file_ending(folder.path(), ".tar.gz");
    let files = run(Command::new("tar").arg("--list").arg("--file").arg(&archive));
    for name in ["postrider", "LICENSE", "NOTICE", "README.md", "CHANGELOG.md", "SECURITY.md"] {
        assert!(files.lines().any(|file| file.ends_with(&format!("/{name}"))), "{name}: {files}");
    }
    let bill = std::fs::read(file_ending(folder.path(), ".cdx.json")).unwrap();
    let bill: Value = serde_json::from_slice(&bill).unwrap();
    let components = bill["components"].as_array().unwrap();
    assert!(components.iter().any(|it| it["name"] == "sqlx"), "{bill}");
    let unlicensed = |it: &&Value| it["licenses"].as_array().is_none_or(Vec::is_empty);
    assert_eq!(components.iter().find(unlicensed), None, "a licence of each");
}

/// The folders and files that the image is built from.
fn copied() -> Vec<String> {
    let image = std::fs::read_to_string(Path::new(ROOT).join("Dockerfile")).unwrap();
    let copies = image.lines().filter_map(|line| line.strip_prefix("COPY "));
    let sources = copies.filter(|line| !line.starts_with("--from"));
    sources
        .flat_map(|line| line.split(' ').rev().skip(1).map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// What the compiler said that it read for the library: `LIBRARY: FILE …`.
fn read_by_the_compiler() -> String {
    let built = Path::new(env!("CARGO_BIN_EXE_postrider")).parent().unwrap().join("deps");
    let files = std::fs::read_dir(built).unwrap().map(|entry| entry.unwrap().path());
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("postrider-") && name.ends_with(".d")
    };
    let lists = files.filter(is_ours).filter_map(|path| {
        let text = std::fs::read_to_string(&path).unwrap();
        let is_library = |line: &&str| line.contains("/libpostrider-") && line.contains(".rlib: ");
        let of_library = text.lines().find(is_library)?.to_owned();
        Some((std::fs::metadata(&path).unwrap().modified().unwrap(), of_library))
    });
    lists.max().unwrap().1
}

#[test]
fn the_image_is_built_from_all_that_the_compiler_reads() {
    let copied = copied();
    let read = read_by_the_compiler();
    let (_, inputs) = read.split_once(": ").unwrap();
    let inputs = inputs.lines().next().unwrap();
    let inputs: BTreeSet<&str> = inputs
        .split_whitespace()
        .map(|path| path.strip_prefix(ROOT).map_or(path, |path| path.trim_start_matches('/')))
        .collect();
    assert!(inputs.contains("src/lib.rs") && inputs.len() > 100, "{inputs:?}");
    let is_copied = |path: &&&str| copied.iter().any(|it| Path::new(path).starts_with(it));
    let missing: Vec<_> = inputs.iter().filter(|path| !is_copied(path)).collect();
    assert_eq!(missing, Vec::<&&str>::new(), "the Dockerfile does not copy them");

    let ignore = std::fs::read_to_string(Path::new(ROOT).join(".dockerignore")).unwrap();
    for path in copied {
        assert!(ignore.lines().any(|line| line == format!("!{path}")), "{path} is ignored");
    }
}

#[test]
fn cargo_finds_its_targets_where_only_what_the_image_copies_is() {
    let folder = tempfile::tempdir().unwrap();
    for path in copied() {
        run(Command::new("cp").args(["--recursive", "--dereference"]).arg(path).arg(folder.path()));
    }
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--offline", "--no-deps"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&metadata.stderr);
    assert!(metadata.status.success(), "{errors}");
}
