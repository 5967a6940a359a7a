//! `jobs`, and the part that `redrive`, `discard` and `backfill` share: create a job, confirm it, follow its progress.
//! Ctrl-C stops following, not the job.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};

use super::client::Client;
use super::deliveries;
use super::failure::{Failure, exit};
use super::globals::Globals;
use super::output::{Output, Table, or_dash, painted, plain};
use crate::domain::job::{JobAction, JobState};
use crate::service::jobs::{JobRequest, JobView, PreviewView};
use crate::service::page::Page;

/// Poll interval while a job is followed.
const LOOK: Duration = Duration::from_millis(250);

/// List redrives, discards and backfills, newest first, or show, follow or cancel one.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct JobsArgs {
    #[command(subcommand)]
    verb: Option<JobVerb>,
    /// Of this kind: redrive, discard or backfill
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// In this state: running, done or cancelled
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Show at most this many
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Only older than this job: the next page
    #[arg(long, value_name = "ID")]
    before: Option<String>,
}

#[derive(Debug, Subcommand)]
enum JobVerb {
    /// Show a job
    Show {
        /// The job's id
        id: String,
    },
    /// Follow a job until it ends
    Follow {
        /// The job's id
        id: String,
    },
    /// Cancel a job; its changes so far stay
    Cancel {
        /// The job's id
        id: String,
    },
}

impl JobsArgs {
    /// Whether it changes nothing, and ends.
    pub(super) const fn only_reads(&self) -> bool {
        matches!(self.verb, None | Some(JobVerb::Show { .. }))
    }

    /// Runs the verb.
    ///
    /// # Errors
    /// When the service cannot be reached or refuses.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let client = Client::of(globals)?;
        let mut out = globals.output();
        match self.verb {
            None => {
                let given = [
                    ("action", self.action),
                    ("state", self.state),
                    ("before", self.before),
                    ("limit", Some(self.limit.to_string())),
                ];
                let conditions: Vec<_> =
                    given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
                let page: Page<JobView> = client.get("/jobs", &conditions).await?;
                list(&mut out, &page)?;
            }
            Some(JobVerb::Show { id }) => {
                let job: JobView = client.get(&format!("/jobs/{id}"), &[]).await?;
                tell(&mut out, &job)?;
            }
            Some(JobVerb::Follow { id }) => {
                let job: JobView = client.get(&format!("/jobs/{id}"), &[]).await?;
                return follow(&client, &mut out, job).await;
            }
            Some(JobVerb::Cancel { id }) => {
                let body = serde_json::Map::new();
                let job: JobView = client.post(&format!("/jobs/{id}/cancel"), &body).await?;
                tell(&mut out, &job)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Options of a job.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "The job")]
pub(super) struct JobArgs {
    /// Only show how many match, and the first of them; change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// At most this many deliveries a second
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) rate: Option<u32>,
    /// The reason, for the audit log
    #[arg(long)]
    pub(super) note: Option<String>,
    /// Do not ask for confirmation
    #[arg(long, short)]
    pub(super) yes: bool,
    /// Do not wait for the job to end
    #[arg(long)]
    pub(super) detach: bool,
}

/// A job to be created.
pub(super) struct Asking {
    pub(super) path: &'static str,
    pub(super) verb: &'static str,
    pub(super) ids: Vec<String>,
    pub(super) conditions: Vec<(&'static str, String)>,
}

impl JobArgs {
    /// Creates the job, after its preview is confirmed, and follows it.
    pub(super) async fn ask(self, globals: &Globals, asking: Asking) -> anyhow::Result<ExitCode> {
        if asking.ids.is_empty() && asking.conditions.is_empty() {
            let verb = asking.verb;
            return Err(Failure::usage(format!(
                "{verb} what? name deliveries, or give conditions"
            ))
            .hint(format!("for example: postrider {verb} --reason deadline --since 1d --dry-run"))
            .into());
        }
        let client = Client::of(globals)?;
        let mut out = globals.output();
        let by_conditions = asking.ids.is_empty();
        let mut request = JobRequest {
            ids: asking.ids,
            filter: asking
                .conditions
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            dry_run: true,
            rate_per_second: self.rate,
            note: self.note,
        };
        if self.dry_run || by_conditions && !self.yes {
            let preview: PreviewView = client.post(asking.path, &request).await?;
            if self.dry_run {
                tell_preview(&mut out, asking.verb, &preview)?;
                return Ok(ExitCode::SUCCESS);
            }
            if preview.matched == 0 && !preview.more {
                out.remark("no deliveries match: nothing to do")?;
                return Ok(exit::NOT_FOUND.into());
            }
            let count = counted(preview.matched, preview.more);
            confirm(&format!("{} {count} deliveries?", asking.verb), PREVIEW)?;
        }
        request.dry_run = false;
        let job: JobView = client.post(asking.path, &request).await?;
        if self.detach {
            tell(&mut out, &job)?;
            return Ok(ExitCode::SUCCESS);
        }
        follow(&client, &mut out, job).await
    }
}

/// How many match; counting is bounded.
pub(super) fn counted(matched: u64, more: bool) -> String {
    if more { format!("{matched} or more") } else { matched.to_string() }
}

fn tell_preview(out: &mut Output, verb: &str, preview: &PreviewView) -> anyhow::Result<()> {
    if out.is_json() {
        return Ok(out.json(preview)?);
    }
    out.line(format!("would {verb} {} deliveries", counted(preview.matched, preview.more)))?;
    if !preview.sample.is_empty() {
        out.table(&deliveries::table(&preview.sample))?;
    }
    Ok(())
}

/// How a job goes on without a terminal.
pub(super) const PREVIEW: &str = "pass --yes, or preview it with --dry-run";

/// Asks for confirmation on a terminal; otherwise `--yes` is required.
pub(super) fn confirm(question: &str, hint: &'static str) -> anyhow::Result<()> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::usage(question).hint(hint).into());
    }
    write!(std::io::stderr(), "{question} [y/N] ")?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Failure::new(exit::FAILED, "not confirmed: nothing was done").into())
}

