//! What each source may still send: its rate, with a burst, in service time, and its quota of the day (UTC). Counts
//! are taken before a commit and released if it fails; those of the day are also in the store.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::clock::{Moment, Timestamp};
use super::id::SourceId;
use super::service_time::ServiceTime;
use super::source::SourceLimits;

const SECOND_US: i64 = 1_000_000;
const DAY_US: i64 = 86_400 * SECOND_US;
/// Days that are remembered: a step of the clock over midnight changes no count.
const DAYS: usize = 3;

/// The day (UTC) of a time, counted from 1970-01-01.
#[must_use]
pub const fn day_of(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(DAY_US)
}

/// The events of a source on one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceUsage {
    /// The source.
    pub source_id: SourceId,
    /// The day, as [`day_of`] counts.
    pub day: i64,
    /// Events accepted.
    pub events: u64,
}

/// What other nodes have admitted from sources with limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageOfOthers {
    /// Events of each source since these nodes started, in all.
    pub admitted: Vec<(SourceId, u64)>,
    /// Events by day that they have accepted.
    pub days: Vec<SourceUsage>,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitReached {
    /// It comes faster than the source's rate.
    Rate {
        /// The rate, in events a second.
        per_second: u32,
        /// When it would be admitted, in whole seconds.
        retry_after_s: u64,
    },
    /// It is more than is left of the source's quota.
    Quota {
        /// Events a day.
        quota: u64,
        /// Events left today.
        left: u64,
        /// The time until the next day (UTC), in whole seconds.
        retry_after_s: u64,
    },
}

impl LimitReached {
    /// The limit's name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rate { .. } => "rate",
            Self::Quota { .. } => "quota",
        }
    }
}

/// Requests that were refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// For the rate.
    pub by_rate: u64,
    /// For the quota.
    pub by_quota: u64,
}

impl Refusals {
    const fn count(&mut self, reached: LimitReached) {
        match reached {
            LimitReached::Rate { .. } => self.by_rate += 1,
            LimitReached::Quota { .. } => self.by_quota += 1,
        }
    }

    const fn is_none(self) -> bool {
        self.by_rate == 0 && self.by_quota == 0
    }
}

/// What a source has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceUse {
    /// Events accepted today, or being accepted; counted while the source has a quota.
    pub today: u64,
    /// Requests refused since the process started.
    pub refused: Refusals,
}

/// The limiter of all sources.
#[derive(Debug, Default)]
pub struct SourceLimiter {
    sources: Mutex<HashMap<SourceId, State>>,
}

#[derive(Debug, Default)]
struct State {
    /// The bucket of the rate; none before the first request.
    bucket: Option<Bucket>,
    /// Events by day.
    days: BTreeMap<i64, u64>,
    /// Events admitted in all, for other nodes.
    admitted: u64,
    /// What the others had admitted in all at the last exchange; none before the first.
    by_others: Option<u64>,
    /// The others' events by day: at the first exchange, which `days` has, and at the last.
    days_of_others: BTreeMap<i64, (u64, u64)>,
    refused: Refusals,
    /// Those that [`SourceLimiter::take_refusals`] has not returned yet.
    unreported: Refusals,
}

/// A token bucket, in millionths of an event. It goes below zero by a request that is larger than the burst.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    level: i64,
    filled_at: ServiceTime,
}

