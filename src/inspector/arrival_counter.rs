//! Which arrival of its delivery a request is, counted by `webhook-id` in bounded memory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Deliveries in one generation of a standalone receiver.
const GENERATION: usize = 50_000;
/// Bytes of an id that are kept: longer than Postrider's ids, and a bound on foreign ones.
const ID_BYTES: usize = 128;

/// Counts arrivals by path and `webhook-id` in two generations: when the young one is full, the old one
/// is dropped.
#[derive(Debug)]
pub(super) struct ArrivalCounter {
    generations: Mutex<[HashMap<(String, String), u32>; 2]>,
    generation: usize,
}

impl Default for ArrivalCounter {
    fn default() -> Self {
        Self::with_capacity(GENERATION)
    }
}

impl ArrivalCounter {
    /// A counter of this many deliveries in each generation.
    pub(super) fn with_capacity(generation: usize) -> Self {
        Self { generations: Mutex::default(), generation }
    }

    /// Counts an arrival; its ordinal, from 1.
    pub(super) fn count(&self, path: &str, webhook_id: &str) -> u32 {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let [young, old] = &mut *generations;
        if young.len() >= self.generation {
            *old = std::mem::take(young);
        }
        let id = webhook_id.get(..ID_BYTES).unwrap_or(webhook_id);
        let key = (path.to_owned(), id.to_owned());
        let before = old.remove(&key).unwrap_or(0);
        let count = young.entry(key).or_insert(before);
        *count = count.saturating_add(1);
        *count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_counted_for_each_delivery_and_old_ones_are_dropped() {
        let counter = ArrivalCounter::default();
        assert_eq!([counter.count("/a", "1"), counter.count("/a", "1")], [1, 2]);
        assert_eq!([counter.count("/b", "1"), counter.count("/a", "2")], [1, 1]);
        for other in 0..GENERATION {
            counter.count("/c", &other.to_string());
        }
        assert_eq!(counter.count("/a", "1"), 3, "the previous generation is kept");
        for other in 0..3 * GENERATION {
            counter.count("/d", &other.to_string());
        }
        assert_eq!(counter.count("/a", "1"), 1);
    }
}
