//! The command line: one file per verb. Verbs call a running service's admin API, except those that work
//! offline. Results go to stdout, everything else to stderr.

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub mod apply;
pub mod attempts;
pub mod audit;
pub mod backfill;
pub mod bench;
mod client;
pub mod completions;
pub mod connect;
pub mod dead;
pub mod deliveries;
pub mod dev;
pub mod discard;
pub mod doctor;
mod event_selection;
mod event_stream;
pub mod events;
pub mod explain;
pub mod export;
mod failure;
mod globals;
pub mod import;
pub mod inbox;
pub mod inspect;
pub mod jobs;
pub mod listen;
pub mod migrate;
mod output;
mod page_end;
pub mod pause;
mod pipeline_file;
pub mod prune;
pub mod redrive;
pub mod render;
mod selection;
pub mod send;
pub mod serve;
mod server_sent_events;
pub mod status;
pub mod test;
pub mod tokens;
pub mod transfer;

pub use client::Client;
pub use failure::{Failure, exit};
pub use globals::Globals;
pub use output::{Output, Table};

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  failed, or a check found a fault
  2  wrong usage, settings or input: nothing was changed
  3  not found
  4  the service cannot be reached, or refuses the token
  5  apply --dry-run: there are changes
  6  a search stopped before its end";

/// Durable webhook delivery: a persistent outbox, signed deliveries, every attempt on record.
#[derive(Debug, Parser)]
#[command(name = "postrider", version, after_help = AFTER_HELP, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a temporary service with sample events, delivered and signed
    Dev(dev::DevArgs),
    /// Run the service
    Serve(Box<serve::ServeArgs>),
    /// Send events to intake
    Send(Box<send::SendArgs>),
    /// Receive deliveries, verify and show them
    Listen(listen::ListenArgs),
    /// Apply sources, destinations and mappings from a file
    Apply(apply::ApplyArgs),
    /// Connect a destination whose auth is authorization_code
    Connect(connect::ConnectArgs),
    /// Revoke a destination's connection
    Disconnect(connect::DisconnectArgs),
    /// Hold the deliveries of a destination or a mapping, and go on accepting events
    Pause(pause::PauseArgs),
    /// Send what a pause held, at once or at a rate
    Resume(pause::ResumeArgs),
    /// Convert another service's configuration to a pipeline file; offline
    Import(import::ImportArgs),
    /// List deliveries, or show one with its attempts
    Deliveries(Box<deliveries::DeliveriesArgs>),
    /// List attempts over all deliveries
    Attempts(Box<attempts::AttemptsArgs>),
    /// List events, show one with its deliveries, or follow new ones
    Events(events::EventsArgs),
    /// Export every event, delivery or attempt that matches, as CSV or JSON lines
    Export(Box<export::ExportArgs>),
    /// Explain per mapping how an event was delivered, or why it did not match
    Explain(explain::ExplainArgs),
    /// Make an inbox in an application's database, or let a role use one
    Inbox(inbox::InboxArgs),
    /// Show an inspector's requests, and set its answers
    Inspect(inspect::InspectArgs),
    /// List dead letters
    Dead(Box<dead::DeadArgs>),
    /// Render mappings for events, from JSON lines on stdin; offline
    Render(render::RenderArgs),
    /// Make dead letters due again, with a fresh window
    Redrive(Box<redrive::RedriveArgs>),
    /// Discard pending deliveries and dead letters
    Discard(Box<discard::DiscardArgs>),
    /// Make deliveries of a mapping from kept events
    Backfill(Box<backfill::BackfillArgs>),
    /// List redrives, discards and backfills, or show, follow or cancel one
    Jobs(jobs::JobsArgs),
    /// Remove events past their retention, or past a shorter age
    Prune(prune::PruneArgs),
    /// Render a mapping for an event: show the request, or send it as a test
    Test(test::TestArgs),
    /// List the audit log, or verify its hash chain
    Audit(audit::AuditArgs),
    /// List tokens, create or revoke one
    Tokens(tokens::TokensArgs),
    /// Show the service's status
    Status(status::StatusArgs),
    /// Check the store: consistency, integrity, leases, disk
    Doctor(doctor::DoctorArgs),
    /// Migrate a database's schema; offline
    Migrate(migrate::MigrateArgs),
    /// Move a database to another one, SQLite or PostgreSQL; offline
    Move(transfer::MoveArgs),
    /// Measure throughput and latency on this machine
    Bench(bench::BenchArgs),
    /// Run insert functions for the service that starts it
    #[command(hide = true, name = crate::functions::VERB)]
    FunctionWorker,
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
}

