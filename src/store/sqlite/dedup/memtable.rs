//! The memtable: the newest de-duplication keys, in memory. Each is in the log too, from which a restart
//! rebuilds it, until it has been compacted into a table. Random keys written to a table one by one would
//! each dirty a page of their own; sorted ones share pages.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::super::writer::connection::Connection;
use crate::store::message_key::MessageKey as Key;

/// Keys compacted with one transaction: few, so that its events hardly wait for them.
pub(super) const COMPACTED_AT_ONCE: usize = 64;

/// Leading bits of a key by which the sorted keys of a compaction are indexed.
const INDEX_BITS: u32 = 12;

/// A key with its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(super) key: Key,
    pub(super) event_id: i64,
}

/// The events of keys.
type Keys = HashMap<Key, i64, BuildHasherDefault<FirstHalf>>;

/// A key is a digest: its first half needs no further hashing.
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

/// The keys, and the changes of the running transaction: [`Memtable::commit`] or
/// [`Memtable::roll_back`] ends it.
#[derive(Debug)]
pub(crate) struct Memtable {
    /// So many keys begin a compaction.
    capacity: usize,
    keys: Keys,
    log_end: i64,
    compaction: Option<Compaction>,
    added: Vec<Entry>,
    added_log_end: i64,
    compacted: usize,
}

/// A running compaction: its keys, of which the first `done` are in a table too.
#[derive(Debug)]
struct Compaction {
    sorted: Vec<Entry>,
    /// For each value of the leading bits, where its keys begin; the end of all comes last. A lookup then
    /// touches neighbouring cache lines instead of megabytes.
    index: Vec<usize>,
    done: usize,
    log_end: i64,
}

impl Compaction {
    fn of(keys: Keys, log_end: i64) -> Self {
        let keys = keys.into_iter().map(|(key, event_id)| Entry { key, event_id });
        let mut sorted: Vec<Entry> = keys.collect();
        sorted.sort_unstable();
        let begin = |bits| sorted.partition_point(|it| leading_bits(&it.key) < bits);
        let index = (0..=1 << INDEX_BITS).map(begin).collect();
        Self { sorted, index, done: 0, log_end }
    }

    fn contains(&self, key: &Key) -> bool {
        let bits = leading_bits(key);
        let candidates = &self.sorted[self.index[bits]..self.index[bits + 1]];
        candidates.binary_search_by_key(key, |it| it.key).is_ok()
    }
}

fn leading_bits(key: &Key) -> usize {
    usize::from(u16::from_be_bytes([key[0], key[1]]) >> (16 - INDEX_BITS))
}

/// What one transaction compacts.
#[derive(Debug)]
pub(super) struct CompactionStep {
    /// In ascending order.
    pub(super) entries: Vec<Entry>,
    /// With the last step: the log up to here is in a table then.
    pub(super) truncates_log_to: Option<i64>,
}

impl Memtable {
    fn new(capacity: usize) -> Self {
        Self {
            capacity,
            keys: Keys::default(),
            log_end: 0,
            compaction: None,
            added: Vec::new(),
            added_log_end: 0,
            compacted: 0,
        }
    }

    /// Rebuilds it from the log.
    pub(crate) fn load(sqlite: &Connection, capacity: usize) -> rusqlite::Result<Self> {
        let mut memtable = Self::new(capacity);
        sqlite.all("SELECT id, keys FROM dedup_log ORDER BY id", &[], |row| {
            memtable.log_end = row.get(0)?;
            let (keys, _) = row.get_ref(1)?.as_blob()?.as_chunks();
            memtable.keys.extend(keys.iter().copied().zip(memtable.log_end..));
            Ok::<(), rusqlite::Error>(())
        })?;
        memtable.commit();
        Ok(memtable)
    }

    /// Whether it contains a key.
    pub(super) fn contains(&self, key: &Key) -> bool {
        self.keys.contains_key(key) || self.compaction.as_ref().is_some_and(|it| it.contains(key))
    }

    /// Adds a key whose log row is `log_id`.
    pub(super) fn insert(&mut self, log_id: i64, it: Entry) {
        self.added_log_end = log_id;
        self.keys.insert(it.key, it.event_id);
        self.added.push(it);
    }

    /// Keeps the transaction's changes.
    pub(crate) fn commit(&mut self) {
        if !self.added.is_empty() {
            self.added.clear();
            self.log_end = self.added_log_end;
        }
        if let Some(compaction) = &mut self.compaction {
            compaction.done += std::mem::take(&mut self.compacted);
            if compaction.done == compaction.sorted.len() {
                self.compaction = None;
            }
        }
        if self.keys.len() >= self.capacity {
            self.begin_compaction();
        }
    }

    /// Undoes the transaction's changes.
    pub(crate) fn roll_back(&mut self) {
        for it in self.added.drain(..) {
            self.keys.remove(&it.key);
        }
        self.compacted = 0;
    }

    /// Begins a compaction of all committed keys, unless one is running.
    pub(super) fn begin_compaction(&mut self) {
        if self.compaction.is_none() && self.keys.len() > self.added.len() {
            for it in &self.added {
                self.keys.remove(&it.key);
            }
            let keys = std::mem::take(&mut self.keys);
            self.compaction = Some(Compaction::of(keys, self.log_end));
            self.keys.extend(self.added.iter().map(|it| (it.key, it.event_id)));
        }
    }

