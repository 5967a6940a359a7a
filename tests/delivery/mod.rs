//! End-to-end tests in one process: events over HTTP, deliveries to misbehaving receivers, a manual
//! clock.

mod activation;
mod backfills;
mod batches;
mod deadlines;
mod deliveries;
mod header_names;
mod isolation;
mod jobs;
mod pauses;
mod postgres;
mod profiles;
mod receiver_waits;
mod schedules;
mod siblings;
mod traces;
mod vital_tasks;
