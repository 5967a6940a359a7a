//! A write batch: the calls whose rows share a transaction.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::super::accept::Arrival;
use super::Command;
use crate::store::{Accepted, InboxTake, Record, Recorded, StoreError};

/// A call that accepts events.
pub(super) type Accept = (Vec<Arrival>, oneshot::Sender<Result<Vec<Accepted>, StoreError>>);
/// A call that records attempts.
pub(super) type Completed = (Arc<Vec<Record>>, oneshot::Sender<Result<Vec<Recorded>, StoreError>>);

/// Calls by what they do.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) accepts: Vec<Accept>,
    pub(super) records: Vec<Completed>,
    pub(super) rows: usize,
}

impl Batch {
    pub(super) fn add(&mut self, command: Command) {
        match command {
            Command::Accept { arrivals, answer } => {
                self.rows += arrivals.len();
                self.accepts.push((arrivals, answer));
            }
            Command::Record { records, answer } => {
                self.rows += records.len();
                self.records.push((records, answer));
            }
        }
    }
}

/// What one transaction writes.
pub(in crate::store::postgres) enum Work<'a> {
    Accept(Vec<&'a Arrival>),
    Record(Vec<&'a Record>),
    Take(&'a InboxTake),
}

impl Work<'_> {
    /// How many events or records it has.
    pub(super) fn len(&self) -> u32 {
        let len = match self {
            Self::Accept(arrivals) => arrivals.len(),
            Self::Record(records) => records.len(),
            // How many it finds is not known yet.
            Self::Take(_) => 0,
        };
        u32::try_from(len).unwrap_or(u32::MAX)
    }
}
