//! The worker's sandbox: resource limits and a seccomp filter, applied before the first call is read.
//! JavaScript has no access to the system anyway; the sandbox contains a bug of the engine.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

/// Limit of private memory beyond the initial size (RLIMIT_DATA). Higher than the limit at which the
/// service kills the worker, because it counts reserved memory too.
#[cfg(target_os = "linux")]
const DATA_BYTES: u64 = 256 * 1024 * 1024;

/// Enters the sandbox: no file can be opened or written, no process spawned, memory is bounded, no core
/// dump is written.
pub(super) fn enter() -> io::Result<()> {
    let most = |bytes| Rlimit { current: Some(bytes), maximum: Some(bytes) };
    #[cfg(target_os = "linux")]
    setrlimit(Resource::Data, most(own_data_bytes()? + DATA_BYTES))?;
    for (resource, limit) in
        [(Resource::Core, 0), (Resource::Fsize, 0), (Resource::Nproc, 0), (Resource::Nofile, 3)]
    {
        setrlimit(resource, most(limit))?;
    }
    #[cfg(target_os = "linux")]
    filter::apply()?;
    Ok(())
}

/// The process's private memory, which the limit counts already.
#[cfg(target_os = "linux")]
fn own_data_bytes() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/statm")
        .map_err(|error| io::Error::new(error.kind(), format!("/proc/self/statm: {error}")))?;
    let pages = text.split(' ').nth(5).and_then(|pages| pages.trim().parse::<u64>().ok());
    let pages = pages.ok_or_else(|| io::Error::other("/proc/self/statm has no size of data"))?;
    Ok(pages * rustix::param::page_size() as u64)
}

#[cfg(target_os = "linux")]
mod filter {
    use std::collections::BTreeMap;
    use std::io;

    use libc::c_long;
    use seccompiler::{BackendError, BpfProgram, SeccompAction, SeccompFilter};

    /// The allowed system calls: I/O on open descriptors, memory, locks, time, exit.
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

    /// All other system calls fail with EPERM in every thread.
    pub(super) fn apply() -> io::Result<()> {
        let program = program().map_err(|error| io::Error::other(format!("seccomp: {error}")))?;
        seccompiler::apply_filter_all_threads(&program)
            .map_err(|error| io::Error::other(format!("seccomp: {error}")))
    }

    fn program() -> Result<BpfProgram, BackendError> {
        let rules: BTreeMap<i64, _> = ALLOWED.into_iter().map(|call| (call, Vec::new())).collect();
        let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
        let arch = std::env::consts::ARCH.try_into()?;
        SeccompFilter::new(rules, refused, SeccompAction::Allow, arch)?.try_into()
    }
}
