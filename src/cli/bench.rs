//! `bench`: throughput and latency on this machine. Service, load and receiver are separate processes on
//! loopback. The baseline is a bare POST loop to the same receiver, in turns with the service, so that
//! changes of the machine's speed affect both.

mod apply;
mod backlog;
mod baseline;
mod cpu;
mod crash;
mod event;
mod event_mark;
mod fairness;
mod functions;
mod goals;
mod harness;
mod history;
mod load;
mod mappings;
mod measurement;
mod neighbours;
mod nodes;
mod process;
mod readers;
mod receiver;
mod receiver_process;
mod recovery;
mod redrive;
mod report;
mod rest;
mod retention;
mod scenario;
mod server;
mod service;
mod snapshot;
mod soak;
mod throughput;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum as _};

use super::failure::{Failure, exit};
use super::globals::Globals;
use super::output::Output;

use harness::{EVENTS, Harness};
use load::LoadArgs;
use report::{Report, ScenarioReport};
use scenario::Scenario;
use server::Server;
use url::Url;

/// Measure throughput and latency on this machine, against a bare POST loop to the same receiver
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BenchArgs {
    #[command(subcommand)]
    role: Option<Role>,
    /// Scenarios to measure [default: single steady]
    scenarios: Vec<Scenario>,
    /// Measure every scenario
    #[arg(long, conflicts_with = "scenarios")]
    all: bool,
    /// How long to send at full speed, in seconds
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Send at most this many events
    #[arg(long, value_name = "NUMBER", default_value_t = EVENTS, value_parser = clap::value_parser!(u32).range(1..=i64::from(EVENTS)))]
    events: u32,
    /// Requests of the load in flight
    #[arg(long, value_name = "NUMBER", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=2048))]
    workers: u32,
    /// Requests of the service to the receiver in flight
    #[arg(long, value_name = "NUMBER", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    in_flight: u32,
    /// Size of an event, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(256..=32_000))]
    bytes: u32,
    /// Events a second of the scenarios with a steady rate
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Settled deliveries in the database of `history`
    #[arg(long, value_name = "NUMBER", default_value_t = 5_000_000, value_parser = clap::value_parser!(u32).range(1..=i64::from(EVENTS)))]
    history: u32,
    /// Deliveries due in `backlog` and `crash`, waiting in `rest`, dead in `redrive`, and due at startup in
    /// `history` and `recovery`
    #[arg(long, value_name = "NUMBER", default_value_t = 500_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    backlog: u32,
    /// Sources in `apply`
    #[arg(long, value_name = "NUMBER", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    sources: u32,
    /// Mappings in `recovery`
    #[arg(long, value_name = "NUMBER", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    mappings: u32,
    /// Mappings in `mappings`
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    triggers: u32,
    /// Clients that list without a pause in `readers`
    #[arg(long, value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    clients: u32,
    /// How long `rest` is measured, in seconds: its duties run every 30
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    rest_seconds: u64,
    /// How long `soak` lasts, in seconds
    #[arg(long, value_name = "S", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    soak_seconds: u64,
    /// How long `snapshot` holds it, in seconds
    #[arg(long, value_name = "S", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    snapshot_seconds: u64,
    /// A PostgreSQL server on this machine, postgres://user@host/database: services have databases of their own on it,
    /// which the bench makes and drops
    #[arg(long, value_name = "URL")]
    database: Option<Url>,
    /// Folder for the temporary database [default: the system's temporary folder]
    #[arg(long, value_name = "FOLDER")]
    directory: Option<PathBuf>,
    /// Fail if a goal is missed
    #[arg(long)]
    check: bool,
}

/// The bench's child processes.
#[derive(Debug, Subcommand)]
enum Role {
    /// Receive and count
    #[command(hide = true)]
    Receiver,
    /// Send and time
    #[command(hide = true)]
    Load(Box<LoadArgs>),
}

