//! The report of an import: what differs from the other service's configuration, and how much was carried over.

use std::io::Write as _;

use serde::Serialize;
use serde_json::Value;

use super::super::globals::Globals;
use super::super::output;

/// A difference between the other service's configuration and the pipeline file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// Its object: `source/destination/mapping`.
    pub(super) at: String,
    /// The other service's field, as in `settings.batch_keys`; empty for the whole object.
    pub(super) field: String,
    /// Its kind.
    pub(super) kind: Kind,
    /// A description, with what to do.
    pub(super) message: String,
}

/// The kind of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// It is not in the pipeline file.
    LeftOut,
    /// It is in the file in another form.
    Changed,
    /// It needs a change before it works.
    ToDo,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::LeftOut => "left out",
            Self::Changed => "changed",
            Self::ToDo => "to do",
        }
    }
}

/// The differences, in order.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    /// Adds one.
    pub(super) fn add(&mut self, at: &str, field: &str, kind: Kind, message: impl Into<String>) {
        let (at, field) = (at.to_owned(), field.to_owned());
        self.0.push(Finding { at, field, kind, message: message.into() });
    }

    fn count(&self, kind: Kind) -> usize {
        self.0.iter().filter(|it| it.kind == kind).count()
    }
}

/// A pipeline document, and how it differs from what was read.
#[derive(Debug)]
pub(super) struct Imported {
    pub(super) document: Value,
    pub(super) findings: Findings,
}

/// What is in the pipeline file.
#[derive(Debug, Serialize)]
struct CarriedOver {
    sources: usize,
    destinations: usize,
    mappings: usize,
}

impl CarriedOver {
    fn of(document: &Value) -> Self {
        let below = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
        let sources = below(document, "sources");
        let destinations: Vec<_> =
            sources.iter().flat_map(|it| below(it, "destinations")).collect();
        let mappings = destinations.iter().map(|it| below(it, "mappings").len()).sum();
        Self { sources: sources.len(), destinations: destinations.len(), mappings }
    }
}

#[derive(Serialize)]
struct Report<'f> {
    findings: &'f [Finding],
    carried_over: CarriedOver,
    changed: usize,
    left_out: usize,
    to_do: usize,
}

/// Prints the report to stderr: the pipeline file may be on stdout.
pub(super) fn tell(globals: &Globals, findings: &Findings, document: &Value) -> anyhow::Result<()> {
    let report = Report {
        findings: &findings.0,
        carried_over: CarriedOver::of(document),
        changed: findings.count(Kind::Changed),
        left_out: findings.count(Kind::LeftOut),
        to_do: findings.count(Kind::ToDo),
    };
    let mut out = std::io::stderr().lock();
    if globals.json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
        return Ok(());
    }
    for Finding { at, field, kind, message } in report.findings {
        let colon = if field.is_empty() { "" } else { ": " };
        let line = format!("{}: {at}{colon}{field}: {message}", kind.as_str());
        writeln!(out, "{}", output::plain(&line))?;
    }
    let CarriedOver { sources, destinations, mappings } = report.carried_over;
    let Report { changed, left_out, to_do, .. } = report;
    writeln!(
        out,
        "carried over: {sources} sources, {destinations} destinations, {mappings} mappings; \
         changed: {changed}; left out: {left_out}; to do: {to_do}"
    )?;
    Ok(())
}
