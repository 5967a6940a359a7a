//! Searches of lists: a query is bounded by rows, and goes on from where it stopped until the page is full, the
//! list ends or the request's time is up. The page then says how far it came.

use std::time::{Duration, Instant};

use crate::store::{Cursor, Listed};

/// How long one request goes on.
const BUDGET: Duration = Duration::from_secs(2);

/// Where a search goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    /// Below this position.
    pub(super) before: Cursor,
    /// How many rows the page still takes.
    pub(super) limit: u32,
}

/// The rows that a search has found so far.
pub(super) struct Search<T> {
    ends: Instant,
    limit: u32,
    found: Listed<T>,
}

impl<T> Search<T> {
    /// A search for this many rows, which begins now.
    pub(super) fn of(limit: u32) -> Self {
        Self::within(BUDGET, limit)
    }

    fn within(budget: Duration, limit: u32) -> Self {
        let found = Listed { rows: Vec::new(), looked_to: None };
        Self { ends: Instant::now() + budget, limit, found }
    }

    /// Adds the rows of one query, and returns where the next one begins; none when the search ends.
    pub(super) fn add(&mut self, listed: Listed<T>) -> Option<Next> {
        self.found.rows.extend(listed.rows);
        let rows = u32::try_from(self.found.rows.len()).unwrap_or(u32::MAX);
        let limit = self.limit.saturating_sub(rows);
        self.found.looked_to = listed.looked_to.filter(|_| limit > 0);
        let before = self.found.looked_to?;
        (Instant::now() < self.ends).then_some(Next { before, limit })
    }

    /// What it found, and how far it came.
    pub(super) fn end(self) -> Listed<T> {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;

    fn at(key: i64) -> Cursor {
        Cursor { at: Timestamp::from_micros(key), key }
    }

    /// Searches a list of keys, of which a query scans three and finds the multiples of `every`.
    fn search(
        budget: Duration,
        limit: u32,
        mut top: i64,
        every: i64,
    ) -> (Vec<i64>, Option<Cursor>) {
        let mut search = Search::within(budget, limit);
        let mut wanted = limit;
        loop {
            let floor = (top - 3).max(0);
            let rows = (floor..top).rev().filter(|key| key % every == 0);
            let rows: Vec<_> = rows.take(wanted as usize).collect();
            let is_cut = floor > 0 && rows.len() < wanted as usize;
            let looked_to = is_cut.then(|| at(floor));
            let Some(next) = search.add(Listed { rows, looked_to }) else { break };
            (top, wanted) = (next.before.key, next.limit);
        }
        let found = search.end();
        (found.rows, found.looked_to)
    }

    #[test]
    fn a_search_goes_on_until_its_page_is_full_or_the_list_ends() {
        let hour = Duration::from_secs(3_600);
        assert_eq!(search(hour, 10, 100, 40), (vec![80, 40, 0], None), "to the end");
        assert_eq!(search(hour, 2, 100, 40), (vec![80, 40], None), "a full page");
        assert_eq!(search(hour, 10, 100, 1_000), (vec![0], None), "over many empty queries");
    }

    #[test]
    fn a_search_whose_time_is_up_says_how_far_it_came() {
        assert_eq!(search(Duration::ZERO, 10, 100, 40), (vec![], Some(at(97))));
        assert_eq!(search(Duration::ZERO, 1, 100, 99), (vec![99], None), "a full page has no more");
    }
}
