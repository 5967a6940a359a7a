//! The integrity check of `doctor`: SQLite's own check of the file, and consistency checks that compare the
//! rows with the ledger, the counters and each other.

use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row};

use super::repair::COUNT;
use crate::domain::service_time::ServiceTime;
use crate::store::Finding;
use crate::store::consistency::{self, CountedDeliveries};
use crate::store::failure::Failure;
use crate::store::row::{self, count, read_ledger};

/// Runs every check.
pub(super) async fn check(
    conn: &mut SqliteConnection,
    now: ServiceTime,
    has_room: bool,
) -> Result<Vec<Finding>, Failure> {
    Ok(vec![
        integrity(conn).await?,
        foreign_keys(conn).await?,
        ledger(conn).await?,
        orphans(conn).await?,
        headers(conn).await?,
        keys(conn).await?,
        leases(conn, now).await?,
        disk(conn, has_room).await?,
    ])
}

async fn integrity(conn: &mut SqliteConnection) -> Result<Finding, Failure> {
    let found: Vec<String> =
        sqlx::query_scalar("PRAGMA integrity_check(20)").fetch_all(conn).await?;
    let ok = found == ["ok"];
    let detail = if ok { "every page, index and CHECK holds".to_owned() } else { found.join("; ") };
    Ok(Finding { check: "integrity", ok, detail })
}

async fn foreign_keys(conn: &mut SqliteConnection) -> Result<Finding, Failure> {
    let broken = sqlx::query("PRAGMA foreign_key_check").fetch_all(conn).await?.len();
    let detail = format!("{broken} broken references in the pipeline");
    Ok(Finding { check: "foreign_keys", ok: broken == 0, detail })
}

/// Compares the ledger with counted rows, both in one snapshot.
async fn ledger(conn: &mut SqliteConnection) -> Result<Finding, Failure> {
    let sql = format!(
        "WITH states (pending, leased, delivered, dead, discarded) AS ({COUNT})
         SELECT l.events_accepted, l.events_rejected, l.events_duplicate, l.accepted, l.pending,
            l.leased, l.delivered, l.dead, l.discarded, l.delivered_pruned, l.dead_pruned,
            l.discarded_pruned, s.pending, s.leased, s.delivered, s.dead, s.discarded
         FROM ledger AS l, states AS s"
    );
    let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(conn).await?;
    let kept = read_ledger(|column| row.try_get::<i64, _>(column))?;
    let counted = |index: usize| row.try_get::<i64, _>(index).map(count);
    let counted = CountedDeliveries {
        pending: counted(12)?,
        leased: counted(13)?,
        delivered: counted(14)?,
        dead: counted(15)?,
        discarded: counted(16)?,
    };
    Ok(consistency::ledger(&kept, &counted))
}

/// Finds rows without the row they refer to: the hot tables have no foreign keys.
async fn orphans(conn: &mut SqliteConnection) -> Result<Finding, Failure> {
    let checks = [
        (
            "deliveries without their event",
            "SELECT count(*) FROM deliveries AS d LEFT JOIN events AS e ON e.id = d.event_id
             WHERE e.id IS NULL OR (d.id < e.first_delivery_id
                OR d.id >= e.first_delivery_id + e.delivery_count)
                AND NOT EXISTS (SELECT 1 FROM backfilled AS b
                    WHERE b.event_id = d.event_id AND b.delivery_id = d.id)",
        ),
        (
            "backfilled deliveries that are missing",
            "SELECT count(*) FROM backfilled AS b LEFT JOIN deliveries AS d ON d.id = b.delivery_id
             WHERE d.id IS NULL OR d.event_id <> b.event_id",
        ),
        (
            "events without all their deliveries",
            "SELECT count(*) FROM events AS e WHERE e.delivery_count <> (
                SELECT count(*) FROM deliveries AS d WHERE d.id >= e.first_delivery_id
                    AND d.id < e.first_delivery_id + e.delivery_count AND d.event_id = e.id)",
        ),
        (
            "attempts without their delivery",
            "SELECT count(*) FROM attempts AS a LEFT JOIN deliveries AS d ON d.id = a.delivery_id
             WHERE d.id IS NULL",
        ),
        (
            "attempts without their batch",
            "SELECT count(*) FROM attempts AS a LEFT JOIN batches AS b ON b.id = a.batch_id
             WHERE a.batch_id IS NOT NULL AND b.id IS NULL",
        ),
        (
            "batches with another number of attempts than they count",
            "SELECT count(*) FROM batches AS b LEFT JOIN (
                SELECT batch_id, count(*) AS found FROM attempts
                WHERE batch_id IS NOT NULL GROUP BY batch_id) AS a ON a.batch_id = b.id
             WHERE coalesce(a.found, 0) <> b.attempt_count",
        ),
        (
            "deliveries without their mapping",
            "SELECT count(*) FROM (SELECT DISTINCT mapping_id FROM deliveries) AS d
             LEFT JOIN mappings AS m ON m.id = d.mapping_id WHERE m.id IS NULL",
        ),
        (
            "deliveries settled by one that was not delivered itself",
            "SELECT count(*) FROM deliveries AS d LEFT JOIN deliveries AS w ON w.id = d.settled_by
             WHERE d.settled_by IS NOT NULL AND (w.id IS NULL OR w.state <> 'delivered'
                OR w.settled_by IS NOT NULL OR w.event_id <> d.event_id
                OR w.destination_id <> d.destination_id)",
        ),
    ];
    let mut faults = Vec::new();
    for (what, sql) in checks {
        let found: i64 = sqlx::query_scalar(sql).fetch_one(&mut *conn).await?;
        if found > 0 {
            faults.push(format!("{found} {what}"));
        }
    }
    let detail = if faults.is_empty() {
        "every row has what it belongs to".to_owned()
    } else {
        faults.join("; ")
    };
    Ok(Finding { check: "orphans", ok: faults.is_empty(), detail })
}

