//! The bench's receiver: answers 200 and counts deliveries per path. It verifies no signature and keeps
//! no body, so that it takes little CPU from the measured run. It can be switched to answer 503; two
//! paths simulate a hanging and a failing destination.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};

use super::event_mark::Mark;
use crate::domain::clock::{Clock, Timestamp};
use crate::inspector::{HttpServer, ListenError};

/// Numbers from here on count as unmarked, which bounds the bitmaps.
const NUMBER_LIMIT: u32 = 100_000_000;
/// Latency samples kept; a longer run keeps its first ones.
const SAMPLE_LIMIT: usize = 8_000_000;

/// The path of a destination that hangs: its requests are never answered.
pub(super) const HANG: &str = "/hang";
/// The path of a destination that fails: its requests are answered 500.
pub(super) const FAIL: &str = "/fail";

/// Counters since the last reset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reading {
    /// Requests answered.
    pub(super) requests: u64,
    /// Events in them.
    pub(super) events: u64,
    /// Distinct marks among them, per path.
    pub(super) distinct: u64,
    /// Requests answered with an error; in no other counter.
    pub(super) refused: u64,
    /// Requests without a mark.
    pub(super) unmarked: u64,
    /// When the first new mark arrived, in microseconds since the Unix epoch.
    pub(super) first_us: i64,
    /// When the last new mark arrived.
    pub(super) last_us: i64,
    /// Median latency from sending to arrival, in microseconds.
    pub(super) p50_us: u32,
    /// p99 latency from sending to arrival, in microseconds.
    pub(super) p99_us: u32,
}

/// A running receiver.
pub(super) struct CountingReceiver {
    server: HttpServer,
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    counts: Mutex<Counts>,
    /// The status of every answer.
    status: AtomicU16,
}

#[derive(Debug, Default)]
struct Counts {
    reading: Reading,
    /// A bitmap of the marks seen, per path.
    seen: BTreeMap<String, Vec<u64>>,
    samples: Vec<u32>,
}

impl std::fmt::Debug for CountingReceiver {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("CountingReceiver").field("server", &self.server).finish_non_exhaustive()
    }
}

impl CountingReceiver {
    /// Binds `listen` and starts to count.
    ///
    /// # Errors
    /// [`ListenError`] when the address cannot be bound.
    pub(super) async fn start(listen: &str, clock: Arc<dyn Clock>) -> Result<Self, ListenError> {
        let listener = HttpServer::bind(listen).await?;
        let (counts, status) = (Mutex::default(), AtomicU16::new(StatusCode::OK.as_u16()));
        let shared = Arc::new(Shared { clock, counts, status });
        let counting = Arc::clone(&shared);
        let server =
            HttpServer::start(listener, move |request| count(request, Arc::clone(&counting)));
        Ok(Self { server, shared })
    }

    /// The bound address.
    #[must_use]
    pub(super) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The counters without the latencies: cheap enough to poll.
    #[must_use]
    pub(super) fn counters(&self) -> Reading {
        lock(&self.shared.counts).reading.clone()
    }

    /// Answers everything with this status from now on.
    pub(super) fn answer(&self, status: StatusCode) {
        self.shared.status.store(status.as_u16(), Ordering::Relaxed);
    }

    /// The counters with latencies; then resets them.
    #[must_use]
    pub(super) fn take(&self) -> Reading {
        let Counts { mut reading, mut samples, .. } =
            std::mem::take(&mut *lock(&self.shared.counts));
        samples.sort_unstable();
        reading.p50_us = quantile(&samples, 50);
        reading.p99_us = quantile(&samples, 99);
        reading
    }

    /// Stops after the requests in flight.
    pub(super) async fn stop(self) {
        self.server.stop().await;
    }
}

/// The sample that `percent` of the sorted samples do not exceed; 0 when there are none.
#[must_use]
pub(super) fn quantile(sorted: &[u32], percent: usize) -> u32 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn count(request: Request<Incoming>, shared: Arc<Shared>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await;
    let path = parts.uri.path();
    if path == HANG {
        return std::future::pending().await;
    }
    let mut answer = Response::new(Full::default());
    let status = match path {
        FAIL => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::from_u16(shared.status.load(Ordering::Relaxed)).unwrap_or_default(),
    };
    *answer.status_mut() = status;
    if !status.is_success() {
        lock(&shared.counts).reading.refused += 1;
    } else if let Ok(body) = body {
        let marks = Mark::find_all(&body.to_bytes());
        lock(&shared.counts).request(path, &marks, shared.clock.now());
    }
    answer
}

impl Counts {
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

/// Sets the number's bit; whether it was clear before.
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
        let mut counts = Counts::default();
        let now = Timestamp::from_micros(1_000);
        for (mark, at) in [(mark(0, 900), 1_000), (mark(70, 900), 1_100), (mark(0, 900), 1_200)] {
            counts.request("/", mark.as_slice(), Timestamp::from_micros(at));
        }
        counts.request("/", &[], now);
        counts.request("/", mark(NUMBER_LIMIT, 0).as_slice(), now);
        let Reading { requests, events, distinct, unmarked, first_us, last_us, .. } =
            counts.reading;
        assert_eq!((requests, distinct, unmarked, first_us, last_us), (5, 2, 2, 1_000, 1_100));
        assert_eq!(events, 5);
        assert_eq!(counts.samples, [100, 200]);
        counts.request("/1", mark(0, 900).as_slice(), now);
        assert_eq!(counts.reading.distinct, 3, "each path has a bitmap of its own");
    }

    #[test]
    fn quantiles_are_samples() {
        let samples: Vec<u32> = (1..=200).collect();
        assert_eq!([quantile(&samples, 50), quantile(&samples, 99)], [100, 198]);
        assert_eq!([quantile(&[7], 99), quantile(&[], 50)], [7, 0]);
    }
}
