//! Statistics of each mapping by minute and by hour: counters and a latency histogram; the backlog
//! over time; the ledger.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::domain::clock::Timestamp;
use crate::domain::id::MappingId;
use crate::domain::ledger::Ledger;

/// Upper bounds of the latency histogram's buckets but the last, in microseconds.
pub const LATENCY_STEPS_US: [u64; 11] = [
    5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// The latency histogram: one count a bucket, the last for everything above the bounds.
pub type Latencies = [u64; LATENCY_STEPS_US.len() + 1];

/// Counters of one mapping in one minute or hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatisticsRow {
    /// The start of the minute or hour.
    pub minute_at: Timestamp,
    /// The mapping.
    pub mapping_id: i64,
    /// Deliveries accepted.
    pub accepted: u64,
    /// Attempts made.
    pub attempts: u64,
    /// Deliveries delivered.
    pub delivered: u64,
    /// Deliveries that became dead letters.
    pub dead: u64,
    /// Attempts that did not succeed.
    pub failed: u64,
    /// Sum of attempt durations, in microseconds.
    pub attempt_us: u64,
    /// Attempts by latency.
    pub latencies: Latencies,
}

impl StatisticsRow {
    /// Counts the latency of an attempt.
    pub fn took(&mut self, took_us: u64) {
        self.attempt_us += took_us;
        let step = LATENCY_STEPS_US.iter().position(|most| took_us <= *most);
        let last = LATENCY_STEPS_US.len();
        if let Some(count) = self.latencies.get_mut(step.unwrap_or(last)) {
            *count += 1;
        }
    }

    /// Adds another row's counters.
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.attempts += other.attempts;
        self.delivered += other.delivered;
        self.dead += other.dead;
        self.failed += other.failed;
        self.attempt_us += other.attempt_us;
        for (count, more) in self.latencies.iter_mut().zip(other.latencies) {
            *count += more;
        }
    }

    /// The mean latency in microseconds. None without attempts that have one.
    #[must_use]
    pub fn mean_us(&self) -> Option<u64> {
        self.attempt_us.checked_div(self.latencies.iter().sum())
    }

    /// The latency at this quantile (500: p50), in microseconds, interpolated linearly within the
    /// histogram's bucket. None without attempts.
    #[must_use]
    pub fn latency_us(&self, permille: u64) -> Option<u64> {
        let total: u64 = self.latencies.iter().sum();
        if total == 0 {
            return None;
        }
        let wanted = (total * permille).div_ceil(1_000).max(1);
        let mut below = 0;
        let mut from = 0;
        for (count, most) in self.latencies.iter().zip(LATENCY_STEPS_US) {
            if below + count >= wanted {
                return Some(from + (most - from) * (wanted - below) / count);
            }
            below += count;
            from = most;
        }
        Some(from)
    }
}

/// The backlog at the end of a step of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BacklogSample {
    /// The step's start.
    pub at: Timestamp,
    /// Deliveries pending or leased.
    pub waiting: u64,
    /// Dead letters that are not pruned.
    pub dead: u64,
}

/// Filter of statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatisticsQuery {
    /// From this time on.
    pub from: Timestamp,
    /// Before this.
    pub until: Timestamp,
    /// Of these mappings.
    pub mappings: Vec<MappingId>,
    /// Whole hours rather than minutes.
    pub hours: bool,
}

/// Statistics. Each counter changes in the commit of what it counts, at the time of that commit.
#[async_trait]
pub trait Statistics: Send + Sync + 'static {
    /// The ledger as of a recent commit, of all nodes. An engine with one node may answer from memory;
    /// others sum the nodes' rows.
    async fn ledger(&self) -> Result<Ledger, StoreError>;

    /// Statistics of these mappings together, one row a minute or hour, oldest first.
    async fn statistics(&self, query: StatisticsQuery) -> Result<Vec<StatisticsRow>, StoreError>;

    /// Statistics of the whole span, one row a mapping; mappings without any are omitted.
    async fn statistics_by_mapping(
        &self,
        query: StatisticsQuery,
    ) -> Result<Vec<StatisticsRow>, StoreError>;

    /// Statistics that [`super::Maintenance::roll_up_statistics`] has rolled up, from this minute on: one
    /// row a minute and mapping with attempts or dead letters.
    async fn rolled_up_statistics(
        &self,
        since: Timestamp,
    ) -> Result<Vec<StatisticsRow>, StoreError>;

    /// The backlog at the end of each step of the span in which it changed. The first sample is the
    /// one in force when the span begins.
    async fn backlog(
        &self,
        span: Range<Timestamp>,
        step: Duration,
    ) -> Result<Vec<BacklogSample>, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_quantile_is_interpolated_within_its_bucket() {
        let mut row = StatisticsRow::default();
        assert_eq!(row.latency_us(500), None);
        for _ in 0..98 {
            row.took(4_000);
        }
        row.took(200_000);
        row.took(60_000_000);
        assert_eq!((row.latencies[0], row.latencies[11]), (98, 1));
        assert_eq!(row.mean_us(), Some((98 * 4_000 + 200_000 + 60_000_000) / 100));
        assert!(row.latency_us(500).is_some_and(|it| (1..=5_000).contains(&it)));
        assert!(row.latency_us(990).is_some_and(|it| (100_001..=250_000).contains(&it)));
        assert_eq!(row.latency_us(1_000), Some(10_000_000), "beyond the last step: at least that");
    }

    #[test]
    fn an_attempt_is_counted_in_the_bucket_of_its_latency() {
        for (step, most) in LATENCY_STEPS_US.into_iter().enumerate() {
            let mut row = StatisticsRow::default();
            row.took(most);
            row.took(most + 1);
            assert_eq!((row.latencies[step], row.latencies[step + 1]), (1, 1));
        }
    }
}
