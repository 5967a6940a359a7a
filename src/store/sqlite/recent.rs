//! The newest de-duplication keys, in memory. Each is in the log too, so that a restart finds it again,
//! until it has been merged into a table: random keys written to a table one by one would each change
//! a page of their own, gathered ones share pages.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::dedup::Key;

/// So many keys are merged in one transaction, so few that its events are not kept waiting.
pub(super) const MERGE_AT_ONCE: usize = 64;

/// Of a key, where many are looked through.
const FIRST_BITS: u32 = 12;

/// A key with the event that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Remembered {
    pub(super) key: Key,
    pub(super) event_id: i64,
}

/// The events that keys stand for.
type Keys = HashMap<Key, i64, BuildHasherDefault<FirstHalf>>;

/// The first half of a key is as good as any hash of it: it is one.
#[derive(Clone, Copy, Debug, Default)]
struct FirstHalf(u64);

impl Hasher for FirstHalf {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(half) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*half);
        }
    }

    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The keys, and how far the running transaction went with them: [`Recent::keep`] or
/// [`Recent::undo`] ends it.
#[derive(Debug)]
pub(super) struct Recent {
    /// So many keys begin a merge.
    most: usize,
    keys: Keys,
    log_end: i64,
    merge: Option<Merging>,
    added: Vec<Remembered>,
    added_log_end: i64,
    merged: usize,
}

/// A merge under way: its keys, of which those done are in a table too.
#[derive(Debug)]
struct Merging {
    sorted: Vec<Remembered>,
    /// Where among them those begin that share their first bits; the end of all comes last. The few that
    /// share them lie together in memory, all of them are spread over megabytes.
    begins: Vec<usize>,
    done: usize,
    log_end: i64,
}

impl Merging {
    fn of(keys: Keys, log_end: i64) -> Self {
        let keys = keys.into_iter().map(|(key, event_id)| Remembered { key, event_id });
        let mut sorted: Vec<Remembered> = keys.collect();
        sorted.sort_unstable();
        let begin = |bits| sorted.partition_point(|it| first_bits(&it.key) < bits);
        let begins = (0..=1 << FIRST_BITS).map(begin).collect();
        Self { sorted, begins, done: 0, log_end }
    }

    fn holds(&self, key: &Key) -> bool {
        let bits = first_bits(key);
        let alike = &self.sorted[self.begins[bits]..self.begins[bits + 1]];
        alike.binary_search_by_key(key, |it| it.key).is_ok()
    }
}

fn first_bits(key: &Key) -> usize {
    usize::from(u16::from_be_bytes([key[0], key[1]]) >> (16 - FIRST_BITS))
}

/// What one transaction merges.
#[derive(Debug)]
pub(super) struct MergeStep {
    /// In ascending order.
    pub(super) keys: Vec<Remembered>,
    /// With the merge's last step: up to where the log is in a table then.
    pub(super) ends_log_at: Option<i64>,
}

impl Recent {
    fn new(most: usize) -> Self {
        Self {
            most,
            keys: Keys::default(),
            log_end: 0,
            merge: None,
            added: Vec::new(),
            added_log_end: 0,
            merged: 0,
        }
    }

    /// Reads them from the log; so many that gather are to be merged.
    pub(super) async fn load(
        conn: &mut SqliteConnection,
        most: usize,
    ) -> Result<Self, sqlx::Error> {
        let mut recent = Self::new(most);
        let rows =
            sqlx::query("SELECT id, keys FROM dedup_log ORDER BY id").fetch_all(conn).await?;
        for row in rows {
            recent.log_end = row.try_get(0)?;
            let (keys, _) = row.try_get::<&[u8], _>(1)?.as_chunks();
            recent.keys.extend(keys.iter().copied().zip(recent.log_end..));
        }
        recent.keep();
        Ok(recent)
    }

    /// Whether a key is among them.
    pub(super) fn holds(&self, key: &Key) -> bool {
        self.keys.contains_key(key) || self.merge.as_ref().is_some_and(|merge| merge.holds(key))
    }

    /// Adds a key that stands in the log under `log_id`.
    pub(super) fn add(&mut self, log_id: i64, it: Remembered) {
        self.added_log_end = log_id;
        self.keys.insert(it.key, it.event_id);
        self.added.push(it);
    }

    /// The transaction is committed.
    pub(super) fn keep(&mut self) {
        if !self.added.is_empty() {
            self.added.clear();
            self.log_end = self.added_log_end;
        }
        if let Some(merging) = &mut self.merge {
            merging.done += std::mem::take(&mut self.merged);
            if merging.done == merging.sorted.len() {
                self.merge = None;
            }
        }
        if self.keys.len() >= self.most {
            self.begin_merge();
        }
    }

    /// The transaction is rolled back.
    pub(super) fn undo(&mut self) {
        for it in self.added.drain(..) {
            self.keys.remove(&it.key);
        }
        self.merged = 0;
    }

