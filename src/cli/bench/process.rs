//! The bench's child processes: started from this program, controlled over their standard streams, measured
//! over /proc, and killed when the bench ends.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Time limit for an answer.
const ANSWER: Duration = Duration::from_secs(30);

/// A process of the bench. It is killed when this is dropped.
pub(super) struct Process {
    name: &'static str,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts this program with `arguments`.
    pub(super) fn start(
        name: &'static str,
        arguments: &[String],
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program's own file is not known")?;
        let mut child = Command::new(program)
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("the {name} does not start"))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("the process has no output")?;
        Ok(Self { name, child, stdin, lines: BufReader::new(stdout).lines() })
    }

    /// Its next line of output, read as JSON.
    pub(super) async fn answer<T: DeserializeOwned>(
        &mut self,
        limit: Duration,
    ) -> anyhow::Result<T> {
        let name = self.name;
        let line = tokio::time::timeout(limit, self.lines.next_line())
            .await
            .with_context(|| format!("the {name} did not answer within {limit:?}"))??
            .with_context(|| format!("the {name} ended early"))?;
        serde_json::from_str(&line).with_context(|| format!("the {name} said {line:?}"))
    }

    /// Sends it a line and reads its answer.
    pub(super) async fn ask<T: DeserializeOwned>(&mut self, line: &str) -> anyhow::Result<T> {
        let stdin = self.stdin.as_mut().context("the process takes no more questions")?;
        stdin.write_all(format!("{line}\n").as_bytes()).await?;
        stdin.flush().await?;
        self.answer(ANSWER).await
    }

    /// Closes its input and waits for its end.
    pub(super) async fn finish(mut self, limit: Duration) -> anyhow::Result<()> {
        drop(self.stdin.take());
        let name = self.name;
        let status = tokio::time::timeout(limit, self.child.wait())
            .await
            .with_context(|| format!("the {name} did not end within {limit:?}"))??;
        anyhow::ensure!(status.success(), "the {name} ended with {status}");
        Ok(())
    }

    /// Kills it, as a crash does, and waits for its end.
    pub(super) async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Sends SIGTERM and waits for its exit.
    pub(super) async fn terminate(self, limit: Duration) -> anyhow::Result<()> {
        let raw = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(process) = raw.and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process(process, rustix::process::Signal::TERM)?;
        }
        self.finish(limit).await
    }

    /// Whether it has exited.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// CPU time it has used, in microseconds.
    pub(super) fn cpu_us(&self) -> anyhow::Result<u64> {
        cpu_us(&self.child.id().context("the process has ended")?.to_string())
    }

    /// Its peak RSS, in bytes.
    pub(super) fn peak_memory_bytes(&self) -> anyhow::Result<u64> {
        self.memory("VmHWM:")
    }

    /// Its RSS, in bytes.
    pub(super) fn memory_bytes(&self) -> anyhow::Result<u64> {
        self.memory("VmRSS:")
    }

    /// Bytes it has read from files and sockets.
    pub(super) fn read_bytes(&self) -> anyhow::Result<u64> {
        let id = self.child.id().context("the process has ended")?;
        let text = std::fs::read_to_string(format!("/proc/{id}/io"))?;
        let read = text.lines().find_map(|line| line.strip_prefix("rchar: "));
        Ok(read.context("/proc/…/io is not as proc(5) says")?.parse()?)
    }

    fn memory(&self, which: &str) -> anyhow::Result<u64> {
        let id = self.child.id().context("the process has ended")?;
        let text = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        memory(&text, which).context("/proc/…/status has no memory of the process")
    }
}

/// CPU time that the process `id` (or `self`) has used in user and system mode, in microseconds.
pub(super) fn cpu_us(id: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat"))
        .context("the bench needs /proc, as on Linux")?;
    let ticks = cpu_ticks(&text).context("/proc/…/stat is not as proc(5) says")?;
    Ok(ticks.saturating_mul(1_000_000) / rustix::param::clock_ticks_per_second())
}

/// The process that started the process `id`; none when it has ended.
pub(super) fn parent_of(id: &str) -> Option<u32> {
    parent(&std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
}

/// CPU time that a process and those that it started have used, ended ones included, in microseconds.
pub(super) fn children_cpu_us(id: u32) -> anyhow::Result<u64> {
    let mut ticks = 0;
    for entry in std::fs::read_dir("/proc").context("the bench needs /proc, as on Linux")? {
        let name = entry?.file_name();
        let Ok(child) = name.to_string_lossy().parse::<u32>() else { continue };
        // It may have ended since.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{child}/stat")) else { continue };
        if child == id {
            ticks += cpu_ticks(&stat).unwrap_or(0) + waited_ticks(&stat).unwrap_or(0);
        } else if parent(&stat) == Some(id) {
            ticks += cpu_ticks(&stat).unwrap_or(0);
        }
    }
    Ok(ticks.saturating_mul(1_000_000) / rustix::param::clock_ticks_per_second())
}

/// Field 4 of proc(5)'s stat.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Fields 16 and 17 of proc(5)'s stat: of children that have ended.
fn waited_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(13);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Fields 14 and 15 of proc(5)'s stat; the name in parentheses before may contain any character.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// A line of proc(5)'s status, in bytes.
fn memory(status: &str, which: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(which))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_parsed() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 9 8 7 6 150 50 3 2 20 0 8 0 100 1 1";
        assert_eq!(cpu_ticks(stat), Some(200));
        assert_eq!(cpu_ticks("42"), None);
        assert_eq!((waited_ticks(stat), parent(stat)), (Some(5), Some(1)));
        let own = parent_of("self").expect("a parent");
        assert!(children_cpu_us(own).is_ok() && parent_of("0").is_none());
        assert_eq!(memory("Name:\tx\nVmHWM:\t    2048 kB\n", "VmHWM:"), Some(2_097_152));
        assert!(cpu_us("self").is_ok());
    }
}
