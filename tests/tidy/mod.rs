//! Style as tests: the rules of CONTRIBUTING.md and ARCHITECTURE.md on layers, cycles, names, prose and
//! documents are checked on every run.

#![expect(clippy::wildcard_enum_match_arm, reason = "syn's enums of syntax are non-exhaustive")]

mod cycles;
mod docs;
mod figures;
mod layering;
mod licences;
mod modules;
mod names;
mod prose;
mod references;
mod tokens;

use std::fs;
use std::path::{Path, PathBuf};

/// A text file of the project, by its path from the root.
pub(crate) struct SourceFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `folders` with this extension, in order.
pub(crate) fn files(folders: &[&str], extension: &str) -> Vec<SourceFile> {
    let mut paths = Vec::new();
    for folder in folders {
        collect(&root().join(folder), &mut paths);
    }
    paths.sort();
    let wanted =
        paths.into_iter().filter(|path| path.extension().is_some_and(|is| is == extension));
    let files: Vec<SourceFile> = wanted
        .map(|path| SourceFile {
            text: fs::read_to_string(&path).expect("a readable file"),
            path: path.strip_prefix(root()).expect("below the root").display().to_string(),
        })
        .collect();
    assert!(!files.is_empty(), "no .{extension} file below {folders:?}");
    files
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_file() {
            paths.push(path);
        } else if name != "node_modules" && name != ".venv" && name != "target" {
            collect(&path, paths);
        }
    }
}

fn rust_files() -> Vec<SourceFile> {
    files(&["src", "tests"], "rs")
}

/// The project's documents, in Markdown.
fn documents() -> Vec<SourceFile> {
    let mut documents = files(&["docs"], "md");
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(root().join(name)).expect("a document of the project");
        documents.push(SourceFile { path: name.to_owned(), text });
    }
    documents
}

fn assert_none(faults: &[String], rule: &str) {
    assert!(faults.is_empty(), "{rule}:\n{}", faults.join("\n"));
}

/// Longest file, in lines.
const LINES: usize = 500;

#[test]
fn no_file_is_too_long() {
    let faults: Vec<String> = rust_files()
        .iter()
        .map(|file| (&file.path, file.text.lines().count()))
        .filter(|(_, lines)| *lines > LINES)
        .map(|(path, lines)| format!("{path}: {lines} lines, at most {LINES}"))
        .collect();
    assert_none(&faults, "split it by noun");
}

#[test]
fn every_file_says_what_it_owns() {
    let faults: Vec<String> =
        rust_files().iter().filter_map(|file| head_fault(&file.path, &file.text)).collect();
    assert_none(&faults, "a file opens with one to five lines of `//!`");
}

/// The first paragraph is what counts: more may follow it after an empty `//!` line.
fn head_fault(path: &str, text: &str) -> Option<String> {
    let head: Vec<&str> = text.lines().take_while(|line| line.starts_with("//!")).collect();
    let first = head.iter().take_while(|line| line.trim() != "//!").count();
    if head.first().is_some_and(|line| line.starts_with("//! To come")) {
        return Some(format!("{path}: its head is still a promise"));
    }
    (!(1..=5).contains(&first)).then(|| format!("{path}: {first} lines"))
}

#[test]
fn a_bad_head_is_noticed() {
    assert!(head_fault("a.rs", "use std::fmt;\n").is_some());
    assert!(head_fault("a.rs", "//!\n//! Late.\n").is_some());
    assert!(head_fault("a.rs", &"//! Long.\n".repeat(6)).is_some());
    assert!(head_fault("a.rs", "//! To come: a.\n").is_some());
    assert!(head_fault("a.rs", "//! Owns a.\n//!\n//! More of it.\n").is_none());
}
