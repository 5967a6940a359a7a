//! The load of a bench: sends events and reports latencies. Closed loop: each worker sends one request
//! after another. Open loop: at a fixed rate, with the latency of a late request measured from its due time.

use std::ops::Range;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use url::Url;

use super::baseline::BaselineClient;
use super::event::event;
use super::event_mark::Mark;
use super::process::cpu_us;
use super::receiver::quantile;
use crate::cli::globals::Globals;
use crate::domain::clock::{Clock, SystemClock, Timestamp};

/// Attempts for one event, when the service throttles or a connection breaks.
const TRIES: u32 = 200;
/// The delay before a retry.
const PAUSE: Duration = Duration::from_millis(20);

/// The load's arguments.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct LoadArgs {
    /// Where to post to
    #[arg(long)]
    pub(super) to: Url,
    /// `Authorization` to post with
    #[arg(long)]
    pub(super) authorization: Option<String>,
    /// Post with reqwest alone: the baseline
    #[arg(long)]
    pub(super) bare: bool,
    /// Prefix of the events' messageId
    #[arg(long)]
    pub(super) run: String,
    /// Size of an event
    #[arg(long)]
    pub(super) bytes: usize,
    /// Duration
    #[arg(long)]
    pub(super) millis: u64,
    /// Maximum number of events
    #[arg(long)]
    pub(super) events: u32,
    /// The first event's number
    #[arg(long)]
    pub(super) first: u32,
    /// Events of a request; 0: one each, unwrapped
    #[arg(long)]
    pub(super) batch: u32,
    /// Workers, each with one request in flight
    #[arg(long)]
    pub(super) workers: u32,
    /// Events a second; 0: closed loop
    #[arg(long)]
    pub(super) rate: u32,
}

/// The load's report.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct LoadReport {
    /// Events acknowledged.
    pub(super) acknowledged: u64,
    /// Events that were given up.
    pub(super) failed: u64,
    /// Attempts that were throttled or broke.
    pub(super) repeated: u64,
    /// When the first event was sent, in microseconds since the Unix epoch.
    pub(super) first_us: i64,
    /// When the last acknowledgement came.
    pub(super) last_us: i64,
    /// Median acknowledgement latency, in microseconds.
    pub(super) p50_us: u32,
    /// p99 acknowledgement latency, in microseconds.
    pub(super) p99_us: u32,
    /// The longest acknowledgement latency, in microseconds.
    pub(super) max_us: u32,
    /// CPU time of this process between the two, in microseconds.
    pub(super) cpu_us: u64,
    /// The last error.
    pub(super) fault: Option<String>,
}

/// The results of one worker.
#[derive(Default)]
struct WorkerResults {
    /// One a request.
    latencies: Vec<u32>,
    acknowledged: u64,
    failed: u64,
    repeated: u64,
    last_us: i64,
    fault: Option<String>,
}

impl LoadArgs {
    /// Sends, then prints the report as a line of JSON.
    pub(super) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let report = drive(Arc::new(self)).await?;
        globals.output().line(serde_json::to_string(&report)?)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The state that workers share.
struct Shared {
    args: Arc<LoadArgs>,
    clock: SystemClock,
    next: AtomicU32,
    started_at: Timestamp,
}

impl Shared {
    /// The next request's events and when it is due; none at the end.
    fn next(&self) -> Option<(Range<u32>, Timestamp)> {
        let LoadArgs { rate, events, batch, millis, .. } = *self.args;
        let together = batch.max(1);
        let begin = self.next.fetch_add(together, Ordering::Relaxed);
        let due = match rate {
            0 => self.clock.now(),
            rate => {
                let due_us = u64::from(begin) * 1_000_000 / u64::from(rate);
                self.started_at + Duration::from_micros(due_us)
            }
        };
        let over = due.since(self.started_at) >= Duration::from_millis(millis);
        (begin < events && !over).then(|| (begin..events.min(begin + together), due))
    }

    /// Waits until it is due, and returns the start of its latency: the due time when no worker was free,
    /// the send time when only the timer, with a resolution of milliseconds, was late.
    async fn turn(&self, due_at: Timestamp) -> Timestamp {
        if self.clock.now() >= due_at {
            return due_at;
        }
        tokio::time::sleep(due_at.since(self.clock.now())).await;
        self.clock.now()
    }

