//! Intake end to end: real connections and listener, an in-memory store and dispatcher.

mod client;
mod client_ip;
mod connections;
mod documents;
mod events;
mod logs;
mod outbox;
mod requests;
mod restart;
mod stage;
mod store;
