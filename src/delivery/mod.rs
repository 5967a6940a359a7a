//! Delivery: deliveries leased to this node are queued, limited, sent and recorded. The dispatcher takes
//! them from intake or claims due ones; all state in memory is leased in the store or can be claimed
//! from it.
//!
//! `claimer` and intake fill the `queue` of each mapping; the `limiter` of each destination admits
//! requests, which `scheduler` starts and `executor` sends; `outcome` decides each delivery's next state
//! and `completer` and `recorder` record it.

mod authorized_request;
mod backfill;
mod batch;
mod circuit_breaker;
mod claimer;
mod completer;
mod completion_queue;
mod context;
mod dispatcher;
mod executor;
mod expiring_windows;
mod function_stage;
mod lease;
mod lease_reaper;
mod leases_in_hand;
mod limiter;
mod limiter_pacing;
mod limiter_sharing;
mod memory_budget;
mod monitoring;
mod multistatus;
mod outcome;
mod ownership;
mod pacing;
mod pauses;
mod queue;
mod recorder;
mod renderer;
mod request_span;
mod scheduler;
mod sharing;
mod siblings;
mod test_send;
mod unshared_changes;
mod vital_tasks;
mod worker_queue;

pub use context::DispatcherParts;
pub use dispatcher::Dispatcher;
pub use test_send::{TestRequest, TestResult};
pub use vital_tasks::VitalTasks;