impl SourceLimiter {
    /// A limiter that continues these counts.
    #[must_use]
    pub fn resume(usage: &[SourceUsage]) -> Self {
        let limiter = Self::default();
        for SourceUsage { source_id, day, events } in usage {
            limiter.lock().entry(*source_id).or_default().days.insert(*day, *events);
        }
        limiter
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SourceId, State>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a request with one event would be admitted: the check before its body is read. A refusal is counted.
    ///
    /// # Errors
    /// [`LimitReached`].
    pub fn check(
        &self,
        source_id: SourceId,
        limits: &SourceLimits,
        now: Moment,
    ) -> Result<(), LimitReached> {
        self.with(source_id, limits, |state| state.admits(limits, 1, now))
    }

    /// Takes the events of a request out of the source's rate and quota. A refusal is counted.
    ///
    /// # Errors
    /// [`LimitReached`]; nothing is taken.
    pub fn take(
        &self,
        source_id: SourceId,
        limits: &SourceLimits,
        events: u64,
        now: Moment,
    ) -> Result<(), LimitReached> {
        self.with(source_id, limits, |state| {
            state.admits(limits, events, now)?;
            state.take(limits, events, now);
            Ok(())
        })
    }

    fn with(
        &self,
        source_id: SourceId,
        limits: &SourceLimits,
        decide: impl FnOnce(&mut State) -> Result<(), LimitReached>,
    ) -> Result<(), LimitReached> {
        if limits.is_none() {
            return Ok(());
        }
        let mut sources = self.lock();
        let state = sources.entry(source_id).or_default();
        decide(state).inspect_err(|reached| {
            state.refused.count(*reached);
            state.unreported.count(*reached);
        })
    }

    /// Releases events of the day's quota that were not accepted.
    pub fn release(&self, source_id: SourceId, taken_at: Timestamp, events: u64) {
        let mut sources = self.lock();
        let day = sources.get_mut(&source_id).and_then(|it| it.days.get_mut(&day_of(taken_at)));
        if let Some(count) = day {
            *count = count.saturating_sub(events);
        }
    }

    /// What this node has admitted in all, by source.
    #[must_use]
    pub fn admitted(&self) -> Vec<(SourceId, u64)> {
        self.lock().iter().map(|(id, state)| (*id, state.admitted)).collect()
    }

    /// Takes what other nodes have admitted since the last exchange out of the rates, and counts it for the quotas.
    pub fn follow(&self, others: &UsageOfOthers) {
        let mut sources = self.lock();
        for (source_id, state) in sources.iter_mut() {
            let is_first = state.by_others.is_none();
            let admitted = others.admitted.iter().find(|(id, _)| id == source_id);
            let admitted = admitted.map_or(0, |(_, events)| *events);
            let more = admitted.saturating_sub(state.by_others.unwrap_or(admitted));
            state.by_others = Some(admitted);
            if let Some(bucket) = &mut state.bucket {
                bucket.level = bucket.level.saturating_sub(micros(more));
            }
            for usage in others.days.iter().filter(|it| it.source_id == *source_id) {
                let known = if is_first { usage.events } else { 0 };
                let of_day = state.days_of_others.entry(usage.day).or_insert((known, 0));
                of_day.1 = usage.events;
            }
            while state.days_of_others.len() > DAYS {
                state.days_of_others.pop_first();
            }
        }
    }

    /// What a source has used.
    #[must_use]
    pub fn usage(&self, source_id: SourceId, now: Timestamp) -> SourceUse {
        let sources = self.lock();
        let Some(state) = sources.get(&source_id) else { return SourceUse::default() };
        SourceUse { today: state.on(day_of(now)), refused: state.refused }
    }

    /// The sources that refused requests since the last call.
    #[must_use]
    pub fn take_refusals(&self) -> Vec<(SourceId, Refusals)> {
        let mut sources = self.lock();
        let refused = sources.iter_mut().map(|(id, it)| (*id, std::mem::take(&mut it.unreported)));
        refused.filter(|(_, refused)| !refused.is_none()).collect()
    }
}

impl State {
    fn on(&self, day: i64) -> u64 {
        let (known, by_others) = self.days_of_others.get(&day).copied().unwrap_or_default();
        self.days.get(&day).copied().unwrap_or(0) + by_others.saturating_sub(known)
    }

    fn admits(
        &mut self,
        limits: &SourceLimits,
        events: u64,
        now: Moment,
    ) -> Result<(), LimitReached> {
        if let Some(quota) = limits.daily_quota {
            let left = quota.saturating_sub(self.on(day_of(now.wall)));
            if events > left {
                let until = DAY_US - now.wall.as_micros().rem_euclid(DAY_US);
                return Err(LimitReached::Quota { quota, left, retry_after_s: seconds(until) });
            }
        }
        let Some((per_second, burst)) = limits.rate() else { return Ok(()) };
        let level = self.fill(per_second, burst, now.service);
        let needed = micros(events.min(burst.into()));
        if level >= needed {
            return Ok(());
        }
        let until = (needed - level) / i64::from(per_second);
        Err(LimitReached::Rate { per_second, retry_after_s: seconds(until) })
    }

