//! Maintenance: duties that run on a schedule (lease expiry, statistics, alerts, retention, ...), and the
//! runner of redrive and discard jobs.

mod duties;
mod job_runner;
mod schedule;

pub use duties::{Duties, RetireSecrets};
pub use job_runner::JobRunner;
pub use schedule::Schedule;
