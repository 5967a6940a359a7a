//! `explain`: per mapping, the delivery of an event, or why the mapping did not match.

use std::process::ExitCode;

use super::client::Client;
use super::failure::{Failure, exit};
use super::globals::Globals;
use super::output::{Output, Table, or_dash, plain};
use crate::service::explain::Explanation;

/// Explain per mapping how an event was delivered, or why it did not match.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// The event: its id, evt_…, or its messageId
    #[arg(value_name = "EVENT")]
    event: String,
}

impl ExplainArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When the service cannot be reached or refuses, or there is no such event.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let client = Client::of(globals)?;
        let mut out = globals.output();
        let explanation: Explanation = client.get(&path(&self.event)?, &[]).await?;
        show(&mut out, &explanation)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The request's path; a messageId may contain any character.
fn path(event: &str) -> anyhow::Result<String> {
    let unusable = || Failure::new(exit::USAGE, format!("{event:?} names no event"));
    if matches!(event, "" | "." | "..") {
        return Err(unusable().into());
    }
    let mut url = url::Url::parse("http://localhost/")?;
    url.path_segments_mut().map_err(|()| unusable())?.extend(["events", event, "explain"]);
    Ok(url.path().to_owned())
}

fn show(out: &mut Output, explanation: &Explanation) -> anyhow::Result<()> {
    if out.is_json() {
        return Ok(out.json(explanation)?);
    }
    let event = &explanation.event;
    let facts = [
        ("event", Some(event.id.clone())),
        ("source", Some(or_dash(event.source.as_deref()))),
        ("type", event.kind.clone()),
        ("name", event.name.clone()),
        ("message id", Some(event.message_id.clone())),
        ("received", Some(event.received_at.clone())),
        ("rejected", event.rejection.clone()),
    ];
    for (name, value) in facts {
        if let Some(value) = value {
            out.line(format!("{name:<13} {}", plain(&value)))?;
        }
    }
    if !explanation.mappings.is_empty() {
        out.line("")?;
        let mut table = Table::new(&["mapping", "verdict", "delivery", "because"]);
        for mapping in &explanation.mappings {
            let delivery = mapping.delivery.as_ref();
            table.row([
                mapping.mapping.clone().unwrap_or_else(|| "(removed)".to_owned()),
                delivery.map_or(mapping.verdict.as_str(), |it| it.state.as_str()).to_owned(),
                or_dash(delivery.map(|it| it.id.clone())),
                mapping.because.clone(),
            ]);
        }
        out.table(&table)?;
    }
    for other in &explanation.others {
        out.line(format!("note: {other} is an older event with the same messageId"))?;
    }
    for note in &explanation.notes {
        out.line(format!("note: {note}"))?;
    }
    Ok(())
}