/// Follows a job until it ends.
pub(super) async fn follow(
    client: &Client,
    out: &mut Output,
    job: JobView,
) -> anyhow::Result<ExitCode> {
    let bar = bar(&job);
    let id = job.id.clone();
    let followed = tokio::select! {
        job = until_ended(client, job, &bar) => Some(job?),
        _ = tokio::signal::ctrl_c() => None,
    };
    bar.finish_and_clear();
    let Some(job) = followed else {
        let hint = format!("postrider jobs follow {id}, or postrider jobs cancel {id}");
        return Err(Failure::new(exit::INTERRUPTED, "the job continues").hint(hint).into());
    };
    tell(out, &job)?;
    let is_idle = job.matched == 0 && job.done == 0 && job.state == JobState::Done.as_str();
    Ok(if is_idle { exit::NOT_FOUND.into() } else { ExitCode::SUCCESS })
}

async fn until_ended(
    client: &Client,
    mut job: JobView,
    bar: &ProgressBar,
) -> anyhow::Result<JobView> {
    while job.is_running() {
        bar.set_length(job.matched);
        bar.set_position(job.done);
        tokio::time::sleep(LOOK).await;
        job = client.get(&format!("/jobs/{}", job.id), &[]).await?;
    }
    Ok(job)
}

fn bar(job: &JobView) -> ProgressBar {
    // It is drawn on stderr, on a terminal only.
    let bar = ProgressBar::new(job.matched);
    let template = "{msg} {bar:30} {pos}/{len} {per_sec} {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(job.action.clone());
    bar
}

/// Shows a job.
pub(super) fn tell(out: &mut Output, job: &JobView) -> anyhow::Result<()> {
    if out.is_json() {
        return Ok(out.json(job)?);
    }
    out.line(format!(
        "{} {}: {} of {} {}",
        job.id,
        painted(&job.state),
        job.done,
        counted(job.matched.max(job.done), job.more && job.matched > job.done),
        done_word(&job.action),
    ))?;
    if let Some(note) = &job.note {
        out.line(format!("note: {}", plain(note)))?;
    }
    Ok(())
}

/// What a job has done to its deliveries.
fn done_word(action: &str) -> &'static str {
    match JobAction::parse(action) {
        Some(JobAction::Redrive) => "redriven",
        Some(JobAction::Discard) => "discarded",
        Some(JobAction::Backfill) => "made",
        None => "processed",
    }
}

fn list(out: &mut Output, page: &Page<JobView>) -> anyhow::Result<()> {
    if out.is_json() {
        return Ok(out.json(page)?);
    }
    if page.items.is_empty() {
        return Ok(out.remark("no jobs")?);
    }
    let mut table =
        Table::new(&["job", "action", "state", "done", "matched", "actor", "made", "note"]);
    for job in &page.items {
        table.row([
            job.id.clone(),
            job.action.clone(),
            job.state.clone(),
            job.done.to_string(),
            counted(job.matched, job.more),
            job.actor.clone(),
            job.created_at.clone(),
            or_dash(job.note.as_deref()),
        ]);
    }
    out.table(&table)?;
    if let Some(next) = &page.next {
        out.remark(&format!("there are more: --before {next}"))?;
    }
    Ok(())
}
