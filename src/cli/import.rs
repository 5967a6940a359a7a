//! `import`: converts another service's configuration to a pipeline file, and lists what could not be
//! converted. Offline: it reads a file and writes one.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::Value;

use super::failure::Failure;
use super::globals::Globals;

mod convert;
mod export;
mod outbound_auth;
mod subscription;
mod yaml;

/// The largest export, in bytes.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

const AFTER_HELP: &str = "\
The file holds what Segment's Public API answers, one answer after the other or one object with all:
  curl -H \"Authorization: Bearer $TOKEN\" https://api.segmentapis.com/destinations
  curl -H \"Authorization: Bearer $TOKEN\" https://api.segmentapis.com/destinations/ID/subscriptions
  curl -H \"Authorization: Bearer $TOKEN\" https://api.segmentapis.com/sources      (for their names)
Classic webhooks, webhooks (actions) and extensible webhooks are carried over. Secrets are not: where one
belongs, the pipeline file names a variable. Insert functions are not in these answers: copy a function's
source into the mapping's `function`. What was changed, left out or is still to do is listed on stderr.";

/// Convert another service's configuration to a pipeline file.
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, clap::Subcommand)]
enum From {
    /// From Segment: answers of its Public API for destinations and subscriptions
    Segment(SegmentArgs),
}

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
struct SegmentArgs {
    /// The file with the answers, as JSON; - for stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where to write the pipeline file; stdout when left out
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// A difference between the export and the pipeline file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// Its object: `source/destination/mapping`.
    at: String,
    /// Segment's field, as in `settings.batch_keys`; empty for the whole object.
    field: String,
    /// Its kind.
    kind: Kind,
    /// A description, with what to do.
    message: String,
}

/// The kind of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
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

impl ImportArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When the file cannot be read or has no destinations, or the result cannot be written.
    pub fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let From::Segment(args) = self.from;
        let (name, text) = read(&args.file)?;
        let export = export::read(&text)
            .map_err(|error| Failure::usage(format!("{name} is not JSON")).because(error))?;
        if export.destinations.is_empty() {
            return Err(Failure::usage(format!("{name} has no destinations"))
                .hint("postrider import segment --help says what the file should hold")
                .into());
        }
        let (document, findings) = convert::pipeline(&export);
        write(args.output.as_deref(), &document)?;
        tell(globals, &findings)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn read(path: &Path) -> anyhow::Result<(String, String)> {
    let name = if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() };
    let failed = |error| Failure::usage(format!("{name} cannot be read")).because(error);
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(MAX_BYTES + 1).read_to_string(&mut text)
    } else {
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(MAX_BYTES + 1).read_to_string(&mut text)
    };
    if read.map_err(failed)? as u64 > MAX_BYTES {
        return Err(Failure::usage(format!("{name} is larger than 64 MiB")).into());
    }
    Ok((name, text))
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

/// The list goes beside the pipeline file, which may be on stdout.
fn tell(globals: &Globals, findings: &[Finding]) -> anyhow::Result<()> {
    let mut out = std::io::stderr().lock();
    if globals.json {
        writeln!(out, "{}", serde_json::to_string(findings)?)?;
        return Ok(());
    }
    for finding in findings {
        let Finding { at, field, kind, message } = finding;
        let colon = if field.is_empty() { "" } else { ": " };
        let line = format!("{}: {at}{colon}{field}: {message}", kind.as_str());
        writeln!(out, "{}", super::output::plain(&line))?;
    }
    Ok(())
}
