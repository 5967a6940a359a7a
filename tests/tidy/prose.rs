//! Prose: comments, texts, pages and documents use the standard terms of databases, queues and HTTP.
//! Each phrase here has one that says more.

use super::{SourceFile, assert_none, documents, files};

/// The phrase, and the standard term.
const PHRASES: &[(&str, &str)] = &[
    ("begins anew", "is reset, is restarted"),
    ("brought into the file", "checkpointed"),
    ("let go of", "released, dropped"),
    ("lets go of", "releases, drops"),
    ("given back", "released"),
    ("give back", "release"),
    ("gives back", "releases"),
    ("hand over", "dispatch"),
    ("hands over", "dispatches"),
    ("handed over", "dispatched"),
    ("is told", "is notified, receives, reads"),
    ("are told", "are notified, receive, read"),
    ("told to a collector", "exported over OTLP"),
    ("fails throughout", "has its circuit open"),
    ("at fault", "that caused the error"),
    ("goes along", "is included"),
    ("in every disguise", "encoded forms included"),
    ("99 of 100", "p99"),
    ("half and 99", "p50 and p99"),
    ("whoever", "the client, the operator, the caller"),
    ("somebody", "the client, the operator, the caller"),
    ("nobody", "no client, no operator, no caller"),
    ("by itself", "alone, automatically"),
];

#[test]
fn prose_uses_the_standard_terms() {
    let mut texts = documents();
    texts.extend(files(&["src"], "rs"));
    texts.extend(files(&["templates"], "html"));
    assert_none(&texts.iter().flat_map(faults).collect::<Vec<_>>(), "say it by its standard term");
}

fn faults(file: &SourceFile) -> Vec<String> {
    let lines = file.text.lines().enumerate().flat_map(|(at, line)| {
        let line = line.to_lowercase();
        let found = PHRASES.iter().filter(move |(phrase, _)| has(&line, phrase));
        found.map(move |(phrase, term)| format!("{}:{}: {phrase} ({term})", file.path, at + 1))
    });
    lines.collect()
}

/// Whether the line contains the phrase in whole words.
fn has(line: &str, phrase: &str) -> bool {
    line.match_indices(phrase).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + phrase.len()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
}

#[test]
fn a_phrase_is_noticed_in_whole_words() {
    let text =
        "/// Whoever reads.\nfn a() {} // it is told\n/// fullback, misgiven back, a told.\n";
    let file = SourceFile { path: "a.rs".to_owned(), text: text.to_owned() };
    let noticed: Vec<String> = faults(&file);
    assert_eq!(noticed.len(), 2, "{noticed:?}");
    assert!(noticed[0].starts_with("a.rs:1: whoever") && noticed[1].starts_with("a.rs:2: is told"));
}
