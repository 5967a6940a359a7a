//! De-duplication as a small log-structured merge tree: which messageIds of which source were accepted in the
//! last 24 hours. New keys go to a log and a memtable, which is compacted in key order into one of three
//! sorted tables; a Bloom filter before each table saves most lookups. The tables rotate every 12 hours, so
//! that expiry empties the oldest as a whole. Keys are kept at least that long, never shorter.

pub(super) mod admission;
pub(super) mod bloom;
mod log;
pub(super) mod lookup;
pub(super) mod memtable;
pub(super) mod rotation;
pub(super) mod tables;

pub(super) use crate::store::message_key::{MessageKey as Key, message_key as key};
