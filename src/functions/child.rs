//! The service's end of one function worker: starts the process with nothing inherited, calls it, and
//! kills it from outside when a call takes too long or too much memory, whatever it is doing.

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

use super::Function;
use super::frame::{self, Call, Fault, FaultKind, Load, MAX_CONSOLE, Task, Told};

/// The verb of this program that a worker runs under.
pub const VERB: &str = "function-worker";
/// Functions that one worker keeps loaded.
const REALMS: usize = 16;
/// How often a call's memory is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// The most that the events of one call may have when they return, in bytes.
const MAX_RETURNED: usize = 32 * 1024 * 1024;
/// A call shorter than this has not grown its worker.
const SHORT: Duration = Duration::from_millis(2);

/// Whose realm it is: no two mappings share one, nor two sources or settings of one mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RealmKey {
    pub(super) mapping: i64,
    pub(super) digest: [u8; 32],
}

/// What a call may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// For each event; for all at once in `onBatch`.
    pub(super) time: Duration,
    /// Nothing goes on after this.
    pub(super) ends_at: Instant,
    pub(super) memory_bytes: usize,
    /// The engine's own limit: it gives a clean error where the kill gives none.
    pub(super) engine_bytes: usize,
}

/// A call to be made.
pub(super) struct Request<'a> {
    /// Where to keep it loaded; none: loaded for this call only.
    pub(super) realm: Option<RealmKey>,
    pub(super) function: &'a Function,
    pub(super) task: Task,
    pub(super) events: &'a [Bytes],
    pub(super) limits: Limits,
}

/// What came of a call.
#[derive(Debug)]
pub(super) struct Called {
    /// For each event in turn, as far as the call came, with what was written to the console.
    pub(super) made: Vec<(Result<Bytes, Fault>, String)>,
    /// What was written by what the call was at when it ended.
    pub(super) console: String,
    pub(super) handlers: Vec<String>,
    /// What is not in `made` was in one call of `onBatch`.
    pub(super) together: bool,
    pub(super) end: End,
}

/// How a call ended.
#[derive(Debug)]
pub(super) enum End {
    /// As it should; whether the worker can be called again.
    Done { again: bool },
    /// Killed: it took too long.
    Time,
    /// Killed: it took too much memory.
    Memory,
    /// The worker was gone, with how it ended.
    Lost(String),
    /// The worker crashed, with how it ended.
    Crashed(String),
}

#[derive(Debug)]
pub(super) struct Worker {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// The realms it holds, last used last.
    realms: Vec<(RealmKey, u64)>,
    next_realm: u64,
}

