//! The program's own pages in memory. Much of what a start runs it runs once, and its pages would count
//! as the process's for as long as it lives. They stay in the system's cache: what runs again is mapped
//! again from there, which takes microseconds.

use std::ffi::c_void;
use std::ops::Range;

use rustix::mm::{Advice, madvise};

/// Lets go of the pages of code that are mapped now. Where /proc does not tell which they are, they stay.
pub(super) fn let_go_of_code() {
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