    /// The last log row of the running compaction.
    pub(super) fn compacts_until(&self) -> Option<i64> {
        self.compaction.as_ref().map(|it| it.log_end)
    }

    /// What the running transaction compacts: up to `limit` keys, or twice as many as it adds where those
    /// are more. None when no compaction is running.
    pub(super) fn next_step(&self, limit: usize) -> Option<CompactionStep> {
        let compaction = self.compaction.as_ref()?;
        let left = compaction.sorted.get(compaction.done + self.compacted..)?;
        // Faster than keys arrive, or the memtable would grow without bound.
        let limit = limit.max(2 * self.added.len());
        let step = &left[..left.len().min(limit)];
        (!step.is_empty()).then(|| CompactionStep {
            entries: step.to_vec(),
            truncates_log_to: (step.len() == left.len()).then_some(compaction.log_end),
        })
    }

    /// The running transaction wrote this step.
    pub(super) const fn compacted(&mut self, step: &CompactionStep) {
        self.compacted += step.entries.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: usize = 100_000;

    fn add(memtable: &mut Memtable, log_id: i64, numbers: std::ops::Range<u64>) {
        numbers.for_each(|number| memtable.insert(log_id, entry(number)));
    }

    fn entry(number: u64) -> Entry {
        Entry { key: key(number), event_id: i64::try_from(number).unwrap_or(i64::MAX) }
    }

    fn key(number: u64) -> Key {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
        key
    }

    #[test]
    fn a_rollback_removes_the_keys_of_its_transaction() {
        let mut memtable = Memtable::new(CAPACITY);
        add(&mut memtable, 1, 0..3);
        memtable.commit();
        add(&mut memtable, 4, 3..5);
        memtable.roll_back();
        let held: Vec<bool> = (0..5).map(|number| memtable.contains(&key(number))).collect();
        assert_eq!(held, [true, true, true, false, false]);
    }

    #[test]
    fn a_compaction_takes_committed_keys_in_order_and_leaves_later_ones() {
        let mut memtable = Memtable::new(CAPACITY);
        add(&mut memtable, 1, 0..100);
        memtable.commit();
        add(&mut memtable, 101, 100..103);
        memtable.begin_compaction();
        assert_eq!(memtable.compacts_until(), Some(1));
        memtable.commit();
        let mut merged = Vec::new();
        let mut truncates_log_to = None;
        while let Some(step) = memtable.next_step(30) {
            assert_eq!(truncates_log_to, None, "nothing comes after the last step");
            memtable.compacted(&step);
            memtable.roll_back();
            let again = memtable.next_step(30).expect("undone");
            assert_eq!(again.entries, step.entries);
            memtable.compacted(&again);
            memtable.commit();
            merged.extend(again.entries);
            truncates_log_to = again.truncates_log_to;
        }
        assert_eq!(truncates_log_to, Some(1));
        assert!(merged.is_sorted() && merged.len() == 100);
        assert!(merged.iter().all(|it| !memtable.contains(&it.key)), "a table holds them now");
        assert!(merged.iter().all(|it| it.key == key(it.event_id as u64)), "each with its event");
        assert!((100..103).all(|number| memtable.contains(&key(number))));
    }

    #[test]
    fn the_keys_of_a_running_compaction_are_contained_and_no_others() {
        let mut memtable = Memtable::new(CAPACITY);
        add(&mut memtable, 1, 0..20_000);
        memtable.insert(1, Entry { key: [0; 16], event_id: 1 });
        memtable.insert(1, Entry { key: [255; 16], event_id: 2 });
        memtable.commit();
        memtable.begin_compaction();
        assert!(memtable.keys.is_empty());
        assert!((0..20_000).all(|number| memtable.contains(&key(number))));
        assert!((20_000..40_000).all(|number| !memtable.contains(&key(number))));
        assert!(memtable.contains(&[0; 16]) && memtable.contains(&[255; 16]));
        assert!(!memtable.contains(&[1; 16]) && !memtable.contains(&[254; 16]));
    }

    #[test]
    fn compaction_is_faster_than_arriving_keys() {
        let mut memtable = Memtable::new(CAPACITY);
        for group in 0..200_u32 {
            let first = u64::from(group) * 4_096;
            add(&mut memtable, i64::from(group) + 1, first..first + 4_096);
            if let Some(step) = memtable.next_step(COMPACTED_AT_ONCE) {
                memtable.compacted(&step);
            }
            memtable.commit();
            let compacting = memtable.compaction.as_ref().map_or(0, |it| it.sorted.len());
            let held = memtable.keys.len() + compacting;
            assert!(held < 2 * CAPACITY, "{held} after {group}");
        }
    }

    #[test]
    fn a_full_memtable_begins_a_compaction() {
        let mut memtable = Memtable::new(CAPACITY);
        add(&mut memtable, 1, 0..CAPACITY as u64 - 1);
        memtable.commit();
        assert!(memtable.next_step(1).is_none());
        memtable.insert(CAPACITY as i64, entry(u64::MAX));
        memtable.commit();
        assert!(memtable.next_step(1).is_some());
    }
}