    /// Begins a merge of all that is committed, unless one is under way.
    pub(super) fn begin_merge(&mut self) {
        if self.merge.is_none() && self.keys.len() > self.added.len() {
            for it in &self.added {
                self.keys.remove(&it.key);
            }
            self.merge = Some(Merging::of(std::mem::take(&mut self.keys), self.log_end));
            self.keys.extend(self.added.iter().map(|it| (it.key, it.event_id)));
        }
    }

    /// Up to where in the log the merge goes that is under way.
    pub(super) fn merges_until(&self) -> Option<i64> {
        self.merge.as_ref().map(|merging| merging.log_end)
    }

    /// What the running transaction is to merge: up to `limit` keys, or twice as many as it adds where
    /// those are more. None when no merge is under way.
    pub(super) fn next_merge(&self, limit: usize) -> Option<MergeStep> {
        let merging = self.merge.as_ref()?;
        let left = merging.sorted.get(merging.done + self.merged..)?;
        // Faster than keys come in: else they would gather in memory as long as many do.
        let limit = limit.max(2 * self.added.len());
        let step = &left[..left.len().min(limit)];
        (!step.is_empty()).then(|| MergeStep {
            keys: step.to_vec(),
            ends_log_at: (step.len() == left.len()).then_some(merging.log_end),
        })
    }

    /// The running transaction did this step.
    pub(super) const fn merged(&mut self, step: &MergeStep) {
        self.merged += step.keys.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 100_000;

    fn add(recent: &mut Recent, log_id: i64, numbers: std::ops::Range<u64>) {
        numbers.for_each(|number| recent.add(log_id, remembered(number)));
    }

    fn remembered(number: u64) -> Remembered {
        Remembered { key: key(number), event_id: i64::try_from(number).unwrap_or(i64::MAX) }
    }

    fn key(number: u64) -> Key {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
        key
    }

    #[test]
    fn what_is_rolled_back_is_forgotten() {
        let mut recent = Recent::new(MOST);
        add(&mut recent, 1, 0..3);
        recent.keep();
        add(&mut recent, 4, 3..5);
        recent.undo();
        let held: Vec<bool> = (0..5).map(|number| recent.holds(&key(number))).collect();
        assert_eq!(held, [true, true, true, false, false]);
    }

    #[test]
    fn a_merge_takes_what_is_committed_in_order_and_leaves_what_comes_meanwhile() {
        let mut recent = Recent::new(MOST);
        add(&mut recent, 1, 0..100);
        recent.keep();
        add(&mut recent, 101, 100..103);
        recent.begin_merge();
        assert_eq!(recent.merges_until(), Some(1));
        recent.keep();
        let mut merged = Vec::new();
        let mut ends_log_at = None;
        while let Some(step) = recent.next_merge(30) {
            assert_eq!(ends_log_at, None, "nothing comes after the last step");
            recent.merged(&step);
            recent.undo();
            let again = recent.next_merge(30).expect("undone");
            assert_eq!(again.keys, step.keys);
            recent.merged(&again);
            recent.keep();
            merged.extend(again.keys);
            ends_log_at = again.ends_log_at;
        }
        assert_eq!(ends_log_at, Some(1));
        assert!(merged.is_sorted() && merged.len() == 100);
        assert!(merged.iter().all(|it| !recent.holds(&it.key)), "a table holds them now");
        assert!(merged.iter().all(|it| it.key == key(it.event_id as u64)), "each with its event");
        assert!((100..103).all(|number| recent.holds(&key(number))));
    }

    #[test]
    fn each_key_that_is_being_merged_is_held_and_no_other() {
        let mut recent = Recent::new(MOST);
        add(&mut recent, 1, 0..20_000);
        recent.add(1, Remembered { key: [0; 16], event_id: 1 });
        recent.add(1, Remembered { key: [255; 16], event_id: 2 });
        recent.keep();
        recent.begin_merge();
        assert!(recent.keys.is_empty());
        assert!((0..20_000).all(|number| recent.holds(&key(number))));
        assert!((20_000..40_000).all(|number| !recent.holds(&key(number))));
        assert!(recent.holds(&[0; 16]) && recent.holds(&[255; 16]));
        assert!(!recent.holds(&[1; 16]) && !recent.holds(&[254; 16]));
    }

    #[test]
    fn keys_that_come_in_fast_are_merged_faster() {
        let mut recent = Recent::new(MOST);
        for group in 0..200_u32 {
            let first = u64::from(group) * 4_096;
            add(&mut recent, i64::from(group) + 1, first..first + 4_096);
            if let Some(step) = recent.next_merge(MERGE_AT_ONCE) {
                recent.merged(&step);
            }
            recent.keep();
            let merging = recent.merge.as_ref().map_or(0, |merge| merge.sorted.len());
            let held = recent.keys.len() + merging;
            assert!(held < 2 * MOST, "{held} after {group}");
        }
    }

    #[test]
    fn many_keys_begin_a_merge() {
        let mut recent = Recent::new(MOST);
        add(&mut recent, 1, 0..MOST as u64 - 1);
        recent.keep();
        assert!(recent.next_merge(1).is_none());
        recent.add(MOST as i64, remembered(u64::MAX));
        recent.keep();
        assert!(recent.next_merge(1).is_some());
    }
}
