//! Door to door in one process: an event in by HTTP, deliveries out to receivers that misbehave, and
//! a clock that the test moves.

mod batches;
mod deadlines;
mod deliveries;
mod isolation;
mod jobs;
mod siblings;
mod traces;
