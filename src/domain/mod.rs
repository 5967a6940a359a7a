//! Pure types and decisions: what a source, an event, a destination, a mapping, a delivery and an
//! attempt are, and what follows from an outcome. No I/O and no randomness of its own; the time comes from `clock::Clock`.

pub mod alert;
pub mod attempt;
pub mod audit;
pub mod auth;
pub mod clock;
pub mod condition;
pub mod delivery;
pub mod destination;
pub mod digest;
pub mod document;
pub mod error_chain;
pub mod event;
pub mod id;
pub mod job;
pub mod json_diff;
pub mod mapping;
pub mod outbound_auth;
pub mod retry;
pub mod source;
pub mod span;
pub mod trace;
