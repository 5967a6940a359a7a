//! The book in `docs/`: it builds, its links lead somewhere, its commands run, its examples hold, and what is written from
//! the program is current.

mod commands;
mod examples;
mod pages;
mod reference;

use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The text of a file of the project.
fn text_of(path: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A program that `tests/book/install` installed, or the one in the PATH.
fn installed(name: &str) -> PathBuf {
    let here = Path::new(ROOT).join("tests/book/bin").join(name);
    if here.is_file() { here } else { PathBuf::from(name) }
}

/// A fenced block of a page.
#[derive(Debug)]
struct Block {
    /// The words after the fence.
    kind: String,
    text: String,
}

/// The fenced blocks of a page, in order; those in HTML comments too, which readers do not see.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else { continue };
        let inner: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push(Block { kind: kind.to_owned(), text: inner.join("\n") });
    }
    blocks
}

/// Runs a command that has to succeed; what it printed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{command:?}: {printed}{errors}");
    printed.into_owned()
}