    /// The body of a request with these events.
    fn body(&self, numbers: Range<u32>, sent_at: Timestamp) -> Bytes {
        let args = &*self.args;
        let event = |number| event(&args.run, Mark { number, sent_at }, args.bytes);
        if args.batch == 0 {
            return Bytes::from(event(args.first + numbers.start));
        }
        let events: Vec<_> = numbers.map(|number| event(args.first + number)).collect();
        Bytes::from(format!("{{\"batch\":[{}]}}", events.join(",")))
    }
}

async fn drive(args: Arc<LoadArgs>) -> anyhow::Result<LoadReport> {
    let clock = SystemClock::new();
    let bare = args.bare.then(|| BaselineClient::new(args.to.clone())).transpose()?;
    let cpu_before = cpu_us("self")?;
    let started_at = clock.now();
    let course = Arc::new(Shared { args, clock, next: AtomicU32::new(0), started_at });
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..course.args.workers {
        let line = match &bare {
            Some(client) => Line::Bare(client.clone()),
            None => Line::Own(None),
        };
        workers.spawn(work(Arc::clone(&course), line));
    }
    let mut report = LoadReport { first_us: started_at.as_micros(), ..LoadReport::default() };
    let mut latencies = Vec::new();
    while let Some(tally) = workers.join_next().await {
        let tally = tally.context("a worker of the load panicked")?;
        latencies.extend(tally.latencies);
        report.acknowledged += tally.acknowledged;
        report.failed += tally.failed;
        report.repeated += tally.repeated;
        report.last_us = report.last_us.max(tally.last_us);
        report.fault = tally.fault.or(report.fault);
    }
    report.cpu_us = cpu_us("self")?.saturating_sub(cpu_before);
    latencies.sort_unstable();
    report.p50_us = quantile(&latencies, 50);
    report.p99_us = quantile(&latencies, 99);
    report.max_us = latencies.last().copied().unwrap_or(0);
    Ok(report)
}

async fn work(course: Arc<Shared>, mut line: Line) -> WorkerResults {
    let mut tally = WorkerResults::default();
    while let Some((numbers, due_at)) = course.next() {
        let sent_at = course.turn(due_at).await;
        let args = &course.args;
        let events = u64::from(numbers.end - numbers.start);
        let body = course.body(numbers, sent_at);
        if persist(args, &mut line, &body, &mut tally).await {
            let now = course.clock.now();
            tally.last_us = now.as_micros();
            let span = now.since(sent_at).as_micros();
            tally.latencies.push(u32::try_from(span).unwrap_or(u32::MAX));
            tally.acknowledged += events;
        } else {
            tally.failed += events;
        }
    }
    tally
}

/// Sends until it is acknowledged; false when it is given up.
async fn persist(
    args: &LoadArgs,
    line: &mut Line,
    body: &Bytes,
    tally: &mut WorkerResults,
) -> bool {
    for _ in 0..TRIES {
        match line.post(args, body.clone()).await {
            Ok(status) if status.is_success() => return true,
            Ok(status) if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                tally.fault = Some(format!("answered {status}"));
                return false;
            }
            Ok(status) => tally.fault = Some(format!("answered {status}")),
            Err(fault) => tally.fault = Some(format!("{fault:#}")),
        }
        tally.repeated += 1;
        tokio::time::sleep(PAUSE).await;
    }
    false
}

/// A worker's client.
enum Line {
    /// The baseline.
    Bare(BaselineClient),
    /// One connection, with as little CPU as possible, which the service needs.
    Own(Option<SendRequest<Full<Bytes>>>),
}

impl Line {
    async fn post(&mut self, args: &LoadArgs, body: Bytes) -> anyhow::Result<StatusCode> {
        match self {
            Self::Bare(client) => Ok(client.post(body).await?),
            Self::Own(connection) => {
                let mut open = match connection.take() {
                    Some(open) => open,
                    None => connect(&args.to).await?,
                };
                open.ready().await?;
                let answer = open.send_request(request(args, body)?).await?;
                let status = answer.status();
                answer.into_body().collect().await?;
                *connection = Some(open);
                Ok(status)
            }
        }
    }
}

async fn connect(url: &Url) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let address = url.socket_addrs(|| None)?.into_iter().next().context("no address")?;
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // The sender sees a broken connection.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

fn request(args: &LoadArgs, body: Bytes) -> anyhow::Result<Request<Full<Bytes>>> {
    let mut request = Request::post(args.to.path())
        .header(HOST, args.to.authority())
        .header(CONTENT_TYPE, "application/json");
    if let Some(authorization) = &args.authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    Ok(request.body(Full::new(body))?)
}
