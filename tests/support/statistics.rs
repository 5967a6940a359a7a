//! Statistics add up to the ledger: each counter changes in the commit of what it counts.

use postrider::domain::clock::Timestamp;
use postrider::domain::id::MappingId;
use postrider::domain::job::JobAction;
use postrider::store::{JobQuery, StatisticsQuery, StatisticsRow, Store};

/// The sum of everything counted so far, by hours and by minutes.
pub(crate) async fn sums(store: &dyn Store) -> [StatisticsRow; 2] {
    let mut sums = [StatisticsRow::default(); 2];
    for (sum, hours) in sums.iter_mut().zip([true, false]) {
        let query = StatisticsQuery {
            from: Timestamp::from_micros(0),
            until: Timestamp::from_micros(i64::MAX / 2),
            mappings: (1..=200).map(MappingId).collect(),
            hours,
        };
        let by_mapping = store.statistics_by_mapping(query.clone()).await.expect("read");
        by_mapping.iter().for_each(|row| sum.add(row));
        let mut by_time = StatisticsRow::default();
        store.statistics(query).await.expect("read").iter().for_each(|row| by_time.add(row));
        assert_eq!(*sum, by_time, "by mapping and by time");
    }
    sums
}

/// Compares the sums with the ledger.
pub(crate) async fn assert_add_up(store: &dyn Store) {
    let ledger = store.ledger().await.expect("the ledger");
    let jobs = JobQuery { limit: 1_000, ..JobQuery::default() };
    let jobs = store.jobs(jobs).await.expect("jobs");
    let done = |action| {
        let of_action = jobs.iter().filter(|job| job.spec.action == action);
        of_action.map(|job| job.done).sum::<u64>()
    };
    for sum in sums(store).await {
        assert_eq!((sum.accepted, sum.delivered), (ledger.accepted, ledger.delivered), "{sum:?}");
        // A redriven dead letter that dies again is counted again; a discarded one may have been pending.
        let left = sum.dead - done(JobAction::Redrive);
        let discarded = done(JobAction::Discard);
        let expected = ledger.dead..=ledger.dead + discarded;
        assert!(expected.contains(&left), "{left} of {} dead, {ledger:?}", sum.dead);
        assert!(sum.failed <= sum.attempts && sum.latencies.iter().sum::<u64>() <= sum.attempts);
    }
}
