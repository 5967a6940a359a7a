//! `audit`: lists the audit log and verifies its hash chain.

use std::process::ExitCode;

use clap::Subcommand;

use super::client::Client;
use super::failure::exit;
use super::globals::Globals;
use super::output::{Output, Table, or_dash};
use super::selection::time;
use crate::service::audit::{EntryView, VerdictView};
use crate::service::deliveries::Page;

/// List the audit log, or verify its hash chain.
#[derive(Debug, clap::Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    verb: AuditVerb,
}

#[derive(Debug, Subcommand)]
enum AuditVerb {
    /// List audit entries, newest first
    List(Box<Which>),
    /// Verify the hash chain; print the number and hash of the last entry
    Verify {
        /// The last entry of an earlier verification: detects entries that were removed from the end
        #[arg(long, value_name = "NUMBER:HASH")]
        kept: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
struct Which {
    /// By this token, or postrider for the service
    #[arg(long)]
    actor: Option<String>,
    /// Of this action, such as change, redrive, create_token
    #[arg(long)]
    action: Option<String>,
    /// On this object or one below it: a path, a token's name, a job's id
    #[arg(long)]
    subject: Option<String>,
    /// Done since: a time, or how long ago, such as 2h, 7d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Done before: a time, or how long ago
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Before this number
    #[arg(long, value_name = "NUMBER")]
    before: Option<String>,
    /// Show at most this many
    #[arg(long, value_name = "COUNT")]
    limit: Option<String>,
}

impl AuditArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When the service cannot be reached or refuses.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let client = Client::of(globals)?;
        let mut out = globals.output();
        match self.verb {
            AuditVerb::List(which) => {
                let page: Page<EntryView> = client.get("/audit", &which.conditions()?).await?;
                list(&mut out, &page)?;
                Ok(ExitCode::SUCCESS)
            }
            AuditVerb::Verify { kept } => {
                let conditions: Vec<_> = kept.map(|kept| ("kept", kept)).into_iter().collect();
                let verdict: VerdictView = client.get("/audit/verification", &conditions).await?;
                tell(&mut out, &verdict)
            }
        }
    }
}

impl Which {
    fn conditions(self) -> anyhow::Result<Vec<(&'static str, String)>> {
        let given = [
            ("actor", self.actor),
            ("action", self.action),
            ("subject", self.subject),
            ("since", time("--since", self.since.as_deref())?),
            ("until", time("--until", self.until.as_deref())?),
            ("before", self.before),
            ("limit", self.limit),
        ];
        Ok(given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }
}

fn tell(out: &mut Output, verdict: &VerdictView) -> anyhow::Result<ExitCode> {
    let code = if verdict.ok { ExitCode::SUCCESS } else { exit::FAILED.into() };
    if out.is_json() {
        out.json(verdict)?;
        return Ok(code);
    }
    if let Some(number) = verdict.broken {
        out.line(format!("entry {number} was changed or is missing"))?;
    }
    if verdict.kept == Some(false) {
        out.line("the given entry is missing or has another hash")?;
    }
    if verdict.ok {
        out.line(format!("{} entries verified", verdict.count))?;
        out.line(format!("{}:{}", verdict.count, verdict.head))?;
    }
    Ok(code)
}

fn list(out: &mut Output, page: &Page<EntryView>) -> anyhow::Result<()> {
    if out.is_json() {
        return Ok(out.json(page)?);
    }
    if page.items.is_empty() {
        return Ok(out.remark("no entries")?);
    }
    let mut table = Table::new(&["number", "at", "actor", "from", "action", "subject", "note"]);
    for entry in &page.items {
        table.row([
            entry.number.to_string(),
            entry.at.clone(),
            entry.actor.clone(),
            entry.from.clone(),
            entry.action.clone(),
            entry.subject.clone(),
            or_dash(entry.note.as_deref()),
        ]);
    }
    Ok(out.table(&table)?)
}
