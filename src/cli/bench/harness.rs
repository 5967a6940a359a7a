//! The bench's harness: one receiver for all scenarios, and loads that are sent to it directly or through
//! a service.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::load::LoadReport;
use super::measurement::{Account, Measurement};
use super::process::Process;
use super::receiver::Reading;
use super::server::{Server, Usage};
use super::service::{self, Service, Through};
use super::{BenchArgs, event, receiver_process};
use crate::cli::output::Output;
use crate::domain::clock::{Clock as _, SystemClock, Timestamp};

/// Maximum events of one part: the receiver distinguishes this many.
pub(super) const EVENTS: u32 = 99_999_999;
/// Events of a batched request to the service.
pub(super) const BATCH: u32 = 100;
/// Deliveries of a batched request to the receiver.
pub(super) const BATCHING: u32 = 1_000;
/// Turns of the service; the baseline has one before each and one at the end.
const TURNS: u64 = 5;
/// Deliveries that have not arrived after this time without progress count as lost.
const STANDSTILL: Duration = Duration::from_secs(15);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Time limit for creating a backlog, in milliseconds.
pub(super) const COLLECTING_MS: u64 = 1_200_000;
/// Time limit for a load to end after its duration.
const LOAD_GRACE: Duration = Duration::from_secs(60);
const END: Duration = Duration::from_secs(10);
/// statfs(2)'s type of an in-memory file system.
const TMPFS: i64 = 0x0102_1994;

/// The load of one part of a bench.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) name: &'static str,
    /// Its duration.
    pub(super) millis: u64,
    /// Events a second; 0: closed loop.
    pub(super) rate: u32,
    /// Maximum number of events.
    pub(super) events: u32,
    /// The first event's number.
    pub(super) first: u32,
    /// Events of a request to the service; 0: one each.
    pub(super) batch: u32,
    /// Deliveries of each event.
    pub(super) copies: u32,
    /// Requests in flight; none: as the arguments have it.
    pub(super) workers: Option<u32>,
    /// The write key that it is sent with.
    pub(super) write_key: &'static str,
}

/// The result of one part.
pub(super) struct Outcome {
    pub(super) side: Measurement,
    pub(super) account: Account,
}

/// A load in progress.
pub(super) struct Sending {
    process: Process,
    limit: Duration,
}

impl Sending {
    /// Waits for its end.
    pub(super) async fn end(mut self) -> anyhow::Result<LoadReport> {
        let report = self.process.answer(self.limit).await?;
        self.process.finish(END).await?;
        Ok(report)
    }
}

/// A bench in progress.
pub(super) struct Harness<'a> {
    pub(super) args: BenchArgs,
    /// The receiver's address.
    pub(super) address: SocketAddr,
    pub(super) clock: SystemClock,
    output: &'a mut Output,
    receiver: Process,
    server: Option<&'a Server>,
    folder: PathBuf,
    run: i64,
}

#[derive(Deserialize)]
struct Listening {
    address: SocketAddr,
}

impl<'a> Harness<'a> {
    pub(super) async fn open(
        args: BenchArgs,
        output: &'a mut Output,
        server: Option<&'a Server>,
    ) -> anyhow::Result<Self> {
        let folder = args.directory.clone().unwrap_or_else(std::env::temp_dir);
        let words = ["bench", "receiver"].map(str::to_owned);
        let mut receiver = Process::start("receiver", &words, &folder)?;
        let Listening { address } = receiver.answer(END).await?;
        let clock = SystemClock::new();
        let run = clock.now().as_micros();
        Ok(Self { args, address, clock, output, receiver, server, folder, run })
    }

    pub(super) async fn close(self) -> anyhow::Result<()> {
        self.receiver.finish(END).await
    }

    /// Whether databases are in memory, where a commit costs nothing.
    pub(super) fn is_in_memory(&self) -> bool {
        let is_tmpfs = || rustix::fs::statfs(&self.folder).is_ok_and(|it| it.f_type == TMPFS);
        !self.has_server() && is_tmpfs()
    }

    /// Whether databases are those of a PostgreSQL server.
    pub(super) const fn has_server(&self) -> bool {
        self.server.is_some()
    }

