//! The service's handle of one worker process: spawns it without inherited state, sends calls, enforces
//! timeout and memory limit, and kills it (SIGKILL) when a call exceeds either.

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::function::Function;
use super::protocol::{self, Call, ErrorKind, FunctionError, Load, MAX_CONSOLE, Reply, Task};

/// The subcommand that runs a worker.
pub const VERB: &str = "function-worker";
/// Isolates that one worker keeps loaded (LRU).
const MAX_ISOLATES: usize = 16;
/// Interval at which the worker's memory is read during a call.
const MEMORY_POLL: Duration = Duration::from_millis(10);
/// Maximum total size of the events that one call returns, in bytes.
const MAX_RETURNED_BYTES: usize = 32 * 1024 * 1024;
/// Bytes of replies that are read at once.
const READ_BYTES: usize = 64 * 1024;
/// Memory is not read after calls shorter than this: they cannot have grown the worker much.
const MIN_GROWTH_TIME: Duration = Duration::from_millis(2);

/// The owner of an isolate: a mapping with one version of its source and settings. Never shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IsolateKey {
    pub(super) mapping: i64,
    pub(super) digest: [u8; 32],
}

/// The limits of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Per event; for all events of an `onBatch` call.
    pub(super) timeout: Duration,
    /// The end of the invocation.
    pub(super) deadline_at: Instant,
    /// What the process may grow by during the call.
    pub(super) memory_bytes: usize,
    /// The engine's limit: lower, because it gives a JavaScript error instead of a kill.
    pub(super) engine_bytes: usize,
}

/// A call.
pub(super) struct Request<'a> {
    /// The isolate to cache it in; none: loaded for this call only.
    pub(super) isolate: Option<IsolateKey>,
    pub(super) function: &'a Function,
    pub(super) task: Task,
    pub(super) events: &'a [Bytes],
    pub(super) limits: Limits,
}

/// The result of a call.
#[derive(Debug)]
pub(super) struct CallResult {
    /// The result of each event up to where the call ended.
    pub(super) results: Vec<EventResult>,
    /// Console output of the event that was in progress when the call ended.
    pub(super) console: String,
    pub(super) handlers: Vec<String>,
    /// The remaining events were in one `onBatch` call.
    pub(super) batched: bool,
    pub(super) end: End,
}

/// The result of one event of a call.
#[derive(Debug)]
pub(super) struct EventResult {
    pub(super) event: Result<Bytes, FunctionError>,
    pub(super) console: String,
    /// How long the function ran for it; in an `onBatch` call, for all.
    pub(super) duration: Duration,
}

/// How a call ended.
#[derive(Debug)]
pub(super) enum End {
    /// Completed; whether the worker is reusable.
    Done { reusable: bool },
    /// Killed: timeout of the event in progress.
    TimedOut,
    /// Killed: the end of the invocation.
    DeadlinePassed,
    /// Killed: memory limit; what the call used, in bytes.
    OutOfMemory(usize),
    /// No function runs in the process: why its sandbox cannot be set up.
    Unavailable(String),
    /// The worker was terminated from outside, with its exit status.
    Lost(String),
    /// The worker crashed, with its exit status.
    Crashed(String),
}

#[derive(Debug)]
pub(super) struct WorkerProcess {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Whether it has set up its sandbox.
    is_ready: bool,
    /// What the process used before its first call, in bytes; none until it could be read.
    base_bytes: Option<usize>,
    /// The loaded isolates, most recently used last.
    isolates: Vec<(IsolateKey, u64)>,
    next_isolate: u64,
}

