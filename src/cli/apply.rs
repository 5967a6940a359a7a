//! `apply`: applies a pipeline file, or shows the changes it would make.

use std::path::PathBuf;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};

use super::client::{Client, Refused};
use super::failure::{Failure, exit};
use super::globals::Globals;
use super::output::{Output, plain};
use super::pipeline_file;
use crate::pipeline::{Applied, ApplyRequest, Line, Sign};

const AFTER_HELP: &str = "\
A pipeline file:
  sources:
    - name: website
      write_key: {env: WEBSITE_WRITE_KEY}     # or {file: …}, {value: …}; left out: made once
      destinations:
        - name: warehouse
          shared_secret: {env: WAREHOUSE_SECRET}
          timeout_ms: 5000                    # 1000 to 30000
          window_ms: 14400000                 # how long a delivery is retried
          max_in_flight: 64
          rate_per_second: 100                # left out: no limit
          policy: all                         # or any: one success settles its other mappings
          auth:                               # none, bearer, client_credentials, authorization_code
            kind: client_credentials
            token_url: https://id.example.com/token
            client_id: postrider
            client_secret: {env: WAREHOUSE_CLIENT_SECRET}
          secret_headers: {X-Api-Key: {env: WAREHOUSE_API_KEY}}
          secret_parameters: {sig: {env: WAREHOUSE_SIG}}   # appended to every URL
          allowed_hosts: ['*.example.com']    # hosts that may get them although an event decides
          mappings:
            - name: everything
              url: https://example.com/hook
              profile: postrider              # or segment_classic, segment_actions, segment_extensible
              method: POST                    # or PUT, PATCH, or a directive that gives one
              headers: {X-Team: growth}
              function: {file: enrich.js}     # or {source: …}; settings: {…} are shown in clear
              batching: {size: 1000, linger_ms: 1000}   # left out: one request an event

Names are the identity. What is not in the file is left alone, but for --prune.
Exit code of --dry-run: 0 when there is no difference, 5 when there is.";

/// Apply sources, destinations and mappings from a file, all or nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct ApplyArgs {
    /// The file, YAML or JSON; - for stdin
    #[arg(long, short, value_name = "FILE")]
    file: PathBuf,
    /// Show the changes without making them
    #[arg(long)]
    dry_run: bool,
    /// Remove objects that are not in the file
    #[arg(long)]
    prune: bool,
    /// Accept shared secrets below the minimum length
    #[arg(long)]
    weak: bool,
}

impl ApplyArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When the file is wrong, or the service cannot be asked or refuses.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let mut file = pipeline_file::read(&self.file)?;
        if self.weak {
            let sources = file.document.sources.iter_mut();
            let destinations = sources.flat_map(|source| &mut source.destinations);
            destinations.for_each(|destination| destination.allow_weak_secret = true);
        }
        let client = Client::of(globals)?;
        let request =
            ApplyRequest { document: file.document, dry_run: self.dry_run, prune: self.prune };
        let applied: Applied =
            client.post("/pipeline", &request).await.map_err(|error| placed(&file.name, error))?;
        let mut out = globals.output();
        if out.is_json() {
            out.json(&applied)?;
        } else {
            tell(&mut out, &applied)?;
        }
        let differs = self.dry_run && applied.changed;
        Ok(if differs { exit::DIFFERENCE.into() } else { ExitCode::SUCCESS })
    }
}

/// The service's validation errors, as errors of the file.
fn placed(name: &str, error: anyhow::Error) -> anyhow::Error {
    let Some(Refused(problem)) = error.downcast_ref::<Refused>() else { return error };
    if problem.faults.is_empty() {
        return error;
    }
    let lines =
        problem.faults.iter().map(|fault| format!("{name}: {}: {}", fault.path, fault.message));
    Failure::usage(lines.collect::<Vec<_>>().join("\n")).hint("nothing was changed").into()
}

fn tell(out: &mut Output, applied: &Applied) -> anyhow::Result<()> {
    for line in &applied.lines {
        out.line(drawn(line))?;
    }
    if applied.lines.iter().any(|line| line.sign == Sign::Keep) {
        out.remark("= is not in the file and left alone; --prune removes it")?;
    }
    out.line(match (applied.changed, applied.dry_run) {
        (false, _) => "no changes".to_owned(),
        (true, true) => "dry run: nothing was changed".to_owned(),
        (true, false) => format!("applied: pipeline version {}", applied.version),
    })?;
    for made in &applied.write_keys {
        out.line(format!("write key of {}: {}", plain(&made.source), made.write_key))?;
    }
    if !applied.write_keys.is_empty() {
        out.remark("write keys are shown this once: keep them")?;
    }
    Ok(())
}

fn drawn(line: &Line) -> String {
    let colour = match line.sign {
        Sign::Add => AnsiColor::Green,
        Sign::Change => AnsiColor::Yellow,
        Sign::Remove => AnsiColor::Red,
        Sign::Keep => AnsiColor::BrightBlack,
    };
    let style = Style::new().fg_color(Some(colour.into()));
    let mark = line.sign.mark();
    let what = plain(&line.what);
    if line.details.is_empty() {
        return format!("{style}{mark}{style:#} {what}");
    }
    let details = line.details.join(", ");
    format!("{style}{mark}{style:#} {what}: {}", plain(&details))
}
