//! Filters before the de-duplication tables: each tells in memory that its table does not hold a key, for
//! most of those that it does not, so that few events are looked up in it. They are made as keys are
//! merged; what a table held when the process began is read beside the writer.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};
use tokio::sync::oneshot;

use super::dedup::Key;
use super::failure::direct_error;
use super::open;

/// A filter's blocks: 4 MiB. Of the keys that are not among five million one in 23 is looked up in vain,
/// with twenty million two of three.
const BLOCKS: usize = 1 << 16;
/// Words of a block, which is what one key touches: a line of the processor's cache.
const WORDS: usize = 8;
/// Bits of one key.
const BITS: usize = 4;
/// Keys that are read at once, so that no transaction is long.
const AT_ONCE: i64 = 16_384;

const READ: [&str; 3] = [
    "SELECT key FROM dedup_0 WHERE key > ? ORDER BY key LIMIT ?",
    "SELECT key FROM dedup_1 WHERE key > ? ORDER BY key LIMIT ?",
    "SELECT key FROM dedup_2 WHERE key > ? ORDER BY key LIMIT ?",
];

/// The filter of each table.
#[derive(Debug)]
pub(super) struct Filters([Filter; 3]);

impl Filters {
    /// Of tables of which these hold any key already.
    pub(super) fn open(path: &Path, filled: [bool; 3]) -> Self {
        Self(std::array::from_fn(|slot| {
            let rest = filled[slot].then(|| read_beside(path.to_owned(), slot));
            Filter { bits: Bits::default(), rest }
        }))
    }

    /// Takes what was read meanwhile.
    pub(super) fn look(&mut self) {
        self.0.iter_mut().for_each(Filter::look);
    }

    /// A table that holds nothing begins to be filled.
    pub(super) fn begin(&mut self, slot: usize) {
        self.0[slot] = Filter { bits: Bits::default(), rest: None };
    }

    /// A key is merged into a table.
    pub(super) fn add(&mut self, slot: usize, key: &Key) {
        self.0[slot].bits.add(key);
    }

    /// Whether a table may hold a key.
    pub(super) fn may_hold(&self, slot: usize, key: &Key) -> bool {
        let filter = &self.0[slot];
        filter.rest.is_some() || filter.bits.may_hold(key)
    }
}

/// One table's.
#[derive(Debug)]
struct Filter {
    bits: Bits,
    /// Brings what the table held when the process began. Until then, and for good when it cannot be
    /// read, the table may hold anything.
    rest: Option<oneshot::Receiver<Bits>>,
}

impl Filter {
    fn look(&mut self) {
        if let Some(rest) = &mut self.rest
            && let Ok(rest) = rest.try_recv()
        {
            self.bits.unite(rest);
            self.rest = None;
        }
    }
}

/// A Bloom filter whose bits for one key are all in one block. Keys are digests: their bytes are as good
/// as any hash of them.
#[derive(Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    /// Where a key's bits are: their words, and the bits in them.
    fn places(key: &Key) -> [(usize, u64); BITS] {
        let (pieces, _) = key.as_chunks();
        let piece = |at: usize| u16::from_be_bytes(pieces[at]);
        let block = usize::from(piece(0)) % BLOCKS;
        std::array::from_fn(|bit| {
            let piece = piece(pieces.len() - BITS + bit);
            let word = usize::from(piece >> 6) % WORDS;
            (block * WORDS + word, 1 << (piece % 64))
        })
    }

    fn add(&mut self, key: &Key) {
        if self.0.is_empty() {
            self.0 = vec![0; BLOCKS * WORDS];
        }
        for (word, bit) in Self::places(key) {
            self.0[word] |= bit;
        }
    }

    fn may_hold(&self, key: &Key) -> bool {
        !self.0.is_empty() && Self::places(key).iter().all(|(word, bit)| self.0[*word] & bit != 0)
    }

    fn unite(&mut self, other: Self) {
        if self.0.is_empty() {
            *self = other;
        } else {
            self.0.iter_mut().zip(other.0).for_each(|(one, two)| *one |= two);
        }
    }
}

/// Reads a table on a connection of its own. What is merged meanwhile may be missing: whoever merges it
/// adds it. It ends early when nobody waits for it any more.
fn read_beside(path: PathBuf, slot: usize) -> oneshot::Receiver<Bits> {
    let (read, rest) = oneshot::channel();
    tokio::task::spawn_blocking(move || {
        let mut bits = Bits::default();
        match read_into(&mut bits, &path, slot, || read.is_closed()) {
            // Nobody may wait for it any more.
            Ok(()) => drop(read.send(bits)),
            Err(error) => tracing::warn!(
                %error,
                "de-duplication keys could not be read: every event is looked up among them"
            ),
        }
    });
    rest
}

