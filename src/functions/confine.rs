//! What a worker gives up for good before it reads its first call: it keeps its pipes, its memory up to
//! a limit, and the time. Functions have no way to more in the engine; this is for a fault of the engine.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

/// What the process may have in private memory beyond what it starts with: over what the service
/// lets it have before it kills it, since this limit counts what is only reserved as well.
const DATA_BYTES: u64 = 256 * 1024 * 1024;

/// From here on: no file is written or opened, no process made, memory is bounded, no core left.
pub(super) fn confine() -> io::Result<()> {
    let most = |bytes| Rlimit { current: Some(bytes), maximum: Some(bytes) };
    if let Some(data) = own_data_bytes() {
        setrlimit(Resource::Data, most(data + DATA_BYTES))?;
    }
    for (resource, limit) in
        [(Resource::Core, 0), (Resource::Fsize, 0), (Resource::Nproc, 0), (Resource::Nofile, 3)]
    {
        setrlimit(resource, most(limit))?;
    }
    #[cfg(target_os = "linux")]
    filter::apply();
    Ok(())
}

/// The private memory that the process has; none where the system does not tell.
fn own_data_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').nth(5)?.trim().parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(target_os = "linux")]
mod filter {
    use std::collections::BTreeMap;

    use libc::c_long;
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

    /// The system calls that remain: to read and write what is open, memory, locks, time, the end.
    const ALLOWED: [c_long; 27] = [
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_close,
        libc::SYS_fstat,
        libc::SYS_brk,
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_mprotect,
        libc::SYS_madvise,
        libc::SYS_futex,
        libc::SYS_set_robust_list,
        libc::SYS_rseq,
        libc::SYS_gettid,
        libc::SYS_getpid,
        libc::SYS_getrandom,
        libc::SYS_sched_yield,
        libc::SYS_clock_gettime,
        libc::SYS_gettimeofday,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_restart_syscall,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];

    /// Every other call fails from here on, in every thread. A system without such filters goes without.
    pub(super) fn apply() {
        let Some(program) = program() else { return };
        let _ = seccompiler::apply_filter_all_threads(&program);
    }

    fn program() -> Option<BpfProgram> {
        let rules: BTreeMap<i64, _> = ALLOWED.into_iter().map(|call| (call, Vec::new())).collect();
        let refused = SeccompAction::Errno(u32::try_from(libc::EPERM).ok()?);
        let arch = std::env::consts::ARCH.try_into().ok()?;
        let filter = SeccompFilter::new(rules, refused, SeccompAction::Allow, arch).ok()?;
        filter.try_into().ok()
    }
}
