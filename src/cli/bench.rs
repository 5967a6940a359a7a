//! `bench`: throughput and latency on this machine. Service, load and receiver are processes of
//! their own on loopback. The same receiver takes a bare POST loop as the baseline, in turns with the
//! service: a machine whose speed changes from second to second changes both alike.

mod event;
mod load;
mod meter;
mod process;
mod report;
mod service;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use serde::Deserialize;

use super::failure::{Failure, exit};
use super::globals::Globals;
use super::output::Output;
use crate::clock::{Clock as _, SystemClock};
use crate::receiver::Reading;

use load::{LoadArgs, LoadReport};
use process::Process;
use report::{Account, Report, Side, Steady};
use service::Service;

/// Turns of the service; the baseline has one before each and one at the end.
const TURNS: u64 = 5;
/// Deliveries may stand still for so long before what is missing counts as lost.
const STANDSTILL: Duration = Duration::from_secs(15);
const GLANCES: Duration = Duration::from_millis(20);
/// Beyond the time it was given, a load may take so long to come to its end.
const LOAD_GRACE: Duration = Duration::from_secs(60);
const END: Duration = Duration::from_secs(10);
/// The largest number of events in one part: what the receiver keeps apart.
const EVENTS: u32 = 99_999_999;

/// Measure throughput and latency on this machine, against a bare POST loop to the same receiver
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BenchArgs {
    #[command(subcommand)]
    role: Option<Role>,
    /// How long to send as fast as answers come, in seconds
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Send at most so many events
    #[arg(long, value_name = "NUMBER", default_value_t = EVENTS, value_parser = clap::value_parser!(u32).range(1..=i64::from(EVENTS)))]
    events: u32,
    /// Requests that the load has under way at once
    #[arg(long, value_name = "NUMBER", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=2048))]
    workers: u32,
    /// Requests that the service has under way to the receiver at once
    #[arg(long, value_name = "NUMBER", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    in_flight: u32,
    /// Events that share a request to the receiver at most; 0: one request an event
    #[arg(long, value_name = "NUMBER", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=4_000))]
    batching: u32,
    /// Size of an event, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(256..=32_000))]
    bytes: u32,
    /// Events a second of the second part, which looks at latency; 0 leaves it out
    #[arg(long, value_name = "NUMBER", default_value_t = 200, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    rate: u32,
    /// Folder for the temporary database [default: the system's temporary folder]
    #[arg(long, value_name = "FOLDER")]
    directory: Option<PathBuf>,
    /// Fail unless the goals are reached: 0.25 of the baseline's rate, 5 times its CPU
    #[arg(long)]
    check: bool,
}

/// The other processes of a bench, started by it.
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
    /// When a process of the bench does not do its part.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        match self.role {
            Some(Role::Receiver) => meter::run(globals).await,
            Some(Role::Load(args)) => args.run(globals).await,
            None => self.measure(globals).await,
        }
    }

    async fn measure(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let check = self.check;
        let mut output = globals.output();
        let measured = Box::pin(Bench::run(self, &mut output));
        let report = tokio::select! {
            report = measured => report?,
            stop = tokio::signal::ctrl_c() => {
                stop?;
                return Ok(exit::INTERRUPTED.into());
            }
        };
        report.show(&mut output)?;
        if report.lost() > 0 {
            let lost = report.lost();
            return Err(Failure::new(
                exit::FAILED,
                format!("{lost} acknowledged events were lost"),
            )
            .into());
        }
        Ok(if check && !report.missed.is_empty() { exit::FAILED.into() } else { ExitCode::SUCCESS })
    }
}

/// What one part of the bench sends.
struct Part<'a> {
    name: &'static str,
    url: String,
    service: Option<&'a Service>,
    millis: u64,
    rate: u32,
}

/// What one part of the bench gave.
struct Outcome {
    load: LoadReport,
    reading: Reading,
    cpu_us: u64,
}

impl Outcome {
    fn side(&self) -> Side {
        Side::new(&self.load, &self.reading, self.cpu_us)
    }
}

/// A bench under way: the receiver stays the same throughout.
struct Bench<'a> {
    args: BenchArgs,
    output: &'a mut Output,
    receiver: Process,
    address: SocketAddr,
    folder: PathBuf,
    run: i64,
}

#[derive(Deserialize)]
struct Listening {
    address: SocketAddr,
}

impl<'a> Bench<'a> {
    async fn run(args: BenchArgs, output: &'a mut Output) -> anyhow::Result<Report> {
        let folder = args.directory.clone().unwrap_or_else(std::env::temp_dir);
        let words = ["bench", "receiver"].map(str::to_owned);
        let mut receiver = Process::start("receiver", &words, &folder)?;
        let Listening { address } = receiver.answer(END).await?;
        let run = SystemClock::new().now().as_micros();
        let mut bench = Self { args, output, receiver, address, folder, run };
        let mut report = bench.measure().await?;
        bench.receiver.finish(END).await?;
        report.judge();
        Ok(report)
    }

