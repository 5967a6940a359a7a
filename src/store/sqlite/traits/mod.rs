//! The store's traits on SQLite: writes become steps of the writer, queries run on the pool of readers.

mod alerts;
mod auth;
mod delivery_queue;
mod engine;
mod history;
mod jobs;
mod maintenance;
mod outbox;
mod pauses;
mod pipeline;
mod shared_state;
mod statistics;
