//! The stage of a bench: the receiver, which stays the same throughout, and the loads that are sent to
//! it bare or through a service.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::load::LoadReport;
use super::process::Process;
use super::receiver::Reading;
use super::service::{Service, Through};
use super::side::{Account, Side};
use super::{BenchArgs, event, meter};
use crate::cli::output::Output;
use crate::domain::clock::{Clock as _, SystemClock, Timestamp};

/// The largest number of events in one part: what the receiver keeps apart.
pub(super) const EVENTS: u32 = 99_999_999;
/// Turns of the service; the baseline has one before each and one at the end.
const TURNS: u64 = 5;
/// Deliveries may stand still for so long before what is missing counts as lost.
const STANDSTILL: Duration = Duration::from_secs(15);
const GLANCES: Duration = Duration::from_millis(20);
/// Beyond the time it was given, a load may take so long to come to its end.
const LOAD_GRACE: Duration = Duration::from_secs(60);
const END: Duration = Duration::from_secs(10);
/// What statfs(2) calls a file system that lives in memory.
const TMPFS: i64 = 0x0102_1994;

/// What one part of the bench sends.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) name: &'static str,
    /// For how long.
    pub(super) millis: u64,
    /// Events a second; 0: as fast as answers come.
    pub(super) rate: u32,
    /// At most so many events.
    pub(super) events: u32,
    /// The first one's number.
    pub(super) first: u32,
    /// Events that share a request to the service; 0: one each.
    pub(super) batch: u32,
    /// How often each event is to arrive.
    pub(super) copies: u32,
}

/// What one part of the bench gave.
pub(super) struct Outcome {
    pub(super) side: Side,
    pub(super) account: Account,
}

/// A load that is being sent.
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

/// A bench under way.
pub(super) struct Stage<'a> {
    pub(super) args: BenchArgs,
    /// Where the receiver is.
    pub(super) address: SocketAddr,
    pub(super) clock: SystemClock,
    output: &'a mut Output,
    receiver: Process,
    folder: PathBuf,
    run: i64,
}

#[derive(Deserialize)]
struct Listening {
    address: SocketAddr,
}

impl<'a> Stage<'a> {
    pub(super) async fn open(args: BenchArgs, output: &'a mut Output) -> anyhow::Result<Self> {
        let folder = args.directory.clone().unwrap_or_else(std::env::temp_dir);
        let words = ["bench", "receiver"].map(str::to_owned);
        let mut receiver = Process::start("receiver", &words, &folder)?;
        let Listening { address } = receiver.answer(END).await?;
        let clock = SystemClock::new();
        let run = clock.now().as_micros();
        Ok(Self { args, address, clock, output, receiver, folder, run })
    }

    pub(super) async fn close(self) -> anyhow::Result<()> {
        self.receiver.finish(END).await
    }

    /// Whether databases are in memory, where a commit costs nothing.
    pub(super) fn is_in_memory(&self) -> bool {
        rustix::fs::statfs(&self.folder).is_ok_and(|system| system.f_type == TMPFS)
    }

    /// Tells what goes on.
    pub(super) fn remark(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(self.output.remark(text)?)
    }

    /// A service with a new database and this pipeline.
    pub(super) async fn service(&self, pipeline: &Value) -> anyhow::Result<Service> {
        Service::start(&self.folder, pipeline).await
    }

    /// A part that lasts as long as one was asked to, with as many events.
    pub(super) fn whole(&self, name: &'static str) -> Part {
        let (millis, events) = (self.args.seconds * 1_000, self.args.events);
        Part { name, millis, rate: 0, events, first: 0, batch: 0, copies: 1 }
    }

    /// The bare loop against the service, in turns: a machine whose speed changes from second to second
    /// changes both alike.
    pub(super) async fn turns(
        &mut self,
        service: &Service,
        part: &Part,
    ) -> anyhow::Result<(Side, Side, Account)> {
        let turn = Part { millis: part.millis / TURNS, ..part.clone() };
        let (mut baselines, mut sides, mut account) =
            (vec![self.baseline().await?], Vec::new(), Account::default());
        for _ in 0..TURNS {
            let outcome = self.through(service, &turn).await?;
            sides.push(outcome.side);
            account.add(outcome.account);
            baselines.push(self.baseline().await?);
        }
        Ok((Side::of(&sides), Side::of(&baselines), account))
    }

    /// One turn of the bare loop.
    pub(super) async fn baseline(&mut self) -> anyhow::Result<Side> {
        let millis = (self.args.seconds * 1_000).min(10_000) / (TURNS + 1);
        let part = Part { millis, ..self.whole("bare loop") };
        self.take().await?;
        let load = self.begin(None, &part)?.end().await?;
        self.arrived(load.acknowledged).await?;
        let reading = self.take().await?;
        Ok(Side::new(&load, &reading, load.cpu_us))
    }

    /// Sends one part through the service and waits until all of it has arrived or nothing more does.
    pub(super) async fn through(
        &mut self,
        service: &Service,
        part: &Part,
    ) -> anyhow::Result<Outcome> {
        self.take().await?;
        let cpu_before = service.process().cpu_us()?;
        let load = self.begin(Some(service), part)?.end().await?;
        let copies = u64::from(part.copies);
        self.arrived(load.acknowledged * copies).await?;
        let cpu_us = service.process().cpu_us()?.saturating_sub(cpu_before);
        let reading = self.take().await?;
        let side = Side::new(&load, &reading, cpu_us);
        Ok(Outcome { side, account: Account::new(&load, &reading, copies) })
    }

    /// Begins to send one part: bare where there is no service.
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
        flag("workers", self.args.workers.to_string());
        flag("rate", part.rate.to_string());
        match service {
            Some(_) => flag("authorization", Service::authorization()),
            None => words.push("--bare".to_owned()),
        }
        words
    }

    pub(super) fn event_bytes(&self) -> usize {
        usize::try_from(self.args.bytes).unwrap_or(event::SMALLEST)
    }

    /// Waits until so many have arrived since the last count, or nothing more does. When it was seen.
    pub(super) async fn arrived(&mut self, count: u64) -> anyhow::Result<Timestamp> {
        let (mut seen, mut still) = (0, Duration::ZERO);
        while seen < count && still < STANDSTILL {
            let glance = self.glance().await?;
            still = if glance.distinct > seen { Duration::ZERO } else { still + GLANCES };
            seen = glance.distinct;
            if seen < count {
                tokio::time::sleep(GLANCES).await;
            }
        }
        Ok(self.clock.now())
    }

    /// What has come since the last count.
    pub(super) async fn glance(&mut self) -> anyhow::Result<Reading> {
        self.receiver.ask(meter::GLANCE).await
    }

    /// What has come since the last count; the next one begins here.
    pub(super) async fn take(&mut self) -> anyhow::Result<Reading> {
        self.receiver.ask(meter::TAKE).await
    }

    /// The receiver refuses everything from now on.
    pub(super) async fn refuse(&mut self) -> anyhow::Result<Reading> {
        self.receiver.ask(meter::REFUSE).await
    }

    /// The receiver takes everything again.
    pub(super) async fn admit(&mut self) -> anyhow::Result<Reading> {
        self.receiver.ask(meter::ADMIT).await
    }
}