impl Verb {
    /// Whether it only reads, so that it may show several deployments one after the other.
    fn is_for_several(&self) -> bool {
        match self {
            Self::Events(args) => !args.follows(),
            Self::Jobs(args) => args.only_reads(),
            Self::Tokens(args) => args.only_reads(),
            Self::Doctor(args) => args.only_reads(),
            Self::Deliveries(_)
            | Self::Attempts(_)
            | Self::Explain(_)
            | Self::Dead(_)
            | Self::Audit(_)
            | Self::Status(_) => true,
            Self::Dev(_)
            | Self::Serve(_)
            | Self::Send(_)
            | Self::Listen(_)
            | Self::Apply(_)
            | Self::Connect(_)
            | Self::Disconnect(_)
            | Self::Pause(_)
            | Self::Resume(_)
            | Self::Import(_)
            | Self::Inspect(_)
            | Self::Export(_)
            | Self::Inbox(_)
            | Self::Render(_)
            | Self::Redrive(_)
            | Self::Discard(_)
            | Self::Backfill(_)
            | Self::Prune(_)
            | Self::Test(_)
            | Self::Migrate(_)
            | Self::Move(_)
            | Self::Bench(_)
            | Self::FunctionWorker
            | Self::Completions(_) => false,
        }
    }

    async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        match self {
            Self::Dev(args) => args.run(globals).await,
            Self::Serve(args) => args.run(globals).await,
            Self::Send(args) => args.run(globals).await,
            Self::Listen(args) => args.run(globals).await,
            Self::Apply(args) => args.run(globals).await,
            Self::Connect(args) => args.run(globals).await,
            Self::Disconnect(args) => args.run(globals).await,
            Self::Pause(args) => args.run(globals).await,
            Self::Resume(args) => args.run(globals).await,
            Self::Import(args) => args.run(globals),
            Self::Deliveries(args) => args.run(globals).await,
            Self::Attempts(args) => args.run(globals).await,
            Self::Events(args) => args.run(globals).await,
            Self::Export(args) => args.run(globals).await,
            Self::Explain(args) => args.run(globals).await,
            Self::Inbox(args) => args.run(globals).await,
            Self::Inspect(args) => args.run(globals).await,
            Self::Dead(args) => args.run(globals).await,
            Self::Render(args) => args.run(globals),
            Self::Redrive(args) => args.run(globals).await,
            Self::Discard(args) => args.run(globals).await,
            Self::Backfill(args) => args.run(globals).await,
            Self::Jobs(args) => args.run(globals).await,
            Self::Prune(args) => args.run(globals).await,
            Self::Test(args) => args.run(globals).await,
            Self::Audit(args) => args.run(globals).await,
            Self::Tokens(args) => args.run(globals).await,
            Self::Status(args) => args.run(globals).await,
            Self::Doctor(args) => args.run(globals).await,
            Self::Migrate(args) => args.run(globals).await,
            Self::Move(args) => args.run(globals).await,
            Self::Bench(args) => args.run(globals).await,
            // `main` runs it before the runtime starts: its sandbox allows no threads.
            Self::FunctionWorker => Ok(ExitCode::FAILURE),
            Self::Completions(args) => args.run(globals),
        }
    }
}

/// Parses the command line, runs the verb and returns the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let colour = globals::colour(std::env::args_os());
    let parsed = Cli::command().color(colour).try_get_matches();
    let parsed = parsed.and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return usage(&error),
    };
    if matches!(cli.verb, Verb::FunctionWorker) {
        return crate::functions::worker::main();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure::report(&anyhow::Error::new(error), cli.globals.no_color),
    };
    match cli.globals.deployments() {
        Ok(deployments) if deployments.is_empty() => run(&runtime, cli.verb, &cli.globals),
        Ok(deployments) if cli.verb.is_for_several() => {
            run_for_each(&runtime, &matches, &deployments)
        }
        Ok(_) => {
            let several =
                Failure::usage("this verb is for one deployment, and several --url are given");
            failure::report(
                &several.hint("lists, status and audit verify take several").into(),
                cli.globals.no_color,
            )
        }
        Err(error) => failure::report(&error.into(), cli.globals.no_color),
    }
}

fn run(runtime: &tokio::runtime::Runtime, verb: Verb, globals: &Globals) -> ExitCode {
    match runtime.block_on(Box::pin(verb.run(globals))) {
        Ok(code) => code,
        Err(error) => failure::report(&error, globals.no_color),
    }
}

/// Runs the verb on each deployment; the exit code is that of the first which did not succeed.
fn run_for_each(
    runtime: &tokio::runtime::Runtime,
    matches: &clap::ArgMatches,
    deployments: &[Globals],
) -> ExitCode {
    let mut ended = ExitCode::SUCCESS;
    for globals in deployments {
        let code = match Cli::from_arg_matches(matches) {
            Ok(cli) => run(runtime, cli.verb, globals),
            Err(error) => return usage(&error),
        };
        if ended == ExitCode::SUCCESS {
            ended = code;
        }
    }
    ended
}

/// Help and version are no errors; everything else is wrong usage.
fn usage(error: &clap::Error) -> ExitCode {
    // A closed stream is no error here.
    let _ = error.print();
    if error.use_stderr() { exit::USAGE.into() } else { ExitCode::SUCCESS }
}

/// The command line as clap has it: completions and the reference are written from it.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}
