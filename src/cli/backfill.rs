//! `backfill`: makes deliveries of a mapping from kept events, as a job of the service.

use std::process::ExitCode;

use super::client::Client;
use super::failure::exit;
use super::globals::Globals;
use super::jobs::{JobArgs, PREVIEW, confirm, counted, follow, tell};
use super::output::plain;
use super::selection::time;
use crate::service::backfills::{BackfillPreview, BackfillRequest};
use crate::service::jobs::JobView;

const PATH: &str = "/backfills";

/// Make deliveries of a mapping from kept events of a time range.
#[derive(Debug, clap::Args)]
pub struct BackfillArgs {
    /// The mapping: its name, a path that ends in it or its id
    #[arg(value_name = "MAPPING")]
    mapping: String,
    /// Accepted since: a time such as 2026-03-01T12:00:00Z, or how long ago, such as 90m, 2h, 7d
    #[arg(long, value_name = "TIME")]
    since: String,
    /// Accepted before: a time, or how long ago; left out: until now
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Also from events that have a delivery for the mapping already
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    job: JobArgs,
}

impl BackfillArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When the service cannot be reached or refuses.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let client = Client::of(globals)?;
        let mut out = globals.output();
        let mut request = BackfillRequest {
            mapping: self.mapping,
            since: time("--since", Some(&self.since))?.unwrap_or_default(),
            until: time("--until", self.until.as_deref())?,
            again: self.again,
            dry_run: true,
            rate_per_second: self.job.rate,
            note: self.job.note,
        };
        if self.job.dry_run || !self.job.yes {
            let preview: BackfillPreview = client.post(PATH, &request).await?;
            let count = counted(preview.matched, preview.more);
            if self.job.dry_run && out.is_json() {
                out.json(&preview)?;
            } else if self.job.dry_run {
                let mapping = plain(&preview.mapping);
                out.line(format!("would make {count} deliveries for {mapping}"))?;
            }
            if self.job.dry_run {
                return Ok(ExitCode::SUCCESS);
            }
            if preview.matched == 0 && !preview.more {
                out.remark("no events match: nothing to do")?;
                return Ok(exit::NOT_FOUND.into());
            }
            confirm(&format!("make {count} deliveries?"), PREVIEW)?;
        }
        request.dry_run = false;
        let job: JobView = client.post(PATH, &request).await?;
        if self.job.detach {
            tell(&mut out, &job)?;
            return Ok(ExitCode::SUCCESS);
        }
        follow(&client, &mut out, job).await
    }
}
