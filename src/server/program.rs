//! The program's own pages in memory. Much of what a start or a change of the pipeline runs it runs once,
//! and its pages would count as the process's for as long as it lives. They stay in the system's cache:
//! what runs again is mapped again from there, which takes microseconds.

use std::ffi::c_void;
use std::ops::Range;
use std::time::Duration;

use rustix::mm::{Advice, madvise};
use rustix::time::{ClockId, clock_gettime};

const SECOND: Duration = Duration::from_secs(1);
/// CPU time that a quiet second takes at most; duties take 1 ms as a rule.
const QUIET: Duration = Duration::from_millis(5);
/// CPU time of a second that is more than the duties of a full minute.
const WORK: Duration = Duration::from_millis(20);
/// So many quiet seconds are a rest, if there was no such work among them.
const QUIET_SECONDS: u32 = 5;

/// Lets go of code now, and again whenever the process rests after work. It never ends.
pub(super) async fn stay_small() {
    let mut rest = Rest::default();
    let_go_of_code();
    loop {
        let before = cpu();
        tokio::time::sleep(SECOND).await;
        if rest.begins_after(cpu().saturating_sub(before)) {
            let_go_of_code();
        }
    }
}

/// Whether the process has worked, and how long it has been quiet since.
#[derive(Debug, Default)]
struct Rest {
    /// Quiet seconds that are missing to a rest; none where there was no work since the last.
    missing: Option<u32>,
}

impl Rest {
    /// Whether a rest begins with the end of a second that took so much CPU time.
    fn begins_after(&mut self, cpu: Duration) -> bool {
        let under_way = self.missing.filter(|seconds| *seconds > 0);
        self.missing = if cpu > WORK {
            Some(QUIET_SECONDS)
        } else if cpu > QUIET {
            under_way.or(Some(QUIET_SECONDS))
        } else {
            under_way.map(|seconds| seconds - 1)
        };
        self.missing == Some(0)
    }
}

/// CPU time that the process has taken.
fn cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// Lets go of the pages of code that are mapped now. Where /proc does not tell which they are, they stay.
fn let_go_of_code() {
    advise(Advice::LinuxDontNeed);
}

/// Tells the kernel what is to be done with the pages of code.
fn advise(advice: Advice) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let program = program();
    for addresses in maps.lines().filter_map(|line| code(line, &program)) {
        tell(addresses, advice);
    }
}

/// The program's file, as /proc names it.
fn program() -> String {
    let path = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    path.to_string_lossy().into_owned()
}

/// The addresses of a mapping, if it is code of this program: `START-END r-xp OFFSET DEVICE INODE PATH`.
fn code(line: &str, program: &str) -> Option<Range<usize>> {
    let (addresses, rest) = line.split_once(' ')?;
    let (access, rest) = rest.split_once(' ')?;
    if access != "r-xp" || !rest.ends_with(&format!(" {program}")) {
        return None;
    }
    let (start, end) = addresses.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    Some(address(start)?..address(end)?)
}

#[expect(unsafe_code, reason = "the kernel is told of addresses")]
fn tell(addresses: Range<usize>, advice: Advice) {
    let begin = std::ptr::without_provenance_mut::<c_void>(addresses.start);
    // SAFETY: the mapping is of a file, and neither this program nor its loader writes to it: what is
    // read there after any advice is read from the same file. A refusal changes nothing.
    let _ = unsafe { madvise(begin, addresses.len(), advice) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much of the code is in memory, in KiB.
    fn resident() -> u64 {
        let maps = std::fs::read_to_string("/proc/self/smaps").expect("read");
        let program = program();
        let (mut is_code, mut sum) = (false, 0);
        for line in maps.lines() {
            if line.contains('-') {
                is_code = code(line, &program).is_some();
            } else if is_code && let Some(size) = line.strip_prefix("Rss:") {
                sum += size.trim().trim_end_matches(" kB").parse::<u64>().expect("a number");
            }
        }
        sum
    }

    #[test]
    fn code_in_memory_is_let_go_of_and_runs_again() {
        advise(Advice::LinuxPopulateRead);
        let before = resident();
        let_go_of_code();
        let after = resident();
        assert!(after < before / 2, "{after} of {before} KiB");
    }

    #[test]
    fn a_rest_begins_once_after_work_and_quiet_seconds() {
        let [work, duties, quiet] = [21, 20, 5].map(Duration::from_millis);
        let mut rest = Rest::default();
        let seconds = [
            &[quiet; 7][..],
            &[work; 1],
            &[quiet; 4],
            &[work; 2],
            &[quiet; 12],
            &[duties; 1],
            &[quiet; 2],
            &[duties; 3],
            &[quiet; 9],
        ];
        let begins: Vec<_> = seconds.concat().into_iter().map(|it| rest.begins_after(it)).collect();
        let seconds: Vec<_> = begins.iter().enumerate().filter(|(_, begins)| **begins).collect();
        let numbers: Vec<_> = seconds.into_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, [18, 34], "duties delay it, work begins it anew");
    }

    #[test]
    fn only_the_code_of_the_program_is_let_go_of() {
        const PROGRAM: &str = "/opt/post rider";
        for (line, found) in [
            ("1000-3000 r-xp 00000000 fe:00 12        /opt/post rider", Some(0x1000..0x3000)),
            ("1000-3000 r--p 00000000 fe:00 12        /opt/post rider", None),
            ("1000-3000 rw-p 00000000 fe:00 12        /opt/post rider", None),
            ("1000-3000 r-xp 00000000 fe:00 13        /usr/lib/libc.so.6", None),
            ("1000-3000 r-xp 00000000 fe:00 13        /opt/another/opt/post rider", None),
            ("1000-3000 r-xp 00000000 00:00 0         [vdso]", None),
            ("what a later kernel may say", None),
        ] {
            assert_eq!(code(line, PROGRAM), found, "{line}");
        }
    }
}