    async fn baseline(&mut self) -> anyhow::Result<Side> {
        let url = format!("http://{}/", self.address);
        let millis = (self.args.seconds * 1_000).min(10_000) / (TURNS + 1);
        let part = Part { name: "bare loop", url, service: None, millis, rate: 0 };
        Ok(self.part(&part).await?.side())
    }

    async fn measure(&mut self) -> anyhow::Result<Report> {
        let pipeline = service::pipeline(self.address, self.args.in_flight, self.args.batching);
        let service = Service::start(&self.folder, &pipeline).await?;
        let disk_before = service.disk_bytes()?;
        let (mut baselines, mut turns, mut account) =
            (vec![self.baseline().await?], Vec::new(), Account::default());
        for _ in 0..TURNS {
            let millis = self.args.seconds * 1_000 / TURNS;
            let turn = self.through(&service, "service", millis, 0).await?;
            turns.push(turn.side());
            account.add(Account::new(&turn.load, &turn.reading));
            baselines.push(self.baseline().await?);
        }
        let (fast, baseline) = (Side::of(&turns), Side::of(&baselines));
        let disk = service.disk_bytes()?.saturating_sub(disk_before);
        let peak_memory_bytes = service.process().peak_memory_bytes()?;
        let database_in_memory = service.is_in_memory();
        let steady = match self.args.rate {
            0 => None,
            rate => {
                let millis = (self.args.seconds * 1_000).min(10_000);
                let slow = self.through(&service, "service, steady", millis, rate).await?;
                let account = Account::new(&slow.load, &slow.reading);
                Some(Steady { events_per_second: rate, side: slow.side(), account })
            }
        };
        service.stop().await?;
        Ok(Report {
            version: env!("CARGO_PKG_VERSION"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            event_bytes: self.event_bytes(),
            workers: self.args.workers,
            database_in_memory,
            disk_bytes_per_event: disk / fast.events.max(1),
            service: fast,
            account,
            baseline,
            rate_ratio: 0.0,
            cpu_ratio: 0.0,
            peak_memory_bytes,
            steady,
            missed: Vec::new(),
        })
    }

    async fn through(
        &mut self,
        service: &Service,
        name: &'static str,
        millis: u64,
        rate: u32,
    ) -> anyhow::Result<Outcome> {
        let part = Part { name, url: service.intake(), service: Some(service), millis, rate };
        self.part(&part).await
    }

    /// Sends one part and waits until all of it has arrived or nothing more does.
    async fn part(&mut self, part: &Part<'_>) -> anyhow::Result<Outcome> {
        self.output.remark(&format!("{} …", part.name))?;
        self.run += 1;
        let _: Reading = self.receiver.ask(meter::TAKE).await?;
        let cpu_before = part.service.map(|service| service.process().cpu_us()).transpose()?;
        let mut sending = Process::start("load", &self.load_words(part), &self.folder)?;
        let load: LoadReport =
            sending.answer(Duration::from_millis(part.millis) + LOAD_GRACE).await?;
        sending.finish(END).await?;
        self.drain(load.acknowledged).await?;
        let cpu_us = match (part.service, cpu_before) {
            (Some(service), Some(before)) => service.process().cpu_us()?.saturating_sub(before),
            _ => load.cpu_us,
        };
        let reading = self.receiver.ask(meter::TAKE).await?;
        Ok(Outcome { load, reading, cpu_us })
    }

    fn load_words(&self, part: &Part<'_>) -> Vec<String> {
        let mut words = vec!["bench".to_owned(), "load".to_owned()];
        let mut flag = |name: &str, value: String| words.extend([format!("--{name}"), value]);
        flag("to", part.url.clone());
        flag("run", format!("bench-{}", self.run));
        flag("bytes", self.event_bytes().to_string());
        flag("millis", part.millis.to_string());
        flag("events", self.args.events.to_string());
        flag("workers", self.args.workers.to_string());
        flag("rate", part.rate.to_string());
        match part.service {
            Some(_) => flag("authorization", Service::authorization()),
            None => words.push("--bare".to_owned()),
        }
        words
    }

    fn event_bytes(&self) -> usize {
        usize::try_from(self.args.bytes).unwrap_or(event::SMALLEST)
    }

    async fn drain(&mut self, acknowledged: u64) -> anyhow::Result<()> {
        let (mut seen, mut still) = (0, Duration::ZERO);
        while seen < acknowledged && still < STANDSTILL {
            let glance: Reading = self.receiver.ask(meter::GLANCE).await?;
            still = if glance.distinct > seen { Duration::ZERO } else { still + GLANCES };
            seen = glance.distinct;
            if seen < acknowledged {
                tokio::time::sleep(GLANCES).await;
            }
        }
        Ok(())
    }
}
