//! `export`: every row of a search, as CSV or JSON lines, to a file or to stdout.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};

use super::attempts::AttemptSelection;
use super::client::{Client, Conditions};
use super::event_selection::EventSelection;
use super::globals::Globals;
use super::selection::Selection;

/// Export every event, delivery or attempt that matches, newest first.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    #[command(subcommand)]
    list: List,
    /// The form
    #[arg(long, value_enum, default_value = "csv", global = true)]
    format: Form,
    /// Write to this file, which must not exist; otherwise to stdout
    #[arg(long, short, value_name = "FILE", global = true)]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// Comma-separated values with a header
    Csv,
    /// A JSON object a line
    Jsonl,
}

#[derive(Debug, Subcommand)]
enum List {
    /// Events with their messages
    Events(EventSelection),
    /// Deliveries with their state
    Deliveries {
        /// In this state: pending, leased, delivered, dead or discarded
        #[arg(long)]
        state: Option<String>,
        #[command(flatten)]
        selection: Box<Selection>,
    },
    /// Attempts with their outcome and response
    Attempts(AttemptSelection),
}

impl ExportArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When the service cannot be reached or refuses, the file cannot be written, or the export breaks off.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let client = Client::of(globals)?;
        let (path, mut conditions) = self.list.request()?;
        let format = if let Form::Csv = self.format { "csv" } else { "jsonl" };
        conditions.push(("format", format.to_owned()));
        let mut rows = client.stream(path, &conditions).await?;
        let mut out: Box<dyn Write> = match &self.output {
            None => Box::new(std::io::stdout().lock()),
            Some(path) => {
                let file = std::fs::File::create_new(path);
                Box::new(file.with_context(|| format!("cannot create {}", path.display()))?)
            }
        };
        while let Some(bytes) =
            rows.next().await.context("the export broke off: it is not whole")?
        {
            out.write_all(&bytes).context("cannot write the export")?;
        }
        out.flush().context("cannot write the export")?;
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    fn request(self) -> anyhow::Result<(&'static str, Conditions)> {
        Ok(match self {
            Self::Events(selection) => ("/events/export", selection.conditions()?),
            Self::Deliveries { state, selection } => {
                let mut conditions = selection.conditions()?;
                conditions.extend(state.map(|state| ("state", state)));
                ("/deliveries/export", conditions)
            }
            Self::Attempts(selection) => ("/attempts/export", selection.conditions()?),
        })
    }
}