    /// Fills the bucket for the time that has passed.
    fn fill(&mut self, per_second: u32, burst: u32, now: ServiceTime) -> i64 {
        let full = micros(burst.into());
        let bucket = self.bucket.get_or_insert(Bucket { level: full, filled_at: now });
        let passed_us = now.since(bucket.filled_at).as_micros();
        let filled = i64::try_from(passed_us).unwrap_or(i64::MAX).saturating_mul(per_second.into());
        bucket.level = bucket.level.saturating_add(filled).min(full);
        bucket.filled_at = now;
        bucket.level
    }

    fn take(&mut self, limits: &SourceLimits, events: u64, now: Moment) {
        self.admitted += events;
        if let Some(bucket) = self.bucket.as_mut().filter(|_| limits.rate().is_some()) {
            bucket.level = bucket.level.saturating_sub(micros(events));
        }
        if limits.daily_quota.is_some() {
            *self.days.entry(day_of(now.wall)).or_default() += events;
            while self.days.len() > DAYS {
                self.days.pop_first();
            }
        }
    }
}

/// Events in millionths.
fn micros(events: u64) -> i64 {
    i64::try_from(events).unwrap_or(i64::MAX).saturating_mul(SECOND_US)
}

/// Microseconds in whole seconds, one at least.
fn seconds(micros: i64) -> u64 {
    u64::try_from(micros).unwrap_or(0).div_ceil(1_000_000).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const ID: SourceId = SourceId(1);

    /// 2023-11-14, an hour before midnight, and so many seconds.
    fn at(seconds: u64) -> Moment {
        let span = Duration::from_secs(seconds);
        Moment {
            wall: Timestamp::from_micros(1_700_002_800_000_000) + span,
            service: ServiceTime::default() + span,
        }
    }

    fn rate(per_second: u32, burst: u32) -> SourceLimits {
        SourceLimits {
            rate_per_second: Some(per_second),
            burst: Some(burst),
            ..SourceLimits::default()
        }
    }

    #[test]
    fn a_source_sends_its_burst_and_then_its_rate() {
        let (limiter, limits) = (SourceLimiter::default(), rate(10, 20));
        for _ in 0..20 {
            assert_eq!(limiter.take(ID, &limits, 1, at(0)), Ok(()));
        }
        let reached = LimitReached::Rate { per_second: 10, retry_after_s: 1 };
        assert_eq!(limiter.take(ID, &limits, 1, at(0)), Err(reached));
        assert_eq!(limiter.check(ID, &limits, at(0)), Err(reached));
        let admitted = (0..50).filter(|_| limiter.take(ID, &limits, 1, at(1)).is_ok()).count();
        assert_eq!(admitted, 10);
        assert_eq!(
            limiter.take(SourceId(2), &limits, 20, at(1)),
            Ok(()),
            "another source's is its own"
        );
        assert_eq!(limiter.usage(ID, at(1).wall).refused, Refusals { by_rate: 42, by_quota: 0 });
    }

    #[test]
    fn a_request_larger_than_the_burst_is_admitted_by_a_full_bucket_and_paid_off() {
        let (limiter, limits) = (SourceLimiter::default(), rate(100, 100));
        assert_eq!(limiter.take(ID, &limits, 500, at(0)), Ok(()));
        let reached = LimitReached::Rate { per_second: 100, retry_after_s: 5 };
        assert_eq!(limiter.take(ID, &limits, 500, at(0)), Err(reached));
        assert_eq!(
            limiter.take(ID, &limits, 1, at(3)),
            Err(LimitReached::Rate { per_second: 100, retry_after_s: 2 })
        );
        assert_eq!(limiter.take(ID, &limits, 500, at(5)), Ok(()));
    }

    #[test]
    fn a_step_of_the_clock_neither_fills_the_bucket_nor_empties_it() {
        let (limiter, limits) = (SourceLimiter::default(), rate(1, 1));
        assert_eq!(limiter.take(ID, &limits, 1, at(1_000)), Ok(()));
        for wall in [at(0).wall, at(90_000).wall] {
            assert!(limiter.take(ID, &limits, 1, Moment { wall, ..at(1_000) }).is_err());
        }
        assert_eq!(limiter.take(ID, &limits, 1, Moment { wall: at(0).wall, ..at(1_001) }), Ok(()));
    }

    #[test]
    fn a_quota_is_of_a_day_and_continues_after_a_restart() {
        let limits = SourceLimits { daily_quota: Some(100), ..SourceLimits::default() };
        let day = day_of(at(0).wall);
        let usage = |events| SourceUsage { source_id: ID, day, events };
        let limiter = SourceLimiter::resume(&[usage(90)]);
        assert_eq!(limiter.take(ID, &limits, 5, at(0)), Ok(()));
        let until = DAY_US - at(0).wall.as_micros().rem_euclid(DAY_US);
        let retry_after_s = u64::try_from(until / SECOND_US).expect("positive");
        let reached = LimitReached::Quota { quota: 100, left: 5, retry_after_s };
        assert_eq!(limiter.take(ID, &limits, 6, at(0)), Err(reached));
        assert_eq!(limiter.usage(ID, at(0).wall).today, 95);
        limiter.release(ID, at(0).wall, 5);
        assert_eq!(
            limiter.take(ID, &limits, 10, at(0)),
            Ok(()),
            "what was not accepted is released"
        );
        assert!(limiter.check(ID, &limits, at(0)).is_err());
        assert_eq!(limiter.take(ID, &limits, 100, at(retry_after_s)), Ok(()), "the next day");
        assert!(
            limiter.check(ID, &limits, at(0)).is_err(),
            "a clock that is set back gives no new day"
        );
    }

    #[test]
    fn what_other_nodes_admit_is_taken_out_of_the_rate_and_the_quota() {
        let limits = SourceLimits { daily_quota: Some(100), ..rate(10, 20) };
        let day = day_of(at(0).wall);
        let others = |admitted, events| UsageOfOthers {
            admitted: vec![(ID, admitted)],
            days: vec![SourceUsage { source_id: ID, day, events }],
        };
        let limiter = SourceLimiter::resume(&[SourceUsage { source_id: ID, day, events: 50 }]);
        assert_eq!(limiter.take(ID, &limits, 1, at(0)), Ok(()));
        assert_eq!(limiter.admitted(), [(ID, 1)]);
        limiter.follow(&others(1_000, 30));
        assert_eq!(limiter.usage(ID, at(0).wall).today, 51, "it was counted at the start");
        assert_eq!(limiter.take(ID, &limits, 9, at(0)), Ok(()), "it was before");
        limiter.follow(&others(1_030, 40));
        assert_eq!(limiter.usage(ID, at(0).wall).today, 70);
        let reached = |retry_after_s| Err(LimitReached::Rate { per_second: 10, retry_after_s });
        assert_eq!(limiter.take(ID, &limits, 1, at(0)), reached(3), "20 are owed");
        assert_eq!(limiter.take(ID, &limits, 1, at(3)), Ok(()));
        limiter.follow(&others(1_030, 69));
        assert!(matches!(
            limiter.take(ID, &limits, 1, at(4)),
            Err(LimitReached::Quota { left: 0, .. })
        ));
    }

    #[test]
    fn refusals_are_reported_once() {
        let (limiter, limits) = (SourceLimiter::default(), rate(1, 1));
        assert_eq!(limiter.take(ID, &limits, 1, at(0)), Ok(()));
        assert_eq!(limiter.take_refusals(), []);
        assert!(limiter.take(ID, &limits, 1, at(0)).is_err());
        assert_eq!(limiter.take_refusals(), [(ID, Refusals { by_rate: 1, by_quota: 0 })]);
        assert_eq!(limiter.take_refusals(), []);
        assert_eq!(limiter.usage(ID, at(0).wall).refused.by_rate, 1, "since the start");
    }

    #[test]
    fn a_source_without_limits_is_not_counted() {
        let limiter = SourceLimiter::default();
        let limits = SourceLimits::default();
        assert_eq!(limiter.take(ID, &limits, u64::MAX, at(0)), Ok(()));
        assert!(limiter.lock().is_empty());
    }
}
