//! The ledger: what a transaction adds to it, and the sum of all rows. A row takes a bounded number of commits, then
//! its writer begins another: as long as any snapshot is open no version of a row is cleaned up, and an update steps
//! over all of them. Once a minute the rows are folded into one.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row as _};

use super::rows::{Inserts, NewRows};
use crate::domain::ledger::Ledger;
use crate::store::row::{int, read_ledger};

/// What a transaction adds to each counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LedgerChange {
    pub(super) events_accepted: i64,
    pub(super) events_rejected: i64,
    pub(super) events_duplicate: i64,
    pub(super) accepted: i64,
    pub(super) pending: i64,
    pub(super) leased: i64,
    pub(super) delivered: i64,
    pub(super) dead: i64,
    pub(super) discarded: i64,
    pub(super) delivered_pruned: i64,
    pub(super) dead_pruned: i64,
    pub(super) discarded_pruned: i64,
}

const TABLE: &str = "ledger AS l (id, events_accepted, events_rejected, events_duplicate, accepted,
    pending, leased, delivered, dead, discarded, delivered_pruned, dead_pruned, discarded_pruned)";
const ADD: &str =
    "ON CONFLICT (id) DO UPDATE SET events_accepted = l.events_accepted + excluded.events_accepted,
        events_rejected = l.events_rejected + excluded.events_rejected,
        events_duplicate = l.events_duplicate + excluded.events_duplicate,
        accepted = l.accepted + excluded.accepted, pending = l.pending + excluded.pending,
        leased = l.leased + excluded.leased, delivered = l.delivered + excluded.delivered,
        dead = l.dead + excluded.dead, discarded = l.discarded + excluded.discarded,
        delivered_pruned = l.delivered_pruned + excluded.delivered_pruned,
        dead_pruned = l.dead_pruned + excluded.dead_pruned,
        discarded_pruned = l.discarded_pruned + excluded.discarded_pruned";

const SUM: &str = "SELECT coalesce(sum(events_accepted), 0)::bigint,
        coalesce(sum(events_rejected), 0)::bigint, coalesce(sum(events_duplicate), 0)::bigint,
        coalesce(sum(accepted), 0)::bigint, coalesce(sum(pending), 0)::bigint,
        coalesce(sum(leased), 0)::bigint, coalesce(sum(delivered), 0)::bigint,
        coalesce(sum(dead), 0)::bigint, coalesce(sum(discarded), 0)::bigint,
        coalesce(sum(delivered_pruned), 0)::bigint, coalesce(sum(dead_pruned), 0)::bigint,
        coalesce(sum(discarded_pruned), 0)::bigint
     FROM ledger";

impl LedgerChange {
    fn counters(&self) -> [i64; 12] {
        [
            self.events_accepted,
            self.events_rejected,
            self.events_duplicate,
            self.accepted,
            self.pending,
            self.leased,
            self.delivered,
            self.dead,
            self.discarded,
            self.delivered_pruned,
            self.dead_pruned,
            self.discarded_pruned,
        ]
    }

    /// The change from one ledger to another.
    pub(super) fn correct(&mut self, before: &Ledger, after: &Ledger) {
        let change = |of: fn(&Ledger) -> u64| int(of(after)) - int(of(before));
        self.accepted += change(|it| it.accepted);
        self.pending += change(|it| it.pending);
        self.leased += change(|it| it.leased);
        self.delivered += change(|it| it.delivered);
        self.dead += change(|it| it.dead);
        self.discarded += change(|it| it.discarded);
    }

    /// Adds it to the row `id`.
    pub(super) fn add_to(&self, inserts: &mut Inserts, id: i64) {
        if *self == Self::default() {
            return;
        }
        let mut rows = NewRows::default();
        rows.row().int(id);
        for counter in self.counters() {
            rows.int(counter);
        }
        inserts.add(rows, TABLE, ADD);
    }
}

/// Rows that one step folds.
const FOLDED: i64 = 10_000;
/// Those that a commit is adding to are left for the next time.
const FOLD: &str = "WITH gone AS (
        DELETE FROM ledger WHERE ctid = ANY (ARRAY (
            SELECT ctid FROM ledger WHERE id >= 0 ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED))
        RETURNING *
     )
     INSERT INTO ledger AS l (id, events_accepted, events_rejected, events_duplicate, accepted, pending,
        leased, delivered, dead, discarded, delivered_pruned, dead_pruned, discarded_pruned)
     SELECT -1, sum(events_accepted), sum(events_rejected), sum(events_duplicate), sum(accepted),
        sum(pending), sum(leased), sum(delivered), sum(dead), sum(discarded), sum(delivered_pruned),
        sum(dead_pruned), sum(discarded_pruned) FROM gone HAVING count(*) > 0 ";

/// Adds all rows to one.
pub(super) async fn fold(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    let sql = format!("{FOLD}{ADD}");
    sqlx::query(AssertSqlSafe(sql)).bind(FOLDED).execute(conn).await.map(|_| ())
}

/// The sum over all nodes.
pub(super) async fn read(conn: &mut PgConnection) -> Result<Ledger, sqlx::Error> {
    let row: PgRow = sqlx::query(SUM).fetch_one(conn).await?;
    read_ledger(|column| row.try_get(column))
}
