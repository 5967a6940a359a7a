//! Wall time and clocks. A [`Clock`] is passed in; nothing else in the crate reads the wall clock. It tells two
//! times: wall time for records, signatures and people, and [`ServiceTime`] for schedules and ages, which a step
//! of the wall clock does not change.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use jiff::fmt::temporal::DateTimePrinter;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::service_time::ServiceTime;

/// Wall time: microseconds since the Unix epoch, UTC.
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

/// One moment in both times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Wall time.
    pub wall: Timestamp,
    /// Service time.
    pub service: ServiceTime,
}

impl Moment {
    /// Wall time less service time, in microseconds: what a step of the wall clock changes.
    #[must_use]
    pub const fn offset(self) -> i64 {
        self.wall.as_micros().saturating_sub(self.service.as_micros())
    }
}

/// A source of time.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// The wall time. It may step in either direction.
    fn now(&self) -> Timestamp;

    /// The service time. It never steps and never runs backwards.
    fn service_now(&self) -> ServiceTime;

    /// Both.
    fn moment(&self) -> Moment {
        Moment { wall: self.now(), service: self.service_now() }
    }

    /// A service time as wall time, as far as the last step that was taken.
    fn to_wall(&self, at: ServiceTime) -> Timestamp;

    /// A wall time as service time, by the present offset.
    fn to_service(&self, at: Timestamp) -> ServiceTime {
        ServiceTime::from_micros(at.shifted(-self.moment().offset()).as_micros())
    }

    /// Carries service time over from the last moment on record: by the wall clock's account of the outage,
    /// which is never negative. Called once, before anything is scheduled.
    fn continue_from(&self, last: Moment);

    /// The step of the wall clock since the last call, in microseconds, negative when backwards; none where
    /// it is under a second.
    fn take_step(&self) -> Option<i64>;

    /// The time since this machine booted, suspension included: for leases that no clock but this machine's own may
    /// prolong or cut short.
    fn uptime(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.service_now().as_micros()).unwrap_or(0))
    }

    /// Returns once `service_now()` has reached `at`.
    async fn sleep_until(&self, at: ServiceTime);
}

/// A smaller difference is drift, not a step.
const STEP_MICROS: i64 = 1_000_000;

/// The longest single sleep: timers do not run while the machine is suspended, service time does.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// The machine's clocks: service time is the time since boot, suspension included, from an origin.
#[derive(Debug)]
pub struct SystemClock {
    /// Service time at boot.
    origin: AtomicI64,
    /// The offset of the wall clock that the last [`Clock::take_step`] saw.
    offset: AtomicI64,
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
fn wall_now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(0) + since_epoch
}

/// Microseconds since boot.
fn since_boot() -> i64 {
    // Elsewhere the monotonic clock includes suspension.
    #[cfg(target_os = "linux")]
    let clock = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = rustix::time::ClockId::Monotonic;
    let at = rustix::time::clock_gettime(clock);
    at.tv_sec.saturating_mul(1_000_000).saturating_add(at.tv_nsec / 1_000)
}

impl SystemClock {
    /// A clock whose service time is the wall time now.
    #[must_use]
    pub fn new() -> Self {
        let origin = wall_now().as_micros() - since_boot();
        Self { origin: AtomicI64::new(origin), offset: AtomicI64::new(0) }
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
        wall_now()
    }

    fn service_now(&self) -> ServiceTime {
        ServiceTime::from_micros(self.origin.load(Ordering::Acquire).saturating_add(since_boot()))
    }

    fn uptime(&self) -> Duration {
        Duration::from_micros(u64::try_from(since_boot()).unwrap_or(0))
    }

    fn to_wall(&self, at: ServiceTime) -> Timestamp {
        Timestamp(at.as_micros()).shifted(self.offset.load(Ordering::Acquire))
    }

    fn continue_from(&self, last: Moment) {
        let now = carried_over(last, wall_now());
        self.origin.store(now.as_micros().saturating_sub(since_boot()), Ordering::Release);
        self.offset.store(self.moment().offset(), Ordering::Release);
    }

