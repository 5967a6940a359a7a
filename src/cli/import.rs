//! `import`: converts another service's configuration to a pipeline file, and lists what could not be
//! converted. Offline: it reads files and writes one.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;

use super::failure::Failure;
use super::globals::Globals;

mod answers;
mod convert;
mod convoy;
mod credentials;
mod draft;
mod endpoint;
mod export;
mod filters;
mod names;
mod outbound_auth;
mod report;
mod subscription;
mod svix;
mod validity;
mod yaml;

use self::report::Imported;

const OF_SEGMENT: &str = "\
The files hold what Segment's Public API answers, one answer after the other or one object with all:
  curl -H \"Authorization: Bearer $TOKEN\" https://api.segmentapis.com/destinations
  curl -H \"Authorization: Bearer $TOKEN\" https://api.segmentapis.com/destinations/ID/subscriptions
  curl -H \"Authorization: Bearer $TOKEN\" https://api.segmentapis.com/destination/ID/filters
  curl -H \"Authorization: Bearer $TOKEN\" https://api.segmentapis.com/sources      (for their names)
Each page of a list has to be there. Classic webhooks, webhooks (actions) and extensible webhooks are carried
over, each mapping with the profile of its definition; filters that drop events become part of the triggers.
Secrets are not: where one belongs, the pipeline file names a variable. Insert functions are not in these answers:
copy a function's source into the mapping's `function`. What was changed, left out or is still to do is listed on
stderr, with counts at the end.";

const OF_SVIX: &str = "\
The files hold what Svix's API answers for the endpoints of an application, one page after the other:
  curl -H \"Authorization: Bearer $TOKEN\" https://api.svix.com/api/v1/app/APP/endpoint
Each endpoint becomes a destination with one mapping: its event types are the trigger, the event's properties are
the payload. Secrets are not in these answers: the pipeline file names variables. docs/coming-from-svix-and-convoy.md says
what receivers notice.";

const OF_CONVOY: &str = "\
The files hold what Convoy's API answers for the endpoints and the subscriptions of a project:
  curl -H \"Authorization: Bearer $KEY\" https://HOST/api/v1/projects/PROJECT/endpoints
  curl -H \"Authorization: Bearer $KEY\" https://HOST/api/v1/projects/PROJECT/subscriptions
Each endpoint becomes a destination, each of its subscriptions a mapping: its event types are the trigger, the event's
properties are the payload. Secrets are not carried over: the pipeline file names variables.
docs/coming-from-svix-and-convoy.md says what receivers notice.";

/// Convert another service's configuration to a pipeline file.
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, clap::Subcommand)]
enum From {
    /// From Segment: answers of its Public API for destinations, subscriptions and filters
    #[command(after_help = OF_SEGMENT)]
    Segment(Files),
    /// From Svix: answers of its API for endpoints
    #[command(after_help = OF_SVIX)]
    Svix(Files),
    /// From Convoy: answers of its API for endpoints and subscriptions
    #[command(after_help = OF_CONVOY)]
    Convoy(Files),
}

#[derive(Debug, clap::Args)]
struct Files {
    /// The files with the answers, as JSON; - for stdin
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Where to write the pipeline file; stdout when left out
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl ImportArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When a file cannot be read, is incomplete or holds nothing to import, or the result cannot be written.
    pub fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        type Import = fn(&[Value]) -> anyhow::Result<Imported>;
        let (files, import): (Files, Import) = match self.from {
            From::Segment(files) => (files, convert::import),
            From::Svix(files) => (files, svix::import),
            From::Convoy(files) => (files, convoy::import),
        };
        let mut imported = import(&answers::read(&files.files)?)?;
        validity::ensure(&mut imported);
        write(files.output.as_deref(), &imported.document)?;
        report::tell(globals, &imported.findings, &imported.document)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn write(path: Option<&Path>, document: &Value) -> anyhow::Result<()> {
    let text = yaml::print(document);
    match path {
        Some(path) => std::fs::write(path, text).map_err(|error| {
            Failure::usage(format!("{} cannot be written", path.display())).because(error).into()
        }),
        None => Ok(std::io::stdout().write_all(text.as_bytes())?),
    }
}
