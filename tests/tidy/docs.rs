//! Documents: every file, test and metric that they name exists.

use std::collections::BTreeSet;
use std::path::Path;

use postrider::domain::ledger::Ledger;
use postrider::telemetry::metrics::{
    AlertLabel, Answer, Credential, InboxLabel, Metrics, Outcome, Reason, RefusalReason,
    SourceLimit,
};

use super::tokens::tokens;
use super::{assert_none, documents, files, root, rust_files};

/// Prefixes of the project's paths: quoted text that starts with one is a path.
const FOLDERS: [&str; 8] =
    ["src/", "tests/", "docs/", "migrations/", ".ci/", ".config/", "deploy/", "examples/"];
/// A table in databases of applications, which no metric is named as.
const TABLE: &str = "postrider_inbox";
/// The header of a table of promises and their tests.
const PROOF: &str = "| Proved by |";

#[test]
fn documents_name_only_what_exists() {
    let faults: Vec<String> =
        documents().iter().flat_map(|document| missing(&document.path, &document.text)).collect();
    assert_none(&faults, "named and not there");
}

fn missing(path: &str, text: &str) -> Vec<String> {
    let folder = Path::new(path).parent().unwrap_or(Path::new(""));
    let linked = links(text).into_iter().map(|link| (folder.join(&link), link));
    let quoted = quoted(text)
        .into_iter()
        .filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder)))
        .filter(|word| !word.contains([' ', '<', '{', '…', '$']))
        .map(|word| (Path::new(word.split_once('*').map_or(word, |is| is.0)).to_owned(), word));
    linked
        .chain(quoted.map(|(target, word)| (target, word.to_owned())))
        .filter(|(target, _)| !root().join(target).exists())
        .map(|(_, name)| format!("{path}: {name}"))
        .collect()
}

/// The targets of `[text](target)` inside the project, without their anchors.
fn links(text: &str) -> Vec<String> {
    text.split("](")
        .skip(1)
        .filter_map(|after| after.split_once(')').map(|(target, _)| target))
        .filter(|target| !target.contains("://") && !target.starts_with(['#', '<']))
        .map(|target| target.split('#').next().unwrap_or(target).to_owned())
        .filter(|target| !target.is_empty())
        .collect()
}

/// Quoted text on one line, outside of code blocks.
fn quoted(text: &str) -> Vec<&str> {
    let mut in_block = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        in_block ^= fence;
        !in_block && !fence
    });
    lines.flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn a_missing_file_is_noticed() {
    let text = "See [a](gone.md), [b](README.md#use), [c](https://example.com/x) and `src/gone.rs`, \
                `src/lib.rs`, `src/store/*`, `src/none/*`.\n```\n`src/in_a_block.rs`\n```\n";
    let names: Vec<String> = missing("README.md", text);
    assert_eq!(names, ["README.md: gone.md", "README.md: src/gone.rs", "README.md: src/none/*"]);
}

#[test]
fn documents_name_only_metrics_that_are_counted() {
    let metrics = Metrics::new();
    metrics.intake_answers.get_or_create(&Answer { status: 200 }).inc();
    metrics.attempts.get_or_create(&Outcome { outcome: "delivered" }).inc();
    metrics.dead_letters.get_or_create(&Reason { reason: "rejected" }).inc();
    metrics.alerts.get_or_create(&AlertLabel { alert: "disk_low" }).set(1);
    let inbox = InboxLabel { inbox: "postrider.inbox".to_owned() };
    metrics.inbox_taken.get_or_create(&inbox).inc();
    metrics.inbox_waiting.get_or_create(&inbox).set(1);
    metrics.inbox_oldest_seconds.get_or_create(&inbox).set(1.0);
    let source_limit = SourceLimit { source: "website".to_owned(), limit: "rate" };
    metrics.source_limited.get_or_create(&source_limit).inc();
    metrics.authentication_failures.get_or_create(&Credential { credential: "token" }).inc();
    metrics.connections_refused.get_or_create(&RefusalReason { reason: "host" }).inc();
    metrics.alerts_raised.get_or_create(&AlertLabel { alert: "disk_low" }).inc();
    let scrape = metrics.encode(&Ledger::default());
    let counted: BTreeSet<&str> =
        scrape.lines().filter_map(|line| line.split(['{', ' ']).next()).collect();
    let families: BTreeSet<&str> =
        scrape.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let mut documents = documents();
    documents.extend(files(&["deploy"], "json"));
    documents.extend(files(&["deploy"], "yaml"));
    let faults: Vec<String> = documents
        .iter()
        .flat_map(|document| metric_names(&document.text).map(|name| (&document.path, name)))
        .filter(|(_, name)| !counted.contains(name) && !families.contains(name))
        .map(|(path, name)| format!("{path}: {name}"))
        .collect();
    assert_none(&faults, "no such metric");
}

