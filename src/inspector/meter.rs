//! The bench's receiver: answers 200 and counts, each path by itself. It verifies nothing and keeps no
//! body, so that it costs the measured run as little as it can. Told to, it refuses, and two of its
//! paths never do better.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};

use super::ReceiverError;
use super::mark::Mark;
use super::server::{self, Server};
use crate::domain::clock::{Clock, Timestamp};

/// Numbers beyond this are counted as unmarked: the table of what has come stays small.
const NUMBER_LIMIT: u32 = 100_000_000;
/// Latencies kept; a longer run keeps those of its beginning.
const SAMPLE_LIMIT: usize = 8_000_000;

/// The path whose requests are never answered.
pub const HANG: &str = "/hang";
/// The path whose requests are always refused.
pub const FAIL: &str = "/fail";

/// What came in since the last reset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Requests answered.
    pub requests: u64,
    /// Events in them.
    pub events: u64,
    /// Different marks among them, those of each path by themselves.
    pub distinct: u64,
    /// Requests refused; nothing else counts them.
    pub refused: u64,
    /// Requests without a mark.
    pub unmarked: u64,
    /// When the first new mark came, in microseconds since the Unix epoch.
    pub first_us: i64,
    /// When the last new mark came.
    pub last_us: i64,
    /// From sending to arrival, half of the new marks below it, in microseconds.
    pub p50_us: u32,
    /// From sending to arrival, 99 of 100 new marks below it, in microseconds.
    pub p99_us: u32,
}

/// A running counter.
pub struct Meter {
    server: Server,
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    tally: Mutex<Tally>,
    refusing: AtomicBool,
}

#[derive(Debug, Default)]
struct Tally {
    reading: Reading,
    /// The marks that have come on each path, a bit each.
    seen: BTreeMap<String, Vec<u64>>,
    samples: Vec<u32>,
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Meter").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Meter {
    /// Listens on `listen` and counts from now on.
    ///
    /// # Errors
    /// [`ReceiverError::Listen`] when the address cannot be had.
    pub async fn start(listen: &str, clock: Arc<dyn Clock>) -> Result<Self, ReceiverError> {
        let listener = server::bind(listen).await?;
        let (tally, refusing) = (Mutex::default(), AtomicBool::new(false));
        let shared = Arc::new(Shared { clock, tally, refusing });
        let counting = Arc::clone(&shared);
        let server = Server::start(listener, move |request| count(request, Arc::clone(&counting)));
        Ok(Self { server, shared })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What came in, without the latencies: cheap enough to ask many times a second.
    #[must_use]
    pub fn glance(&self) -> Reading {
        lock(&self.shared.tally).reading.clone()
    }

    /// From now on answers 503 to everything, or no longer does.
    pub fn refuse(&self, refusing: bool) {
        self.shared.refusing.store(refusing, Ordering::Relaxed);
    }

    /// What came in; then counts from nothing again.
    #[must_use]
    pub fn take(&self) -> Reading {
        let Tally { mut reading, mut samples, .. } = std::mem::take(&mut *lock(&self.shared.tally));
        samples.sort_unstable();
        reading.p50_us = quantile(&samples, 50);
        reading.p99_us = quantile(&samples, 99);
        reading
    }

    /// Ends.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

/// The sample that `percent` of the sorted samples do not exceed; 0 when there are none.
#[must_use]
pub fn quantile(sorted: &[u32], percent: usize) -> u32 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn count(request: Request<Incoming>, shared: Arc<Shared>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await;
    let path = parts.uri.path();
    if path == HANG {
        return std::future::pending().await;
    }
    let mut answer = Response::new(Full::default());
    let refused = match path {
        FAIL => Some(StatusCode::INTERNAL_SERVER_ERROR),
        _ => shared.refusing.load(Ordering::Relaxed).then_some(StatusCode::SERVICE_UNAVAILABLE),
    };
    if let Some(status) = refused {
        lock(&shared.tally).reading.refused += 1;
        *answer.status_mut() = status;
    } else if let Ok(body) = body {
        let marks = Mark::find_all(&body.to_bytes());
        lock(&shared.tally).request(path, &marks, shared.clock.now());
    }
    answer
}

impl Tally {
    fn request(&mut self, path: &str, marks: &[Mark], now: Timestamp) {
        self.reading.requests += 1;
        if !self.seen.contains_key(path) {
            self.seen.insert(path.to_owned(), Vec::new());
        }
        let Self { reading, seen, samples } = self;
        let Some(seen) = seen.get_mut(path) else { return };
        let known = marks.iter().filter(|mark| mark.number < NUMBER_LIMIT);
        let events = marks.len().max(1);
        reading.events += u64::try_from(events).unwrap_or(u64::MAX);
        reading.unmarked += u64::try_from(events - known.clone().count()).unwrap_or(u64::MAX);
        for mark in known.filter(|mark| is_new(seen, mark.number)) {
            if reading.distinct == 0 {
                reading.first_us = now.as_micros();
            }
            reading.distinct += 1;
            reading.last_us = now.as_micros();
            if samples.len() < SAMPLE_LIMIT {
                let span = now.since(mark.sent_at).as_micros();
                samples.push(u32::try_from(span).unwrap_or(u32::MAX));
            }
        }
    }
}

/// Sets the number's bit; whether it was not set before.
fn is_new(seen: &mut Vec<u64>, number: u32) -> bool {
    let (word, bit) = ((number / 64) as usize, 1u64 << (number % 64));
    if seen.len() <= word {
        seen.resize(word + 1, 0);
    }
    seen.get_mut(word).is_some_and(|word| {
        let new = *word & bit == 0;
        *word |= bit;
        new
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(number: u32, sent_us: i64) -> Option<Mark> {
        Some(Mark { number, sent_at: Timestamp::from_micros(sent_us) })
    }

    #[test]
    fn each_mark_counts_once() {
        let mut tally = Tally::default();
        let now = Timestamp::from_micros(1_000);
        for (mark, at) in [(mark(0, 900), 1_000), (mark(70, 900), 1_100), (mark(0, 900), 1_200)] {
            tally.request("/", mark.as_slice(), Timestamp::from_micros(at));
        }
        tally.request("/", &[], now);
        tally.request("/", mark(NUMBER_LIMIT, 0).as_slice(), now);
        let Reading { requests, events, distinct, unmarked, first_us, last_us, .. } = tally.reading;
        assert_eq!((requests, distinct, unmarked, first_us, last_us), (5, 2, 2, 1_000, 1_100));
        assert_eq!(events, 5);
        assert_eq!(tally.samples, [100, 200]);
        tally.request("/1", mark(0, 900).as_slice(), now);
        assert_eq!(tally.reading.distinct, 3, "each path by itself");
    }

    #[test]
    fn quantiles_are_samples() {
        let samples: Vec<u32> = (1..=200).collect();
        assert_eq!([quantile(&samples, 50), quantile(&samples, 99)], [100, 198]);
        assert_eq!([quantile(&[7], 99), quantile(&[], 50)], [7, 0]);
    }
}
