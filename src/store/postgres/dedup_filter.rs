//! Bloom filters in this node's memory, one before each de-duplication slot that takes no more keys. Every key of a
//! closed slot is committed, because the rotation that closes it waits for those who admit; so a filter that was
//! read from the slot since denies no key of any node. Without its filter a slot is looked at for every key.

use std::sync::{Arc, PoisonError, RwLock};

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use crate::store::bloom::Bits;
use crate::store::failure::Failure;
use crate::store::message_key::MessageKey;

/// Keys of one query, so that no snapshot is long.
const AT_ONCE: i64 = 16_384;

/// A turn of a slot that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turn {
    slot: i64,
    closed_at: i64,
}

/// The filter of a slot's turn.
#[derive(Debug)]
struct Filter {
    turn: Turn,
    bits: Bits,
}

/// The filters of this node.
#[derive(Debug, Default)]
pub(super) struct Filters(RwLock<Arc<Vec<Arc<Filter>>>>);

/// What must be looked up for some keys: the slots whose filters may contain them. The turns that have filters need no
/// other lookup while they last.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    pub(super) keys: Vec<Uuid>,
    pub(super) slots: Vec<i64>,
    pub(super) filtered_slots: Vec<i64>,
    pub(super) filtered_until: Vec<i64>,
}

impl Filters {
    fn all(&self) -> Arc<Vec<Arc<Filter>>> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What must be looked up for these keys.
    pub(super) fn lookups<'a>(&self, keys: impl Iterator<Item = &'a MessageKey>) -> Lookups {
        let filters = self.all();
        let mut lookups = Lookups {
            filtered_slots: filters.iter().map(|it| it.turn.slot).collect(),
            filtered_until: filters.iter().map(|it| it.turn.closed_at).collect(),
            ..Lookups::default()
        };
        for key in keys {
            for filter in filters.iter().filter(|it| it.bits.may_contain(key)) {
                lookups.keys.push(Uuid::from_bytes(*key));
                lookups.slots.push(filter.turn.slot);
            }
        }
        lookups
    }

    /// Reads the slots that were closed since, and drops the filters of those that were truncated.
    pub(super) async fn refresh(&self, conn: &mut PgConnection) -> Result<(), Failure> {
        let closed: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT slot, closed_at FROM dedup_slots WHERE closed_at IS NOT NULL ORDER BY slot",
        )
        .fetch_all(&mut *conn)
        .await?;
        let known = self.all();
        let mut filters = Vec::with_capacity(closed.len());
        for (slot, closed_at) in closed {
            let turn = Turn { slot, closed_at };
            match known.iter().find(|it| it.turn == turn) {
                Some(filter) => filters.push(Arc::clone(filter)),
                None => filters.push(Arc::new(Filter { turn, bits: read(conn, slot).await? })),
            }
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(filters);
        Ok(())
    }
}

/// The keys of a slot.
async fn read(conn: &mut PgConnection, slot: i64) -> Result<Bits, Failure> {
    let sql = format!("SELECT count(*) FROM dedup_{slot}");
    let keys: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *conn).await?;
    let mut bits = Bits::for_keys(u64::try_from(keys).unwrap_or(0));
    let sql = format!("SELECT key FROM dedup_{slot} WHERE key > $1 ORDER BY key LIMIT $2");
    let mut last = Uuid::nil();
    loop {
        let found: Vec<Uuid> = sqlx::query_scalar(AssertSqlSafe(sql.as_str()))
            .bind(last)
            .bind(AT_ONCE)
            .fetch_all(&mut *conn)
            .await?;
        found.iter().for_each(|key| bits.insert(key.as_bytes()));
        match found.last() {
            Some(key) => last = *key,
            None => return Ok(bits),
        }
    }
}
