//! Domain types and pure decisions: sources, events, destinations, mappings, deliveries, attempts, and
//! the retry decision. No I/O and no randomness; the time comes from `clock::Clock`.

pub mod alert;
pub mod allowed_host;
pub mod attempt;
pub mod audit;
pub mod auth;
pub mod clock;
pub mod condition;
pub mod connection_headers;
pub mod credential_origin;
pub mod delivery;
pub mod delivery_ports;
pub mod destination;
pub mod digest;
pub mod document;
pub mod error_chain;
pub mod event;
pub mod event_type;
pub mod id;
pub mod invisible;
pub mod job;
pub mod json_diff;
pub mod ledger;
pub mod mapping;
pub mod outbound_auth;
pub mod pause;
pub mod retry;
pub mod secret;
pub mod service_time;
pub mod source;
pub mod span;
pub mod terminal_text;
pub mod trace;
pub mod unquoted;
