//! The integration tests, one binary: each noun has its module, `support` holds what they share.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop with a panic")]

mod alerts;
mod auth;
mod book;
mod chaos;
mod delivery;
mod functions;
mod inbox;
mod intake;
mod live;
mod mapping;
mod metrics;
mod operator;
mod outbound_auth;
mod postgres;
mod process;
mod schemathesis;
mod sdk;
mod segment;
mod sender;
mod store;
mod support;
mod tidy;
mod upgrade;
mod verify;
mod web;
