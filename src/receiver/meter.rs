//! The bench's receiver: answers 200 and counts. It verifies nothing and keeps no body, so that it
//! costs the measured run as little as it can.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};

use super::ReceiverError;
use super::mark::Mark;
use super::server::{self, Server};
use crate::clock::{Clock, Timestamp};

/// Numbers beyond this are counted as unmarked: the table of what has come stays small.
const NUMBER_LIMIT: u32 = 100_000_000;
/// Latencies kept; a longer run keeps those of its beginning.
const SAMPLE_LIMIT: usize = 8_000_000;

/// What came in since the last reset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Requests answered.
    pub requests: u64,
    /// Events in them.
    pub events: u64,
    /// Different marks among them.
    pub distinct: u64,
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
#[derive(Debug)]
pub struct Meter {
    server: Server,
    tally: Arc<Mutex<Tally>>,
}

#[derive(Debug, Default)]
struct Tally {
    reading: Reading,
    seen: Vec<u64>,
    samples: Vec<u32>,
}

impl Meter {
    /// Listens on `listen` and counts from now on.
    ///
    /// # Errors
    /// [`ReceiverError::Listen`] when the address cannot be had.
    pub async fn start(listen: &str, clock: Arc<dyn Clock>) -> Result<Self, ReceiverError> {
        let listener = server::bind(listen).await?;
        let tally = Arc::new(Mutex::new(Tally::default()));
        let counted = Arc::clone(&tally);
        let server = Server::start(listener, move |request| {
            count(request, Arc::clone(&counted), Arc::clone(&clock))
        });
        Ok(Self { server, tally })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What came in, without the latencies: cheap enough to ask many times a second.
    #[must_use]
    pub fn glance(&self) -> Reading {
        lock(&self.tally).reading.clone()
    }

    /// What came in; then counts from nothing again.
    #[must_use]
    pub fn take(&self) -> Reading {
        let Tally { mut reading, mut samples, .. } = std::mem::take(&mut *lock(&self.tally));
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

async fn count(
    request: Request<Incoming>,
    tally: Arc<Mutex<Tally>>,
    clock: Arc<dyn Clock>,
) -> Response<Full<Bytes>> {
    if let Ok(body) = request.into_body().collect().await {
        let marks = Mark::find_all(&body.to_bytes());
        lock(&tally).request(&marks, clock.now());
    }
    Response::new(Full::default())
}

impl Tally {
    fn request(&mut self, marks: &[Mark], now: Timestamp) {
        self.reading.requests += 1;
        if marks.is_empty() {
            self.add(None, now);
        }
        for mark in marks {
            self.add(Some(*mark), now);
        }
    }

    fn add(&mut self, mark: Option<Mark>, now: Timestamp) {
        self.reading.events += 1;
        let Some(mark) = mark.filter(|mark| mark.number < NUMBER_LIMIT) else {
            self.reading.unmarked += 1;
            return;
        };
        if !self.is_new(mark.number) {
            return;
        }
        if self.reading.distinct == 0 {
            self.reading.first_us = now.as_micros();
        }
        self.reading.distinct += 1;
        self.reading.last_us = now.as_micros();
        if self.samples.len() < SAMPLE_LIMIT {
            let span = now.since(mark.sent_at).as_micros();
            self.samples.push(u32::try_from(span).unwrap_or(u32::MAX));
        }
    }

    fn is_new(&mut self, number: u32) -> bool {
        let (word, bit) = ((number / 64) as usize, 1u64 << (number % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        self.seen.get_mut(word).is_some_and(|word| {
            let new = *word & bit == 0;
            *word |= bit;
            new
        })
    }
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
            tally.request(mark.as_slice(), Timestamp::from_micros(at));
        }
        tally.request(&[], now);
        tally.request(mark(NUMBER_LIMIT, 0).as_slice(), now);
        let Reading { requests, events, distinct, unmarked, first_us, last_us, .. } = tally.reading;
        assert_eq!((requests, distinct, unmarked, first_us, last_us), (5, 2, 2, 1_000, 1_100));
        assert_eq!(events, 5);
        assert_eq!(tally.samples, [100, 200]);
    }

    #[test]
    fn quantiles_are_samples() {
        let samples: Vec<u32> = (1..=200).collect();
        assert_eq!([quantile(&samples, 50), quantile(&samples, 99)], [100, 198]);
        assert_eq!([quantile(&[7], 99), quantile(&[], 50)], [7, 0]);
    }
}
