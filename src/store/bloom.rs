//! Bloom filters over message keys: before a table of keys, so that few new messages cost a lookup in it.

use fastbloom::BloomFilter;

use super::message_key::MessageKey as Key;

/// The most bits of a filter: 4 MiB. The false positive rate is 1/24 with five million keys, 2/3 with twenty million.
const MOST_BITS: usize = 1 << 25;
const LEAST_BITS: usize = 1 << 10;
/// Bits a key of a filter whose keys are counted beforehand: the false positive rate is 1/400.
const BITS_A_KEY: u64 = 16;
/// Bits that a key sets.
const HASHES: u32 = 4;

/// The bits of a filter; none until the first key, so that an empty table costs no memory.
#[derive(Debug)]
pub(super) struct Bits {
    most: usize,
    filter: Option<BloomFilter>,
}

impl Default for Bits {
    fn default() -> Self {
        Self { most: MOST_BITS, filter: None }
    }
}

impl Bits {
    /// A filter for about so many keys.
    pub(super) fn for_keys(keys: u64) -> Self {
        let bits = usize::try_from(keys.saturating_mul(BITS_A_KEY)).unwrap_or(MOST_BITS);
        Self { most: bits.clamp(LEAST_BITS, MOST_BITS), filter: None }
    }

    /// Adds a key.
    pub(super) fn insert(&mut self, key: &Key) {
        self.filter
            .get_or_insert_with(|| BloomFilter::with_num_bits(self.most).hashes(HASHES))
            .insert_hash(hash(key));
    }

    /// Whether a key may be one of those that were added. Those are never denied.
    pub(super) fn may_contain(&self, key: &Key) -> bool {
        self.filter.as_ref().is_some_and(|filter| filter.contains_hash(hash(key)))
    }

    /// Adds the keys of another filter of the same size.
    pub(super) fn union(&mut self, other: Self) {
        match (&mut self.filter, other.filter) {
            (Some(filter), Some(other)) => filter.union(&other),
            (None, other) => self.filter = other,
            (Some(_), None) => {}
        }
    }
}

/// A key is a digest: its first half is as good a hash as any.
fn hash(key: &Key) -> u64 {
    u64::from_be_bytes(std::array::from_fn(|at| key[at]))
}
