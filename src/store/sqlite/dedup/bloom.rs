//! Bloom filters, one before each de-duplication table, so that few new messages cost a lookup in it. They
//! are filled by compaction; what a table held at start is read by a thread beside the writer.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};
use tokio::sync::oneshot;

use super::super::open;
use crate::store::bloom::Bits;
use crate::store::message_key::MessageKey as Key;

/// Keys read in one transaction, so that none is long.
const AT_ONCE: i64 = 16_384;

const READ: [&str; 3] = [
    "SELECT key FROM dedup_0 WHERE key > ? ORDER BY key LIMIT ?",
    "SELECT key FROM dedup_1 WHERE key > ? ORDER BY key LIMIT ?",
    "SELECT key FROM dedup_2 WHERE key > ? ORDER BY key LIMIT ?",
];

/// The filters, by table.
#[derive(Debug)]
pub(crate) struct Filters([Filter; 3]);

impl Filters {
    /// Begins to read the tables that hold any key.
    pub(crate) fn open(path: &Path, filled: [bool; 3]) -> Self {
        Self(std::array::from_fn(|table| {
            let rest = filled[table].then(|| read_beside(path.to_owned(), table));
            Filter { bits: Bits::default(), rest }
        }))
    }

    /// Takes the filters of tables that have been read since.
    pub(crate) fn poll(&mut self) {
        self.0.iter_mut().for_each(Filter::poll);
    }

    /// Empties the filter of an empty table.
    pub(super) fn reset(&mut self, table: usize) {
        self.0[table] = Filter { bits: Bits::default(), rest: None };
    }

    /// Adds a key that is written to a table.
    pub(super) fn insert(&mut self, table: usize, key: &Key) {
        self.0[table].bits.insert(key);
    }

    /// Whether a table may contain a key.
    pub(super) fn may_contain(&self, table: usize, key: &Key) -> bool {
        let filter = &self.0[table];
        filter.rest.is_some() || filter.bits.may_contain(key)
    }
}

/// The filter of one table.
#[derive(Debug)]
struct Filter {
    bits: Bits,
    /// Delivers what the table held at start. Until then, and for good when it cannot be read, the table may
    /// contain any key.
    rest: Option<oneshot::Receiver<Bits>>,
}

impl Filter {
    fn poll(&mut self) {
        if let Some(rest) = &mut self.rest
            && let Ok(rest) = rest.try_recv()
        {
            self.bits.union(rest);
            self.rest = None;
        }
    }
}

/// Reads a table on a thread and connection of its own. Keys compacted meanwhile may be missing: compaction
/// adds them to the filter itself. Stops early when the receiver is dropped.
fn read_beside(path: PathBuf, table: usize) -> oneshot::Receiver<Bits> {
    let (read, rest) = oneshot::channel();
    let work = move || {
        let mut bits = Bits::default();
        match read_into(&mut bits, &path, table, || read.is_closed()) {
            // The receiver may be dropped.
            Ok(()) => drop(read.send(bits)),
            Err(error) => tracing::warn!(
                %error,
                "no Bloom filter: the de-duplication table could not be read"
            ),
        }
    };
    if let Err(error) = std::thread::Builder::new().name("bloom".to_owned()).spawn(work) {
        tracing::warn!(%error, "no Bloom filter: no thread to read the de-duplication table");
    }
    rest
}

fn read_into(
    bits: &mut Bits,
    path: &Path,
    table: usize,
    is_over: impl Fn() -> bool,
) -> rusqlite::Result<()> {
    let sqlite = open::connect_reader(path)?;
    let mut last: Vec<u8> = Vec::new();
    while !is_over() && read_some(bits, &sqlite, table, &mut last)? {}
    Ok(())
}

/// Reads the keys after the last one. False when there are none.
fn read_some(
    bits: &mut Bits,
    sqlite: &Connection,
    table: usize,
    last: &mut Vec<u8>,
) -> rusqlite::Result<bool> {
    let mut statement = sqlite.prepare_cached(READ[table])?;
    let mut rows = statement.query(params![&last[..], AT_ONCE])?;
    let mut found = None;
    while let Some(row) = rows.next()? {
        let key: Key = row.get(0)?;
        bits.insert(&key);
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
    fn a_filter_has_no_false_negatives_and_few_false_positives() {
        let mut filters = filters(None);
        keys(0..500_000).for_each(|key| filters.insert(0, &key));
        assert!(keys(0..500_000).all(|key| filters.may_contain(0, &key)));
        let false_positives =
            keys(500_000..600_000).filter(|key| filters.may_contain(0, key)).count();
        assert!(false_positives < 100, "{false_positives} of 100,000");
        assert!(keys(0..1_000).all(|key| !filters.may_contain(1, &key)), "each has its own");
        filters.reset(0);
        assert!(keys(0..1_000).all(|key| !filters.may_contain(0, &key)), "after a reset");
    }

    #[test]
    fn a_filter_is_read_from_its_whole_table() {
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
        assert!(keys(0..40_000).all(|key| bits.may_contain(&key)));
        let false_positives = keys(40_000..50_000).filter(|key| bits.may_contain(key)).count();
        assert!(false_positives < 10, "{false_positives} of 10,000");
    }

    #[test]
    fn a_table_that_is_not_read_yet_may_contain_any_key() {
        let (read, rest) = oneshot::channel();
        let mut filters = filters(Some(rest));
        let [before, meanwhile, never] = [0, 1, 2].map(|at| keys(at..at + 1).next().expect("one"));
        filters.insert(0, &meanwhile);
        filters.poll();
        assert!(filters.may_contain(0, &never));
        let mut bits = Bits::default();
        bits.insert(&before);
        read.send(bits).expect("received");
        filters.poll();
        let held = [before, meanwhile, never].map(|key| filters.may_contain(0, &key));
        assert_eq!(held, [true, true, false]);
    }

    #[test]
    fn a_table_that_cannot_be_read_may_contain_any_key() {
        let (read, rest) = oneshot::channel();
        drop(read);
        let mut filters = filters(Some(rest));
        filters.poll();
        assert!(keys(0..1_000).all(|key| filters.may_contain(0, &key)));
    }
}
