//! `pause` holds the deliveries of a destination or a mapping, `resume` sends them.

use std::process::ExitCode;

use super::client::Client;
use super::failure::Failure;
use super::globals::Globals;
use super::output::plain;
use crate::service::pauses::{PauseRequest, PausedView, ResumeRequest};

const AFTER_PAUSE: &str = "\
Events are accepted and routed meanwhile; their deliveries wait. `apply` does not end a pause.";

/// Hold the deliveries of a destination or a mapping, and go on accepting events.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_PAUSE)]
pub struct PauseArgs {
    /// source/destination or source/destination/mapping
    #[arg(value_name = "SUBJECT")]
    subject: String,
    /// The reason, shown with the pause and in the audit log
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// Send what a pause held, with a fresh window; end what a receiver asked to wait for.
#[derive(Debug, clap::Args)]
pub struct ResumeArgs {
    /// source/destination or source/destination/mapping
    #[arg(value_name = "SUBJECT")]
    subject: String,
    /// Deliveries that start in a second until what was held has been sent
    #[arg(long, value_name = "PER_SECOND", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: Option<u32>,
    /// The reason, for the audit log
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

impl PauseArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When the service cannot be reached or refuses.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let path = path(&self.subject, "pause")?;
        let client = Client::of(globals)?;
        let paused: PausedView = client.post(&path, &PauseRequest { note: self.note }).await?;
        let was = if paused.changed { "is paused" } else { "was paused already" };
        show(globals, &self.subject, &paused, was)
    }
}

impl ResumeArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When the service cannot be reached or refuses.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let path = path(&self.subject, "resume")?;
        let client = Client::of(globals)?;
        let request = ResumeRequest { rate_per_second: self.rate, note: self.note };
        let resumed: PausedView = client.post(&path, &request).await?;
        let state = resumed.pause.as_ref().and_then(|it| it.rate_per_second);
        let was = match (resumed.changed, state) {
            (true, Some(rate)) => format!("is resumed at {rate} deliveries a second"),
            (true, None) => "is resumed".to_owned(),
            (false, _) => "was not paused".to_owned(),
        };
        show(globals, &self.subject, &resumed, &was)
    }
}

fn show(
    globals: &Globals,
    subject: &str,
    view: &PausedView,
    was: &str,
) -> anyhow::Result<ExitCode> {
    let mut out = globals.output();
    if out.is_json() {
        out.json(view)?;
    } else {
        let (waiting, more) = (view.waiting, if view.more { "+" } else { "" });
        out.line(format!("{} {was}: {waiting}{more} deliveries wait", plain(subject)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn path(subject: &str, verb: &str) -> anyhow::Result<String> {
    let names: Vec<_> = subject.split('/').collect();
    let noun = match names.len() {
        2 => "destinations",
        3 => "mappings",
        _ => "",
    };
    if noun.is_empty() || names.iter().any(|name| name.is_empty()) {
        let words = format!("{subject} names no destination and no mapping");
        let hint = "give it as source/destination or source/destination/mapping";
        return Err(Failure::usage(words).hint(hint).into());
    }
    let mut url = url::Url::parse("http://service/")?;
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.clear().push(noun).extend(names).push(verb);
    }
    Ok(url.path().to_owned())
}