    /// The goals of this engine.
    pub(super) fn goals(&self, file: (f64, f64), server: Option<(f64, f64)>) -> Option<(f64, f64)> {
        if self.has_server() { server } else { Some(file) }
    }

    /// What the server has used for a service's database; none on SQLite.
    pub(super) async fn usage(&self, service: &Service) -> anyhow::Result<Option<Usage>> {
        match self.server {
            Some(server) => Ok(Some(server.usage(service.database()).await?)),
            None => Ok(None),
        }
    }

    /// CPU time of services, and of the server with all its processes.
    pub(super) fn cpu_us(&self, services: &[Service]) -> anyhow::Result<u64> {
        let mut sum = self.server.map_or(Ok(0), Server::cpu_us)?;
        for service in services {
            sum += service.process().cpu_us()?;
        }
        Ok(sum)
    }

    /// Prints progress.
    pub(super) fn remark(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(self.output.remark(text)?)
    }

    /// A service with a new database and this pipeline.
    pub(super) async fn service(&self, pipeline: &Value) -> anyhow::Result<Service> {
        let database = match self.server {
            Some(server) => server.database().await?.into(),
            None => service::FILE.to_owned(),
        };
        Service::start(&self.folder, database, pipeline).await
    }

    /// A service with one destination.
    pub(super) async fn one_destination(
        &self,
        batching: u32,
        mappings: u32,
    ) -> anyhow::Result<Service> {
        let shape = (self.args.in_flight, batching);
        let destinations = [service::destination(mappings)];
        self.service(&service::pipeline(self.address, &destinations, shape)).await
    }

    /// A part with the duration and number of events of the arguments.
    pub(super) fn whole(&self, name: &'static str) -> Part {
        let (millis, events) = (self.args.seconds * 1_000, self.args.events);
        let (workers, write_key) = (None, service::WRITE_KEY);
        Part { name, millis, rate: 0, events, first: 0, batch: 0, copies: 1, workers, write_key }
    }

    /// The bare loop and the service, in turns: changes of the machine's speed affect both.
    pub(super) async fn turns(
        &mut self,
        service: &Service,
        part: &Part,
    ) -> anyhow::Result<(Measurement, Measurement, Account)> {
        let turn = Part { millis: part.millis / TURNS, ..part.clone() };
        let (mut baselines, mut sides, mut account) =
            (vec![self.baseline().await?], Vec::new(), Account::default());
        for _ in 0..TURNS {
            let outcome = self.through(service, &turn).await?;
            sides.push(outcome.side);
            account.add(outcome.account);
            baselines.push(self.baseline().await?);
        }
        Ok((Measurement::of(&sides), Measurement::of(&baselines), account))
    }

    /// Two services in turns, each with its part.
    pub(super) async fn alternate(
        &mut self,
        turns: u64,
        services: [(&Service, &Part); 2],
    ) -> anyhow::Result<([Measurement; 2], Account)> {
        let (mut sides, mut account) = ([Vec::new(), Vec::new()], Account::default());
        for _ in 0..turns {
            for ((service, part), sides) in services.into_iter().zip(&mut sides) {
                let outcome = self.through(service, part).await?;
                sides.push(outcome.side);
                account.add(outcome.account);
            }
        }
        Ok((sides.map(|sides| Measurement::of(&sides)), account))
    }

    /// One turn of the bare loop.
    pub(super) async fn baseline(&mut self) -> anyhow::Result<Measurement> {
        let millis = (self.args.seconds * 1_000).min(10_000) / (TURNS + 1);
        let part = Part { millis, ..self.whole("bare loop") };
        self.take().await?;
        let load = self.begin(None, &part)?.end().await?;
        self.arrived(load.acknowledged).await?;
        let reading = self.take().await?;
        Ok(Measurement::new(&load, &reading, load.cpu_us))
    }

    /// Sends one part through the service and waits until its deliveries have arrived or stopped arriving.
    pub(super) async fn through(
        &mut self,
        service: &Service,
        part: &Part,
    ) -> anyhow::Result<Outcome> {
        self.take().await?;
        let services = std::slice::from_ref(service);
        let cpu_before = self.cpu_us(services)?;
        let load = self.begin(Some(service), part)?.end().await?;
        let copies = u64::from(part.copies);
        self.arrived(load.acknowledged * copies).await?;
        let cpu_us = self.cpu_us(services)?.saturating_sub(cpu_before);
        let reading = self.take().await?;
        let side = Measurement::new(&load, &reading, cpu_us);
        Ok(Outcome { side, account: Account::new(&load, &reading, copies) })
    }

