//! Inboxes: what applications write in transactions of their own is delivered exactly if it was committed.

mod application;
mod database;
mod examples;
