//! Maintenance: duties that run on a schedule (lease expiry, statistics, alerts, retention, ...), and the
//! runner of redrive and discard jobs.

mod backfill;
mod clock_steps;
mod duties;
mod job_runner;
mod retention;
mod schedule;

pub use clock_steps::ClockSteps;
pub use duties::{Duties, RetireSecrets};
pub use job_runner::JobRunner;
pub use retention::{Ages, Retention, RetentionError};
pub use schedule::Schedule;