impl WorkerProcess {
    /// Spawns a process; it is killed on drop.
    pub(super) fn start(executable: &Path) -> io::Result<Self> {
        let mut child = Command::new(executable)
            .arg(VERB)
            .env_clear()
            .current_dir("/")
            // Ctrl-C in a terminal signals the process group; the service stops its workers itself.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("a worker without pipes"));
        };
        Ok(Self {
            child,
            input,
            output: BufReader::with_capacity(READ_BYTES, output),
            is_ready: false,
            base_bytes: None,
            isolates: Vec::new(),
            next_isolate: 0,
        })
    }

    pub(super) fn holds(&self, isolate: IsolateKey) -> bool {
        self.isolates.iter().any(|(held, _)| *held == isolate)
    }

    /// Sends a call and collects its replies.
    pub(super) async fn call(&mut self, request: &Request<'_>) -> CallResult {
        let mut result = CallResult {
            results: Vec::with_capacity(request.events.len()),
            console: String::new(),
            handlers: Vec::new(),
            batched: false,
            end: End::Done { reusable: true },
        };
        let started = Instant::now();
        let end = match self.until_ready(request.limits.deadline_at).await {
            Ok(None) => match self.frame(request) {
                Ok(frame) => self.exchange(&frame, request, &mut result).await,
                Err(error) => Err(error),
            },
            Ok(Some(end)) => Ok(end),
            Err(error) => Err(error),
        };
        result.end = match end {
            Ok(End::Done { reusable }) => {
                // What calls leave behind adds up.
                let grown = started.elapsed() > MIN_GROWTH_TIME
                    && self.grown_bytes() > request.limits.memory_bytes / 4;
                End::Done { reusable: reusable && !grown }
            }
            Ok(end) => {
                self.kill().await;
                end
            }
            Err(error) => self.exit_of(&error).await,
        };
        result
    }

    /// Waits until the process has set up its sandbox. Why no function runs in it, where it has not.
    async fn until_ready(&mut self, deadline_at: Instant) -> io::Result<Option<End>> {
        if self.is_ready {
            return Ok(None);
        }
        match tokio::time::timeout_at(deadline_at, read(&mut self.output)).await {
            Ok(Ok(Reply::Ready)) => {
                self.is_ready = true;
                self.base_bytes = memory_bytes(self.child.id());
                Ok(None)
            }
            Ok(Ok(Reply::Unavailable(why))) => Ok(Some(End::Unavailable(why))),
            Ok(Ok(_)) => Err(io::Error::other("a reply without a call")),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                let why = "a function worker did not start in time".to_owned();
                Ok(Some(End::Unavailable(why)))
            }
        }
    }

    fn frame(&mut self, request: &Request<'_>) -> io::Result<Vec<u8>> {
        let held = request.isolate.and_then(|key| self.isolates.iter().position(|it| it.0 == key));
        let mut evict = None;
        let (number, known) = if let Some(at) = held {
            let kept = self.isolates.remove(at);
            self.isolates.push(kept);
            (kept.1, true)
        } else {
            self.next_isolate += 1;
            if let Some(key) = request.isolate {
                self.isolates.push((key, self.next_isolate));
                if self.isolates.len() > MAX_ISOLATES {
                    evict = Some(self.isolates.remove(0).1);
                }
            }
            (self.next_isolate, false)
        };
        let events: Vec<&RawValue> =
            request.events.iter().map(|it| serde_json::from_slice(it)).collect::<Result<_, _>>()?;
        let load = Load {
            source: Cow::Borrowed(&request.function.source),
            settings: &request.function.settings,
        };
        protocol::encode(&Call {
            isolate: number,
            load: (!known).then_some(load),
            evict,
            task: request.task,
            events,
            memory_bytes: request.limits.engine_bytes,
        })
    }

    /// Writes the call and reads replies until it ends. The timeout restarts with each event.
    async fn exchange(
        &mut self,
        frame: &[u8],
        request: &Request<'_>,
        result: &mut CallResult,
    ) -> io::Result<End> {
        let process = self.child.id();
        let (input, output) = (&mut self.input, &mut self.output);
        let limits = &request.limits;
        let next_deadline = || (Instant::now() + limits.timeout).min(limits.deadline_at);
        let mut deadline = next_deadline();
        let mut returned_bytes = 0;
        // What other functions hold in this process does not count.
        let bytes_before = memory_bytes(process).or(self.base_bytes);
        self.base_bytes = self.base_bytes.or(bytes_before);
        let mut memory_poll = interval_at(Instant::now() + MEMORY_POLL, MEMORY_POLL);
        memory_poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sending = Box::pin(async {
            input.write_all(frame).await?;
            input.flush().await
        });
        let mut sent = false;
        loop {
            let mut reading = Box::pin(read(output));
            let reply = loop {
                tokio::select! {
                    biased;
                    reply = &mut reading => break reply?,
                    done = &mut sending, if !sent => {
                        done?;
                        sent = true;
                    }
                    () = tokio::time::sleep_until(deadline) => {
                        let is_over = deadline == limits.deadline_at;
                        return Ok(if is_over { End::DeadlinePassed } else { End::TimedOut });
                    }
                    _ = memory_poll.tick() => {
                        let now = memory_bytes(process).zip(bytes_before);
                        let used = now.map_or(0, |(now, before)| now.saturating_sub(before));
                        if used > limits.memory_bytes {
                            return Ok(End::OutOfMemory(used));
                        }
                    }
                }
            };
            match reply {
                Reply::Console(line) => {
                    // The worker bounds each event's output; loading has a bound of its own.
                    if result.console.len() <= 2 * MAX_CONSOLE {
                        result.console.push_str(&line);
                        result.console.push('\n');
                    }
                    continue;
                }
                Reply::Batched => result.batched = true,
                Reply::Event { event, micros } => {
                    returned_bytes += event.get().len();
                    result.add(returned_event(event, returned_bytes), micros);
                }
                Reply::Error { error, micros } => result.add(Err(error), micros),
                Reply::Unavailable(why) => return Ok(End::Unavailable(why)),
                Reply::Ready => return Err(io::Error::other("a worker that is ready twice")),
                Reply::Handlers(handlers) => result.handlers = handlers,
                Reply::Done { discarded, exiting } => {
                    if discarded || request.isolate.is_none() {
                        // This call's isolate, if cached, is the most recently used one.
                        self.isolates
                            .truncate(self.isolates.len() - usize::from(request.isolate.is_some()));
                    }
                    return Ok(End::Done { reusable: !exiting });
                }
            }
            deadline = next_deadline();
        }
    }

    /// What the process has grown by since its start, in bytes; 0 where that cannot be read.
    fn grown_bytes(&self) -> usize {
        let known = memory_bytes(self.child.id()).zip(self.base_bytes);
        known.map_or(0, |(now, base)| now.saturating_sub(base))
    }

    async fn kill(&mut self) {
        if let Err(error) = self.child.kill().await {
            tracing::error!(%error, "a function worker cannot be killed");
        }
    }

    /// The exit status of a worker whose pipe broke.
    async fn exit_of(&mut self, error: &io::Error) -> End {
        // It may still be running after a protocol error: kill it.
        let ended = tokio::time::timeout(Duration::from_millis(500), self.child.wait()).await;
        match ended {
            Ok(Ok(status)) if is_crash(status) => End::Crashed(status.to_string()),
            Ok(Ok(status)) => End::Lost(status.to_string()),
            Ok(Err(_)) | Err(_) => {
                self.kill().await;
                End::Lost(error.to_string())
            }
        }
    }
}

