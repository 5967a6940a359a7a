//! Turns: how many bytes of requests of one source are parsed and wait for their commit at once, and how many large
//! bodies are parsed at once. What a source sends beyond that waits before it costs any CPU, so that the work of
//! a loud source is never queued ahead of a calm one's by more than two commits, and a thread is always free to
//! notice requests as they come.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::body::Encoding;
use super::tenant::Tenant;

/// Bytes of bodies in progress for one source, in units: about two full commits of events.
const UNITS: u32 = 4_096;
const UNIT_BYTES: usize = 1_024;
/// Bodies of more units keep a thread busy for a millisecond and longer.
const LARGE_UNITS: u32 = 16;
/// About how much larger a body is once it is decompressed.
const COMPRESSION_RATIO: usize = 8;

type Gates = Arc<Mutex<HashMap<Tenant, Arc<Gate>>>>;

/// The gates of all sources that have requests in progress.
#[derive(Debug)]
pub(super) struct Turns {
    gates: Gates,
    /// Parsers of large bodies: one fewer than there are threads, at least one.
    parsers: Arc<Semaphore>,
}

/// What one source may have in progress.
#[derive(Debug)]
struct Gate {
    units: Arc<Semaphore>,
    /// One of its large bodies is parsed, or waits for a parser, at a time: sources share them in turns.
    large: Arc<Semaphore>,
}

/// A request's turn; ends when it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    /// None once it is dropped.
    gate: Option<Arc<Gate>>,
    /// None while it waits.
    units: Option<OwnedSemaphorePermit>,
    /// Its place at its source's gate and its parser, until a large body is parsed.
    parser: Vec<OwnedSemaphorePermit>,
    gates: Gates,
    tenant: Tenant,
}

impl Default for Turns {
    fn default() -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let parsers = Arc::new(Semaphore::new((threads - 1).max(1)));
        Self { gates: Gates::default(), parsers }
    }
}

impl Turns {
    /// Waits for the turn of a request with a body of this length.
    pub(super) async fn wait(&self, tenant: Tenant, bytes: usize, encoding: Encoding) -> Turn {
        let gate = Arc::clone(lock(&self.gates).entry(tenant).or_default());
        let plain_bytes = match encoding {
            Encoding::Plain => bytes,
            Encoding::Gzip | Encoding::Deflate => bytes.saturating_mul(COMPRESSION_RATIO),
        };
        let units = u32::try_from(plain_bytes / UNIT_BYTES + 1).unwrap_or(UNITS).min(UNITS);
        let (in_progress, large) = (Arc::clone(&gate.units), Arc::clone(&gate.large));
        // A request that is dropped while it waits leaves its gate like one that ended.
        let mut turn = Turn {
            gate: Some(gate),
            units: None,
            parser: Vec::new(),
            gates: Arc::clone(&self.gates),
            tenant,
        };
        // The semaphores are never closed.
        turn.units = in_progress.acquire_many_owned(units).await.ok();
        if units > LARGE_UNITS {
            for semaphore in [large, Arc::clone(&self.parsers)] {
                turn.parser.extend(semaphore.acquire_owned().await.ok());
            }
        }
        turn
    }
}

impl Turn {
    /// The body is parsed: the next one may be.
    pub(super) fn parsed(&mut self) {
        self.parser.clear();
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self { units: Arc::new(Semaphore::new(UNITS as usize)), large: Arc::new(Semaphore::new(1)) }
    }
}

fn lock(gates: &Gates) -> MutexGuard<'_, HashMap<Tenant, Arc<Gate>>> {
    gates.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut gates = lock(&self.gates);
        drop(self.gate.take());
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
            let mut turn = turns.wait(LOUD, MIB, Encoding::Plain).await;
            turn.parsed();
            loud.push(turn);
        }
        let mut next = Box::pin(turns.wait(LOUD, MIB, Encoding::Plain));
        assert!(futures_util::poll!(&mut next).is_pending());
        let calm = turns.wait(CALM, 500, Encoding::Plain).await;
        loud.pop();
        let next = next.await;
        drop((loud, next, calm));
        assert!(lock(&turns.gates).is_empty(), "nothing is left of sources that are idle");
    }

    #[tokio::test]
    async fn sources_have_their_large_bodies_parsed_in_turns() {
        let turns = Turns { parsers: Arc::new(Semaphore::new(1)), ..Turns::default() };
        let mut first = turns.wait(LOUD, MIB, Encoding::Plain).await;
        let mut second = Box::pin(turns.wait(LOUD, MIB, Encoding::Plain));
        let mut third = Box::pin(turns.wait(LOUD, MIB, Encoding::Plain));
        let mut calm = Box::pin(turns.wait(CALM, MIB, Encoding::Plain));
        assert!(futures_util::poll!(&mut second).is_pending());
        assert!(futures_util::poll!(&mut third).is_pending());
        assert!(futures_util::poll!(&mut calm).is_pending(), "one is parsed at a time");
        turns.wait(CALM, 500, Encoding::Plain).await.parsed();
        first.parsed();
        let mut calm = calm.await;
        assert!(futures_util::poll!(&mut second).is_pending());
        calm.parsed();
        let mut second = second.await;
        assert!(futures_util::poll!(&mut third).is_pending());
        second.parsed();
        drop((third.await, first, second, calm));
        assert!(lock(&turns.gates).is_empty());
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
            assert!(lock(&turns.gates).is_empty(), "waits longer: {waits_longer}");
        }
    }
}
