//! Lookup by messageId: de-duplication keys lead to the events and deliveries of a message. Older events, whose
//! keys have expired, are found by a scan.

use std::cmp::Reverse;

use sqlx::sqlite::SqliteConnection;

use super::super::backfilled;
use super::super::keyset::Scan;
use super::super::scan::{range_of, read_deliveries, read_events, scan_deliveries, scan_events};
use crate::domain::event::StoredEvent;
use crate::domain::id::{EventId, SourceId};
use crate::store::failure::Failure;
use crate::store::message_key::message_key as key;
use crate::store::scan_limits::ScanLimits;
use crate::store::statement::KeyRange;
use crate::store::{DeliveryQuery, DeliveryRow, EventConditions, EventQuery, Listed};

/// The events of keys, which are given as a JSON array of hexadecimal text.
pub(crate) const FIND: &str = "WITH wanted (key) AS (SELECT unhex(value) FROM json_each(?))
    SELECT event_id FROM wanted CROSS JOIN dedup_0 USING (key)
    UNION SELECT event_id FROM wanted CROSS JOIN dedup_1 USING (key)
    UNION SELECT event_id FROM wanted CROSS JOIN dedup_2 USING (key)
    UNION SELECT id + instr(keys, key) / 16 FROM wanted CROSS JOIN dedup_log
        WHERE instr(keys, key) % 16 = 1
    ORDER BY 1 DESC";

/// What de-duplication has of a message.
#[derive(Debug)]
pub(crate) struct Lookup {
    /// Its events, newest first: one of each source at most.
    events: Vec<i64>,
    /// From this event on there are no others, except rejected ones.
    since: i64,
}

impl Lookup {
    /// Looks up the message of a condition; none without such a condition.
    pub(crate) async fn of(
        conn: &mut SqliteConnection,
        event: &EventConditions,
        among: Option<&[SourceId]>,
    ) -> Result<Option<Self>, sqlx::Error> {
        let Some(message_id) = &event.message_id else { return Ok(None) };
        let sources: Vec<i64> = match (event.source_id, among) {
            (Some(id), _) => vec![id.0],
            (None, Some(among)) => among.iter().map(|id| id.0).collect(),
            (None, None) => {
                sqlx::query_scalar("SELECT id FROM sources").fetch_all(&mut *conn).await?
            }
        };
        let keys = sources.into_iter().map(|id| hex::encode(key(SourceId(id), message_id)));
        let keys = serde_json::Value::from(keys.collect::<Vec<_>>()).to_string();
        let events = sqlx::query_scalar(FIND).bind(keys).fetch_all(&mut *conn).await?;
        // Read after the keys: a key that expires in between is covered by the scan.
        let since = sqlx::query_scalar("SELECT since FROM deduplication").fetch_one(conn).await?;
        Ok(Some(Self { events, since }))
    }

    /// Events, newest first.
    pub(crate) async fn events(
        &self,
        conn: &mut SqliteConnection,
        query: &EventQuery,
        range: KeyRange,
        limits: ScanLimits,
    ) -> Result<Listed<StoredEvent>, Failure> {
        let (early, late) = range.split(self.since);
        let Listed { mut rows, mut looked_to } =
            scan_events(conn, query, Scan::REJECTED, late, limits).await?;
        for id in self.events.iter().filter(|id| late.hold(**id)) {
            rows.extend(read_events(conn, query, Scan::EVENTS, KeyRange::only(*id)).await?);
        }
        rows.retain(|row| looked_to.is_none_or(|end| row.id.0 >= end.key));
        rows.sort_by_key(|row| Reverse(row.id.0));
        let left = left(query.limit, &mut rows);
        if left == 0 {
            looked_to = None;
        } else if looked_to.is_none() {
            let rest = EventQuery { limit: left, ..query.clone() };
            let further = scan_events(conn, &rest, Scan::EVENTS, early, limits).await?;
            rows.extend(further.rows);
            looked_to = further.looked_to;
        }
        Ok(Listed { rows, looked_to })
    }

    /// Deliveries, newest first.
    pub(crate) async fn deliveries(
        &self,
        conn: &mut SqliteConnection,
        query: &DeliveryQuery,
        (scan, range): (Scan, KeyRange),
        limits: ScanLimits,
    ) -> Result<Listed<DeliveryRow>, Failure> {
        let since = sqlx::query_scalar(
            "SELECT first_delivery_id FROM events WHERE id >= ? ORDER BY id LIMIT 1",
        )
        .bind(self.since)
        .fetch_optional(&mut *conn)
        .await?;
        if backfilled::any_before(conn, self.since).await? {
            // Deliveries of older events may be among the newest.
            return scan_deliveries(conn, query, scan, range, limits).await;
        }
        let (early, late) = range.split(since.unwrap_or(i64::MAX));
        let mut rows = Vec::new();
        for id in &self.events {
            let Some(range) = range_of(conn, EventId(*id)).await? else { continue };
            rows.extend(read_deliveries(conn, query, scan, late.within(range)).await?);
            for key in backfilled::of_event(conn, EventId(*id)).await? {
                let only = late.within(KeyRange::only(key));
                rows.extend(read_deliveries(conn, query, scan, only).await?);
            }
        }
        rows.sort_by_key(|row| Reverse(row.delivery.id.0));
        let left = left(query.limit, &mut rows);
        if left == 0 {
            return Ok(Listed { rows, looked_to: None });
        }
        let rest = DeliveryQuery { limit: left, ..query.clone() };
        let further = scan_deliveries(conn, &rest, scan, early, limits).await?;
        rows.extend(further.rows);
        Ok(Listed { rows, looked_to: further.looked_to })
    }
}

/// Truncates the rows to the limit; returns how many more may follow.
fn left<T>(limit: u32, rows: &mut Vec<T>) -> u32 {
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    limit - u32::try_from(rows.len()).unwrap_or(limit)
}