fn metric_names(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '_').filter(
        |word| word.starts_with("postrider_") && word.len() > "postrider_".len() && *word != TABLE,
    )
}

#[test]
fn every_promise_names_a_test_that_exists() {
    let tests: BTreeSet<String> =
        rust_files().iter().flat_map(|file| tests_in(&file.text)).collect();
    let promises: Vec<(String, String)> = documents()
        .iter()
        .flat_map(|document| {
            let path = document.path.clone();
            proofs(&document.text).into_iter().map(move |proof| (path.clone(), proof))
        })
        .collect();
    assert!(!promises.is_empty(), "no document says which test proves its promises");
    let faults: Vec<String> = promises
        .into_iter()
        .filter(|(_, proof)| !tests.contains(proof))
        .map(|(path, proof)| format!("{path}: {proof}"))
        .collect();
    assert_none(&faults, "promised, and no test of that name");
}

/// The names of the functions under an attribute that has the word `test` in it, and of those that
/// `cases!` makes tests of.
fn tests_in(source: &str) -> Vec<String> {
    let tokens = tokens(source);
    let (mut names, mut under_test, mut in_attribute) = (Vec::new(), false, false);
    let mut in_conformance = false;
    for (before, token) in tokens.iter().zip(tokens.iter().skip(1)) {
        match (before.text.as_str(), token.text.as_str()) {
            ("cases", "!") => in_conformance = true,
            (_, "}") => in_conformance = false,
            (_, name) if in_conformance => names.push(name.to_owned()),
            ("#", "[") => in_attribute = true,
            (_, "]") => in_attribute = false,
            (_, "test") if in_attribute => under_test = true,
            ("fn", name) if under_test => {
                names.push(name.to_owned());
                under_test = false;
            }
            _ => {}
        }
    }
    names
}

#[test]
fn only_tests_prove() {
    let source = "#[test] fn a() {} fn b() {} #[tokio::test(flavor = \"x\")] async fn c() {}";
    assert_eq!(tests_in(source), ["a", "c"]);
    let listed = tests_in("cases! { outbox: d e; } fn f() {}");
    assert!(listed.contains(&"e".to_owned()) && !listed.contains(&"f".to_owned()));
}

/// Quoted text in the last column of tables of promises.
fn proofs(text: &str) -> Vec<String> {
    let mut proofs = Vec::new();
    let mut in_table = false;
    for line in text.lines() {
        in_table = line.ends_with(PROOF) || (in_table && line.starts_with('|'));
        let last = line.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        if in_table {
            let named = last.split('`').skip(1).step_by(2);
            proofs.extend(named.map(|name| name.rsplit("::").next().unwrap_or(name).to_owned()));
        }
    }
    proofs
}

#[test]
fn proofs_are_read_from_the_last_column() {
    let text =
        "| What | Proved by |\n| --- | --- |\n| `x` holds | `a::b`, `c` |\n\n| `d` | `e` |\n";
    assert_eq!(proofs(text), ["b", "c"]);
}
