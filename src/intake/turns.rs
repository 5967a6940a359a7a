//! Turns: how many bytes of requests of one source are parsed and wait for their commit at once. What a source
//! sends beyond that waits before it costs any CPU, so that the work of a loud source is never queued ahead of a
//! calm one's by more than two commits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::body::Encoding;
use super::tenant::Tenant;

/// Bytes of bodies in progress for one source, in units: about two full commits of events.
const UNITS: u32 = 4_096;
const UNIT_BYTES: usize = 1_024;
/// About how much larger a body is once it is decompressed.
const GZIP_RATIO: usize = 8;

type Gates = Arc<Mutex<HashMap<Tenant, Arc<Semaphore>>>>;

/// The gates of all sources that have requests in progress.
#[derive(Debug, Default)]
pub(super) struct Turns(Gates);

/// A request's turn; ends when it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    /// None while it waits, and once it is dropped.
    permit: Option<OwnedSemaphorePermit>,
    gates: Gates,
    tenant: Tenant,
}

impl Turns {
    /// Waits for the turn of a request with a body of this length.
    pub(super) async fn wait(&self, tenant: Tenant, bytes: usize, encoding: Encoding) -> Turn {
        let gate = Arc::clone(
            lock(&self.0).entry(tenant).or_insert_with(|| Arc::new(Semaphore::new(UNITS as usize))),
        );
        let plain_bytes = match encoding {
            Encoding::Plain => bytes,
            Encoding::Gzip => bytes.saturating_mul(GZIP_RATIO),
        };
        let units = u32::try_from(plain_bytes / UNIT_BYTES + 1).unwrap_or(UNITS).min(UNITS);
        // A request that is dropped while it waits leaves its gate like one that ended.
        let mut turn = Turn { permit: None, gates: Arc::clone(&self.0), tenant };
        // Gates are never closed.
        turn.permit = gate.acquire_many_owned(units).await.ok();
        turn
    }
}

fn lock(gates: &Gates) -> MutexGuard<'_, HashMap<Tenant, Arc<Semaphore>>> {
    gates.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut gates = lock(&self.gates);
        drop(self.permit.take());
        // Requests in progress and waiting ones have a reference each.
        if gates.get(&self.tenant).is_some_and(|gate| Arc::strong_count(gate) == 1) {
            gates.remove(&self.tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::SourceId;

    const LOUD: Tenant = Tenant::Source(SourceId(1));
    const CALM: Tenant = Tenant::Source(SourceId(2));
    const MIB: usize = 1024 * 1024;

    #[tokio::test]
    async fn a_loud_source_waits_for_its_own_requests_and_a_calm_one_does_not() {
        let turns = Turns::default();
        let mut loud = Vec::new();
        for _ in 0..3 {
            loud.push(turns.wait(LOUD, MIB, Encoding::Plain).await);
        }
        let mut next = Box::pin(turns.wait(LOUD, MIB, Encoding::Plain));
        assert!(futures_util::poll!(&mut next).is_pending());
        let calm = turns.wait(CALM, 500, Encoding::Plain).await;
        loud.pop();
        let next = next.await;
        drop((loud, next, calm));
        assert!(lock(&turns.0).is_empty(), "nothing is left of sources that are idle");
    }

    #[tokio::test]
    async fn a_compressed_body_counts_as_what_it_becomes() {
        let turns = Turns::default();
        let _large = turns.wait(LOUD, MIB / 2, Encoding::Gzip).await;
        let more = Box::pin(turns.wait(LOUD, 1, Encoding::Gzip));
        assert!(futures_util::poll!(more).is_pending());
    }

    #[tokio::test]
    async fn a_waiting_request_that_is_dropped_leaves_nothing() {
        let turns = Turns::default();
        for waits_longer in [false, true] {
            let first = turns.wait(LOUD, 8 * MIB, Encoding::Plain).await;
            let mut waiting = Box::pin(turns.wait(LOUD, 1, Encoding::Plain));
            assert!(futures_util::poll!(&mut waiting).is_pending());
            if waits_longer {
                drop(first);
                drop(waiting);
            } else {
                drop(waiting);
                drop(first);
            }
            assert!(lock(&turns.0).is_empty(), "waits longer: {waits_longer}");
        }
    }
}