impl Worker {
    /// Starts a process; it dies with this value.
    pub(super) fn start(executable: &Path) -> io::Result<Self> {
        let mut child = Command::new(executable)
            .arg(VERB)
            .env_clear()
            .current_dir("/")
            // A terminal's interrupt is for the service, which ends its workers itself.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("a worker without pipes"));
        };
        Ok(Self { child, input, output: BufReader::new(output), realms: Vec::new(), next_realm: 0 })
    }

    pub(super) fn holds(&self, realm: RealmKey) -> bool {
        self.realms.iter().any(|(held, _)| *held == realm)
    }

    /// Makes a call.
    pub(super) async fn call(&mut self, request: &Request<'_>) -> Called {
        let mut called = Called {
            made: Vec::with_capacity(request.events.len()),
            console: String::new(),
            handlers: Vec::new(),
            together: false,
            end: End::Done { again: true },
        };
        let started = Instant::now();
        let end = match self.frame(request) {
            Ok(frame) => self.converse(&frame, request, &mut called).await,
            Err(error) => Err(error),
        };
        called.end = match end {
            Ok(End::Done { again }) => {
                // What a call leaves behind would count against the next one.
                let grown = started.elapsed() > SHORT
                    && self.memory_bytes().is_some_and(|it| it > request.limits.memory_bytes / 4);
                End::Done { again: again && !grown }
            }
            Ok(end) => {
                self.kill().await;
                end
            }
            Err(error) => self.gone(&error).await,
        };
        called
    }

    fn frame(&mut self, request: &Request<'_>) -> io::Result<Vec<u8>> {
        let held = request.realm.and_then(|key| self.realms.iter().position(|it| it.0 == key));
        let mut forget = None;
        let (number, known) = if let Some(at) = held {
            let kept = self.realms.remove(at);
            self.realms.push(kept);
            (kept.1, true)
        } else {
            self.next_realm += 1;
            if let Some(key) = request.realm {
                self.realms.push((key, self.next_realm));
                if self.realms.len() > REALMS {
                    forget = Some(self.realms.remove(0).1);
                }
            }
            (self.next_realm, false)
        };
        let events: Vec<&RawValue> =
            request.events.iter().map(|it| serde_json::from_slice(it)).collect::<Result<_, _>>()?;
        let load = Load {
            source: Cow::Borrowed(&request.function.source),
            settings: &request.function.settings,
        };
        frame::framed(&Call {
            realm: number,
            load: (!known).then_some(load),
            forget,
            task: request.task,
            events,
            memory_bytes: request.limits.engine_bytes,
        })
    }

    /// Sends the call and takes what is told until it ends. The time begins again with each event.
    async fn converse(
        &mut self,
        frame: &[u8],
        request: &Request<'_>,
        called: &mut Called,
    ) -> io::Result<End> {
        let process = self.child.id();
        let (input, output) = (&mut self.input, &mut self.output);
        let limits = &request.limits;
        let next_deadline = || (Instant::now() + limits.time).min(limits.ends_at);
        let mut deadline = next_deadline();
        let mut returned_bytes = 0;
        let mut look = interval_at(Instant::now() + LOOK, LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sending = Box::pin(async {
            input.write_all(frame).await?;
            input.flush().await
        });
        let mut sent = false;
        loop {
            let mut reading = Box::pin(read(output));
            let told = loop {
                tokio::select! {
                    biased;
                    told = &mut reading => break told?,
                    done = &mut sending, if !sent => {
                        done?;
                        sent = true;
                    }
                    () = tokio::time::sleep_until(deadline) => return Ok(End::Time),
                    _ = look.tick() => {
                        if memory_bytes(process).is_some_and(|it| it > limits.memory_bytes) {
                            return Ok(End::Memory);
                        }
                    }
                }
            };
            match told {
                Told::Console(line) => {
                    // The worker bounds each call's; loading has its own.
                    if called.console.len() <= 2 * MAX_CONSOLE {
                        called.console.push_str(&line);
                        called.console.push('\n');
                    }
                    continue;
                }
                Told::Together => called.together = true,
                Told::Event(event) => {
                    returned_bytes += event.get().len();
                    let console = std::mem::take(&mut called.console);
                    called.made.push((taken(event, returned_bytes), console));
                }
                Told::Fault(fault) => {
                    let console = std::mem::take(&mut called.console);
                    called.made.push((Err(fault), console));
                }
                Told::Handlers(handlers) => called.handlers = handlers,
                Told::Done { forgot, spent } => {
                    if forgot || request.realm.is_none() {
                        // The realm last used is this call's, where it is kept at all.
                        self.realms
                            .truncate(self.realms.len() - usize::from(request.realm.is_some()));
                    }
                    return Ok(End::Done { again: !spent });
                }
            }
            deadline = next_deadline();
        }
    }

    /// What its process has of memory that is its own; none where the system does not tell.
    fn memory_bytes(&self) -> Option<usize> {
        memory_bytes(self.child.id())
    }

    async fn kill(&mut self) {
        if let Err(error) = self.child.kill().await {
            tracing::error!(%error, "a function worker cannot be killed");
        }
    }

    /// How it ended that it does not answer.
    async fn gone(&mut self, error: &io::Error) -> End {
        // It may be alive and talk nonsense: what is there to be learnt has been said.
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

/// An event that a function returned, unless it is too much together with those before it.
fn taken(event: Box<RawValue>, returned_bytes: usize) -> Result<Bytes, Fault> {
    if returned_bytes > MAX_RETURNED {
        let words =
            format!("the batch's events have more than {} MiB together", MAX_RETURNED >> 20);
        return Err(Fault { kind: FaultKind::Wrong, words });
    }
    let event: Box<str> = event.into();
    Ok(Bytes::from(String::from(event)))
}

/// Whether the process itself came to grief; a signal to end or to be killed comes from outside.
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

async fn read(output: &mut BufReader<ChildStdout>) -> io::Result<Told> {
    let mut head = [0; 4];
    output.read_exact(&mut head).await?;
    let mut content = vec![0; frame::length(head)?];
    output.read_exact(&mut content).await?;
    Ok(serde_json::from_slice(&content)?)
}

fn memory_bytes(process: Option<u32>) -> Option<usize> {
    let text = std::fs::read_to_string(format!("/proc/{}/statm", process?)).ok()?;
    let mut pages = text.split(' ').skip(1).map_while(|it| it.parse::<usize>().ok());
    let (resident, shared) = (pages.next()?, pages.next()?);
    Some(resident.saturating_sub(shared) * rustix::param::page_size())
}