    fn take_step(&self) -> Option<i64> {
        let offset = self.moment().offset();
        let step = offset.saturating_sub(self.offset.load(Ordering::Acquire));
        (step.abs() >= STEP_MICROS).then(|| {
            self.offset.store(offset, Ordering::Release);
            step
        })
    }

    async fn sleep_until(&self, at: ServiceTime) {
        loop {
            let wait = at.since(self.service_now());
            if wait.is_zero() {
                return;
            }
            tokio::time::sleep(wait.min(LONGEST_SLEEP)).await;
        }
    }
}

/// The service time at wall time `wall`, after an outage that began at `last`.
fn carried_over(last: Moment, wall: Timestamp) -> ServiceTime {
    last.service + wall.since(last.wall)
}

/// A clock for tests: it advances only by [`ManualClock::advance`], and its wall clock steps only by
/// [`ManualClock::step`].
#[derive(Debug)]
pub struct ManualClock {
    service: watch::Sender<ServiceTime>,
    offset: AtomicI64,
    untaken: AtomicI64,
}

impl ManualClock {
    /// A clock whose wall time and service time are `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        let service = watch::Sender::new(ServiceTime::from_micros(now.as_micros()));
        Self { service, offset: AtomicI64::new(0), untaken: AtomicI64::new(0) }
    }

    /// Advances both times.
    pub fn advance(&self, span: Duration) {
        self.service.send_modify(|now| *now = *now + span);
    }

    /// Steps the wall clock by this many microseconds.
    pub fn step(&self, micros: i64) {
        self.offset.fetch_add(micros, Ordering::AcqRel);
        self.untaken.fetch_add(micros, Ordering::AcqRel);
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        let service = self.service.borrow().as_micros();
        Timestamp(service).shifted(self.offset.load(Ordering::Acquire))
    }

    fn service_now(&self) -> ServiceTime {
        *self.service.borrow()
    }

    fn to_wall(&self, at: ServiceTime) -> Timestamp {
        Timestamp(at.as_micros()).shifted(self.offset.load(Ordering::Acquire))
    }

    fn continue_from(&self, last: Moment) {
        let wall = self.now();
        let now = carried_over(last, wall);
        self.service.send_modify(|service| *service = now);
        self.offset.store(wall.as_micros().saturating_sub(now.as_micros()), Ordering::Release);
    }

    fn take_step(&self) -> Option<i64> {
        let micros = self.untaken.swap(0, Ordering::AcqRel);
        (micros.abs() >= STEP_MICROS).then_some(micros)
    }

    async fn sleep_until(&self, at: ServiceTime) {
        let mut now = self.service.subscribe();
        // The sender lives as long as `self`, so the wait cannot fail.
        let _ = now.wait_for(|now| *now >= at).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(wall: i64, service: i64) -> Moment {
        Moment { wall: Timestamp(wall), service: ServiceTime::from_micros(service) }
    }

    #[test]
    fn an_outage_takes_what_the_wall_clock_says_and_never_less_than_nothing() {
        for (wall, service) in [(1_500, 700), (1_000, 200), (10, 200)] {
            assert_eq!(carried_over(moment(1_000, 200), Timestamp(wall)).as_micros(), service);
        }
    }

    #[test]
    fn a_step_of_the_wall_clock_leaves_service_time() {
        let clock = ManualClock::new(Timestamp(5_000_000));
        clock.step(-3_000_000);
        assert_eq!(clock.moment(), moment(2_000_000, 5_000_000));
        assert_eq!(clock.to_wall(ServiceTime::from_micros(9_000_000)), Timestamp(6_000_000));
        assert_eq!((clock.take_step(), clock.take_step()), (Some(-3_000_000), None));
    }

    #[test]
    fn service_time_goes_on_where_it_was_left() {
        let clock = SystemClock::new();
        let hour = 3_600_000_000;
        clock.continue_from(moment(clock.now().as_micros() + hour, 77));
        assert!(clock.service_now().since(ServiceTime::from_micros(77)) < Duration::from_secs(60));
        assert_eq!(clock.take_step(), None, "what was known at the start is no step");
    }
}