    /// Starts one part: directly to the receiver when there is no service.
    pub(super) fn begin(
        &mut self,
        service: Option<&Service>,
        part: &Part,
    ) -> anyhow::Result<Sending> {
        self.remark(&format!("{} …", part.name))?;
        self.run += 1;
        let words = self.load_words(service, part);
        let process = Process::start("load", &words, &self.folder)?;
        Ok(Sending { process, limit: Duration::from_millis(part.millis) + LOAD_GRACE })
    }

    fn load_words(&self, service: Option<&Service>, part: &Part) -> Vec<String> {
        let mut words = vec!["bench".to_owned(), "load".to_owned()];
        let mut flag = |name: &str, value: String| words.extend([format!("--{name}"), value]);
        let through = if part.batch > 0 { Through::Batch } else { Through::Single };
        let url = match service {
            Some(service) => service.intake(through),
            None => format!("http://{}/", self.address),
        };
        flag("to", url);
        flag("run", format!("bench-{}", self.run));
        flag("bytes", self.event_bytes().to_string());
        flag("millis", part.millis.to_string());
        flag("events", part.events.to_string());
        flag("first", part.first.to_string());
        flag("batch", part.batch.to_string());
        flag("workers", part.workers.unwrap_or(self.args.workers).to_string());
        flag("rate", part.rate.to_string());
        match service {
            Some(_) => flag("authorization", Service::authorization(part.write_key)),
            None => words.push("--bare".to_owned()),
        }
        words
    }

    pub(super) fn event_bytes(&self) -> usize {
        usize::try_from(self.args.bytes).unwrap_or(event::SMALLEST)
    }

    /// Waits until this many deliveries have arrived since the last reset, or stopped arriving. Returns the
    /// time.
    pub(super) async fn arrived(&mut self, count: u64) -> anyhow::Result<Timestamp> {
        let (mut seen, mut still) = (0, Duration::ZERO);
        while seen < count && still < STANDSTILL {
            let poll = self.poll().await?;
            still = if poll.distinct > seen { Duration::ZERO } else { still + POLL_INTERVAL };
            seen = poll.distinct;
            if seen < count {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
        Ok(self.clock.now())
    }

    /// The counters since the last reset.
    pub(super) async fn poll(&mut self) -> anyhow::Result<Reading> {
        self.receiver.ask(receiver_process::POLL).await
    }

    /// The counters since the last reset; resets them.
    pub(super) async fn take(&mut self) -> anyhow::Result<Reading> {
        self.receiver.ask(receiver_process::TAKE).await
    }

    /// The receiver refuses all requests from now on.
    pub(super) async fn refuse(&mut self) -> anyhow::Result<Reading> {
        self.receiver.ask(receiver_process::REFUSE).await
    }

    /// The receiver rejects all requests from now on.
    pub(super) async fn reject(&mut self) -> anyhow::Result<Reading> {
        self.receiver.ask(receiver_process::REJECT).await
    }

    /// Sends the backlog of the arguments, in batches; the receiver is to refuse or reject it.
    pub(super) async fn collect(
        &mut self,
        service: &Service,
        name: &'static str,
    ) -> anyhow::Result<LoadReport> {
        let events = self.args.backlog;
        let part = Part { millis: COLLECTING_MS, events, batch: BATCH, ..self.whole(name) };
        self.begin(Some(service), &part)?.end().await
    }

    /// Waits until this many requests were refused since the last reset, or none is any more.
    pub(super) async fn refused(&mut self, count: u64) -> anyhow::Result<()> {
        let (mut seen, mut still) = (0, Duration::ZERO);
        while seen < count && still < STANDSTILL {
            let refused = self.poll().await?.refused;
            still = if refused > seen { Duration::ZERO } else { still + POLL_INTERVAL };
            seen = refused;
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// The receiver accepts requests again.
    pub(super) async fn admit(&mut self) -> anyhow::Result<Reading> {
        self.receiver.ask(receiver_process::ADMIT).await
    }
}
