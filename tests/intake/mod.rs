//! Intake, door to door: real connections, the real accept loop, a store and a dispatcher in memory.

mod client;
mod connections;
mod documents;
mod events;
mod logs;
mod outbox;
mod requests;
mod restart;
mod stage;
mod store;
