//! Pure types and decisions: what a source, an event, a destination, a mapping, a delivery and an
//! attempt are, and what follows from an outcome. No I/O, no clock, no randomness of its own.

pub mod access;
pub mod alert;
pub mod attempt;
pub mod audit;
pub mod auth;
pub mod condition;
pub mod delivery;
pub mod destination;
pub mod document;
pub mod event;
pub mod id;
pub mod job;
pub mod mapping;
pub mod retry;
pub mod source;
pub mod span;
pub mod trace;
