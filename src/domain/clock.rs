//! Timestamps and clocks: integer microseconds, UTC, from a [`Clock`] that is passed in. Nothing else in
//! the crate reads the wall clock. A step of the wall clock is reported by [`Clock::resync`], so that
//! schedules are shifted by it instead of firing early or stalling.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use jiff::fmt::temporal::DateTimePrinter;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Microseconds since the Unix epoch, UTC.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// The start of its interval, of intervals of `step_micros` since the Unix epoch.
    #[must_use]
    pub const fn start_of(self, step_micros: i64) -> Self {
        Self(self.0.div_euclid(step_micros) * step_micros)
    }

    /// Whole milliseconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Whole seconds since the Unix epoch, rounded down: the `webhook-timestamp` of an attempt.
    #[must_use]
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// The time since `earlier`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Shifted by a signed number of microseconds, saturating.
    #[must_use]
    pub const fn shifted(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// RFC 3339 with milliseconds and `Z`, as JavaScript's `toISOString` prints it.
    #[must_use]
    pub fn to_iso(self) -> String {
        const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
        let mut text = String::with_capacity("2026-01-02T03:04:05.678Z".len());
        let printed = jiff::Timestamp::from_microsecond(self.0)
            .and_then(|at| PRINTER.print_timestamp(&at, &mut text));
        if printed.is_ok() { text } else { self.0.to_string() }
    }

    /// Parses an RFC 3339 / ISO 8601 time with an offset.
    #[must_use]
    pub fn parse_iso(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|at| Self(at.as_microsecond()))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.to_iso())
    }
}

/// A source of time. `now` is monotonic between two steps that `resync` reports.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// The current time.
    fn now(&self) -> Timestamp;

    /// Time since the clock was created, without the steps of the wall clock.
    fn uptime(&self) -> Duration;

    /// Returns once `now()` has reached `at`.
    async fn sleep_until(&self, at: Timestamp);

    /// Compares with the wall clock. After a step of a second or more, follows it and returns the step in
    /// microseconds, negative when backwards; the caller shifts its schedule by it.
    fn resync(&self) -> Option<i64>;
}

/// A smaller difference is drift, not a step.
const STEP_MICROS: i64 = 1_000_000;

/// The wall clock at an anchor, advanced by the monotonic clock.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    anchor: Mutex<Anchor>,
}

#[derive(Clone, Copy, Debug)]
struct Anchor {
    wall: Timestamp,
    at: Instant,
}

impl Anchor {
    fn read() -> Self {
        Self { wall: wall_now(), at: Instant::now() }
    }

    fn now(&self) -> Timestamp {
        self.wall + self.at.elapsed()
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
fn wall_now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(0) + since_epoch
}

impl SystemClock {
    /// A clock anchored to the wall clock now.
    #[must_use]
    pub fn new() -> Self {
        Self { started: Instant::now(), anchor: Mutex::new(Anchor::read()) }
    }

    fn anchor(&self) -> std::sync::MutexGuard<'_, Anchor> {
        self.anchor.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.anchor().now()
    }

    fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    async fn sleep_until(&self, at: Timestamp) {
        let wait = at.since(self.now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    fn resync(&self) -> Option<i64> {
        let mut anchor = self.anchor();
        let fresh = Anchor::read();
        let drift = fresh.wall.as_micros() - anchor.now().as_micros();
        if drift.abs() >= STEP_MICROS {
            *anchor = fresh;
            return Some(drift);
        }
        // Forward drift is followed; backward drift is left until it is a step, so that `now` stays
        // monotonic.
        if drift > 0 {
            *anchor = fresh;
        }
        None
    }
}

/// A clock for tests: it advances only by [`ManualClock::advance`] and [`ManualClock::jump`].
#[derive(Debug)]
pub struct ManualClock {
    now: watch::Sender<Timestamp>,
    uptime: Mutex<Duration>,
    step: Mutex<i64>,
}

impl ManualClock {
    /// A clock at `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { now: watch::Sender::new(now), uptime: Mutex::default(), step: Mutex::new(0) }
    }

    /// Advances the time.
    pub fn advance(&self, span: Duration) {
        *self.uptime.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += span;
        self.now.send_modify(|now| *now = *now + span);
    }

    /// Makes the next `resync` report a step of this many microseconds.
    pub fn jump(&self, micros: i64) {
        *self.step.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += micros;
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    fn uptime(&self) -> Duration {
        *self.uptime.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn sleep_until(&self, at: Timestamp) {
        let mut now = self.now.subscribe();
        // The sender lives as long as `self`, so the wait cannot fail.
        let _ = now.wait_for(|now| *now >= at).await;
    }

    fn resync(&self) -> Option<i64> {
        let mut step = self.step.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let micros = std::mem::take(&mut *step);
        (micros != 0).then(|| {
            self.now.send_modify(|now| *now = now.shifted(micros));
            micros
        })
    }
}
