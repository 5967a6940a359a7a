//! The options of the worker pool: size, timeouts and memory limits.

use std::path::PathBuf;
use std::time::Duration;

/// Options of a pool.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// The program to start as a worker: this one.
    pub executable: PathBuf,
    /// Maximum number of workers.
    pub workers: u32,
    /// Timeout of one event, or of one `onBatch` call.
    pub timeout: Duration,
    /// Memory at which the service kills a worker, in bytes.
    pub memory_bytes: usize,
    /// Memory limit of the JavaScript engine, in bytes: lower than `memory_bytes`.
    pub engine_memory_bytes: usize,
    /// Timeout of the wait for a free worker, of a check or a test run. Deliveries wait in their queue instead.
    pub queue_timeout: Duration,
    /// Timeout of one invocation: all calls for a batch, or a call and its repetition on another worker.
    pub run_timeout: Duration,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            executable: current_executable(),
            workers: 2,
            timeout: Duration::from_secs(5),
            memory_bytes: 128 * 1024 * 1024,
            engine_memory_bytes: 112 * 1024 * 1024,
            queue_timeout: Duration::from_secs(8),
            run_timeout: Duration::from_secs(12),
        }
    }
}

/// This program, even if its file was replaced by an upgrade.
fn current_executable() -> PathBuf {
    if cfg!(target_os = "linux") {
        return PathBuf::from("/proc/self/exe");
    }
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("postrider"))
}