impl BenchArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When a process of the bench fails.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        match self.role {
            Some(Role::Receiver) => receiver_process::run(globals).await,
            Some(Role::Load(args)) => args.run(globals).await,
            None => self.measure(globals).await,
        }
    }

    async fn measure(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let check = self.check;
        self.check_scenarios()?;
        let mut output = globals.output();
        let server = match &self.database {
            Some(url) => Some(Server::connect(url).await?),
            None => None,
        };
        let measured = Box::pin(run_all(self, &mut output, server.as_ref()));
        let report = tokio::select! {
            report = measured => Some(report),
            stop = tokio::signal::ctrl_c() => stop.map(|()| None)?,
        };
        // The services have ended, or were killed as the measurement was dropped.
        if let Some(server) = &server {
            server.drop_all().await?;
        }
        let Some(report) = report.transpose()? else { return Ok(exit::INTERRUPTED.into()) };
        report.show(&mut output)?;
        let lost = report.lost();
        if lost > 0 {
            let words = format!("{lost} deliveries of acknowledged events were lost");
            return Err(Failure::new(exit::FAILED, words).into());
        }
        let missed = check && !report.reaches_all();
        Ok(if missed { exit::FAILED.into() } else { ExitCode::SUCCESS })
    }

    fn check_scenarios(&self) -> anyhow::Result<()> {
        let has_server = self.database.is_some();
        let Some(other) = self.scenarios().into_iter().find(|it| !it.is_of(has_server)) else {
            return Ok(());
        };
        let with = if has_server { "without --database" } else { "with --database" };
        Err(Failure::new(exit::USAGE, format!("the scenario {other} is measured {with}")).into())
    }

    fn scenarios(&self) -> Vec<Scenario> {
        if self.all {
            let all = Scenario::value_variants().iter().copied();
            return all.filter(|it| it.is_of(self.database.is_some())).collect();
        }
        if self.scenarios.is_empty() {
            return vec![Scenario::Single, Scenario::Steady];
        }
        self.scenarios.clone()
    }
}

async fn measure(scenario: Scenario, harness: &mut Harness<'_>) -> anyhow::Result<ScenarioReport> {
    match scenario {
        Scenario::Single => throughput::single(harness).await,
        Scenario::Batch => throughput::batch(harness).await,
        Scenario::Batched => throughput::batched(harness).await,
        Scenario::FanOut => throughput::fan_out(harness).await,
        Scenario::Steady => throughput::steady(harness).await,
        Scenario::History => Box::pin(history::run(harness)).await,
        Scenario::Backlog => Box::pin(backlog::run(harness)).await,
        Scenario::Crash => Box::pin(crash::run(harness)).await,
        Scenario::Apply => apply::run(harness).await,
        Scenario::Redrive => Box::pin(redrive::run(harness)).await,
        Scenario::Neighbours => neighbours::run(harness).await,
        Scenario::Fairness => Box::pin(fairness::run(harness)).await,
        Scenario::Functions => functions::run(harness).await,
        Scenario::Mappings => mappings::run(harness).await,
        Scenario::Soak => soak::run(harness).await,
        Scenario::Readers => readers::run(harness).await,
        Scenario::Rest => rest::run(harness).await,
        Scenario::Retention => Box::pin(retention::run(harness)).await,
        Scenario::Recovery => Box::pin(recovery::run(harness)).await,
        Scenario::Nodes => Box::pin(nodes::run(harness)).await,
        Scenario::Snapshot => Box::pin(snapshot::run(harness)).await,
    }
}

async fn run_all(
    args: BenchArgs,
    output: &mut Output,
    server: Option<&Server>,
) -> anyhow::Result<Report> {
    let scenarios = args.scenarios();
    let mut harness = Harness::open(args, output, server).await?;
    let mut found = Vec::new();
    for scenario in scenarios {
        found.push(Box::pin(measure(scenario, &mut harness)).await?);
    }
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        event_bytes: harness.event_bytes(),
        workers: harness.args.workers,
        database_in_memory: harness.is_in_memory(),
        postgres: server.map(|server| server.version.clone()),
        scenarios: found,
    };
    harness.close().await?;
    Ok(report)
}
