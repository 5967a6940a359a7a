//! The store's traits on PostgreSQL: writes are steps or go to the writers, queries run on the pool of readers.

mod alerts;
mod auth;
mod delivery_queue;
mod engine;
mod history;
mod inbox;
mod jobs;
mod maintenance;
mod outbox;
mod pauses;
mod pipeline;
mod shared_state;
mod statistics;