fn read_into(
    bits: &mut Bits,
    path: &Path,
    slot: usize,
    is_over: impl Fn() -> bool,
) -> Result<(), sqlx::Error> {
    let sqlite = open::connect_to_fetch(path)?;
    let mut last: Vec<u8> = Vec::new();
    while !is_over() && read_some(bits, &sqlite, slot, &mut last).map_err(direct_error)? {}
    Ok(())
}

/// Reads the keys that follow the last one. False when there are none.
fn read_some(
    bits: &mut Bits,
    sqlite: &Connection,
    slot: usize,
    last: &mut Vec<u8>,
) -> rusqlite::Result<bool> {
    let mut statement = sqlite.prepare_cached(READ[slot])?;
    let mut rows = statement.query(params![&last[..], AT_ONCE])?;
    let mut found = None;
    while let Some(row) = rows.next()? {
        let key: Key = row.get(0)?;
        bits.add(&key);
        found = Some(key);
    }
    if let Some(key) = found {
        *last = key.to_vec();
    }
    Ok(found.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::sha256;

    fn keys(numbers: std::ops::Range<u64>) -> impl Iterator<Item = Key> {
        numbers.map(|number| {
            let mut key = [0; 16];
            key.copy_from_slice(&sha256(&[&number.to_be_bytes()])[..16]);
            key
        })
    }

    fn filters(rest: Option<oneshot::Receiver<Bits>>) -> Filters {
        let empty = || Filter { bits: Bits::default(), rest: None };
        Filters([Filter { bits: Bits::default(), rest }, empty(), empty()])
    }

    #[test]
    fn what_is_in_a_table_may_be_and_little_else() {
        let mut filters = filters(None);
        keys(0..500_000).for_each(|key| filters.add(0, &key));
        assert!(keys(0..500_000).all(|key| filters.may_hold(0, &key)));
        let in_vain = keys(500_000..600_000).filter(|key| filters.may_hold(0, key)).count();
        assert!(in_vain < 100, "{in_vain} of 100,000");
        assert!(keys(0..1_000).all(|key| !filters.may_hold(1, &key)), "each has its own");
        filters.begin(0);
        assert!(keys(0..1_000).all(|key| !filters.may_hold(0, &key)), "begun anew");
    }

    #[test]
    fn a_table_is_read_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("one.db");
        let mut sqlite = Connection::open(&path).expect("a database");
        let table = "CREATE TABLE dedup_1 (key BLOB PRIMARY KEY) STRICT, WITHOUT ROWID";
        sqlite.execute(table, []).expect("made");
        let transaction = sqlite.transaction().expect("begun");
        for key in keys(0..40_000) {
            transaction.execute("INSERT INTO dedup_1 VALUES (?)", [key]).expect("inserted");
        }
        transaction.commit().expect("committed");
        let mut bits = Bits::default();
        read_into(&mut bits, &path, 1, || false).expect("read");
        assert!(keys(0..40_000).all(|key| bits.may_hold(&key)));
        let in_vain = keys(40_000..50_000).filter(|key| bits.may_hold(key)).count();
        assert!(in_vain < 10, "{in_vain} of 10,000");
    }

    #[test]
    fn before_a_table_is_read_it_may_hold_anything() {
        let (read, rest) = oneshot::channel();
        let mut filters = filters(Some(rest));
        let [before, meanwhile, never] = [0, 1, 2].map(|at| keys(at..at + 1).next().expect("one"));
        filters.add(0, &meanwhile);
        filters.look();
        assert!(filters.may_hold(0, &never));
        let mut bits = Bits::default();
        bits.add(&before);
        read.send(bits).expect("somebody waits");
        filters.look();
        let held = [before, meanwhile, never].map(|key| filters.may_hold(0, &key));
        assert_eq!(held, [true, true, false]);
    }

    #[test]
    fn a_table_that_cannot_be_read_may_hold_anything() {
        let (read, rest) = oneshot::channel();
        drop(read);
        let mut filters = filters(Some(rest));
        filters.look();
        assert!(keys(0..1_000).all(|key| filters.may_hold(0, &key)));
    }
}