/// Unpacks headers: damage within them is not detected by page checks or CHECKs.
async fn headers(conn: &mut SqliteConnection) -> Result<Finding, Failure> {
    const PACKED: [&str; 2] = [
        "SELECT request_headers, response_headers FROM attempts WHERE batch_id IS NULL",
        "SELECT request_headers, response_headers FROM batches",
    ];
    let (mut requests, mut unreadable) = (0_u64, 0_u64);
    for sql in PACKED {
        let mut rows = sqlx::query(sql).fetch(&mut *conn);
        while let Some(row) = rows.try_next().await? {
            let is_readable = |column: usize| {
                let packed: Option<&[u8]> = row.try_get(column)?;
                Ok::<_, sqlx::Error>(packed.is_some_and(|it| row::headers(it).is_ok()))
            };
            requests += 1;
            unreadable += u64::from(!is_readable(0)? || !is_readable(1)?);
        }
    }
    let detail = format!("{unreadable} of {requests} requests have headers that cannot be read");
    Ok(Finding { check: "headers", ok: unreadable == 0, detail })
}

/// The key counters are above every key, so that no key is used twice.
async fn keys(conn: &mut SqliteConnection) -> Result<Finding, Failure> {
    let row = sqlx::query(
        "SELECT next_event_id, next_delivery_id, next_attempt_id,
            (SELECT coalesce(max(id), 0) FROM events) < next_event_id
                AND (SELECT coalesce(max(id), 0) FROM deliveries) < next_delivery_id
                AND (SELECT coalesce(max(id), 0) FROM attempts) < next_attempt_id
         FROM ledger",
    )
    .fetch_one(conn)
    .await?;
    let (event, delivery, attempt): (i64, i64, i64) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let detail = format!("next: event {event}, delivery {delivery}, attempt {attempt}");
    Ok(Finding { check: "keys", ok: row.try_get(3)?, detail })
}

/// An overdue lease means that the lease reaper is not running.
async fn leases(conn: &mut SqliteConnection, now: ServiceTime) -> Result<Finding, Failure> {
    const OVERDUE_US: i64 = 5 * 60 * 1_000_000;
    let row = sqlx::query(
        "SELECT count(*), coalesce(sum(lease_expires_at < ?), 0) FROM deliveries
         WHERE state = 'leased'",
    )
    .bind(now.as_micros() - OVERDUE_US)
    .fetch_one(conn)
    .await?;
    let (held, overdue): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let detail = format!("{held} held, {overdue} of them more than 5 minutes past their end");
    Ok(Finding { check: "leases", ok: overdue == 0, detail })
}

async fn disk(conn: &mut SqliteConnection, has_room: bool) -> Result<Finding, Failure> {
    let mut sizes = [0i64; 3];
    let pragmas = ["PRAGMA page_count", "PRAGMA freelist_count", "PRAGMA page_size"];
    for (size, pragma) in sizes.iter_mut().zip(pragmas) {
        *size = sqlx::query_scalar(pragma).fetch_one(&mut *conn).await?;
    }
    let [pages, free, page_bytes] = sizes;
    let room = if has_room { "above" } else { "below" };
    let detail = format!(
        "{} MiB, {} MiB of it free; the disk's free space is {room} the floor",
        (pages * page_bytes) >> 20,
        (free * page_bytes) >> 20,
    );
    Ok(Finding { check: "disk", ok: has_room, detail })
}