impl CallResult {
    fn add(&mut self, event: Result<Bytes, FunctionError>, micros: u64) {
        let console = std::mem::take(&mut self.console);
        let duration = Duration::from_micros(micros);
        self.results.push(EventResult { event, console, duration });
    }
}

/// An event that a function returned, unless the call's total exceeds the limit.
fn returned_event(event: Box<RawValue>, returned_bytes: usize) -> Result<Bytes, FunctionError> {
    if returned_bytes > MAX_RETURNED_BYTES {
        let message =
            format!("the batch's events have more than {} MiB together", MAX_RETURNED_BYTES >> 20);
        return Err(FunctionError { kind: ErrorKind::Failed, message });
    }
    let event: Box<str> = event.into();
    Ok(Bytes::from(String::from(event)))
}

/// Whether the process crashed; SIGTERM, SIGKILL, SIGINT and SIGHUP are sent from outside.
fn is_crash(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt as _;
    const FROM_OUTSIDE: [rustix::process::Signal; 4] = [
        rustix::process::Signal::KILL,
        rustix::process::Signal::TERM,
        rustix::process::Signal::INT,
        rustix::process::Signal::HUP,
    ];
    status.signal().is_some_and(|it| FROM_OUTSIDE.iter().all(|signal| signal.as_raw() != it))
}

async fn read(output: &mut BufReader<ChildStdout>) -> io::Result<Reply> {
    let mut head = [0; 4];
    output.read_exact(&mut head).await?;
    let mut content = vec![0; protocol::length(head)?];
    output.read_exact(&mut content).await?;
    Ok(serde_json::from_slice(&content)?)
}

/// A process's private memory; none where /proc is not available, or no file descriptor is left.
fn memory_bytes(process: Option<u32>) -> Option<usize> {
    let text = std::fs::read_to_string(format!("/proc/{}/statm", process?)).ok()?;
    let mut pages = text.split(' ').skip(1).map_while(|it| it.parse::<usize>().ok());
    let (resident, shared) = (pages.next()?, pages.next()?);
    Some(resident.saturating_sub(shared) * rustix::param::page_size())
}
