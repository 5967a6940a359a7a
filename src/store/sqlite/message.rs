//! Events and deliveries of one message. As far back as de-duplication keys are remembered they lead to
//! it; beyond that it is looked for like anything else, by walking.

use std::cmp::Reverse;

use sqlx::sqlite::SqliteConnection;

use super::dedup;
use super::failure::Failure;
use super::list::{range_of, read_deliveries, read_events, walk_deliveries, walk_events};
use super::walk::{Bounds, Look, Walk};
use crate::domain::id::{EventId, SourceId};
use crate::store::{DeliveryQuery, DeliveryRow, EventConditions, EventQuery, Listed, StoredEvent};

/// The events that these keys, as hexadecimal JSON, stand for.
pub(super) const FIND: &str = "WITH wanted (key) AS (SELECT unhex(value) FROM json_each(?))
    SELECT event_id FROM wanted CROSS JOIN dedup_0 USING (key)
    UNION SELECT event_id FROM wanted CROSS JOIN dedup_1 USING (key)
    UNION SELECT event_id FROM wanted CROSS JOIN dedup_2 USING (key)
    UNION SELECT id + instr(keys, key) / 16 FROM wanted CROSS JOIN dedup_log
        WHERE instr(keys, key) % 16 = 1
    ORDER BY 1 DESC";

/// What de-duplication knows of a message.
#[derive(Debug)]
pub(super) struct Trail {
    /// Its events, newest first: one of each source at most.
    events: Vec<i64>,
    /// From this event on there are no others, but for rejected ones.
    since: i64,
}

impl Trail {
    /// The trail of the message that is asked for; none where none is.
    pub(super) async fn of(
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
        let keys = sources.into_iter().map(|id| hex::encode(dedup::key(SourceId(id), message_id)));
        let keys = serde_json::Value::from(keys.collect::<Vec<_>>()).to_string();
        let events = sqlx::query_scalar(FIND).bind(keys).fetch_all(&mut *conn).await?;
        // Asked after the keys: what is forgotten meanwhile is walked for.
        let since = sqlx::query_scalar("SELECT since FROM deduplication").fetch_one(conn).await?;
        Ok(Some(Self { events, since }))
    }

    /// Events, newest first.
    pub(super) async fn events(
        &self,
        conn: &mut SqliteConnection,
        query: &EventQuery,
        bounds: Bounds,
        look: Look,
    ) -> Result<Listed<StoredEvent>, Failure> {
        let (early, late) = bounds.split(self.since);
        let Listed { mut rows, mut looked_to } =
            walk_events(conn, query, Walk::REJECTED, late, look).await?;
        for id in self.events.iter().filter(|id| late.hold(**id)) {
            rows.extend(read_events(conn, query, Walk::EVENTS, Bounds::only(*id)).await?);
        }
        rows.retain(|row| looked_to.is_none_or(|end| row.id.0 >= end.key));
        rows.sort_by_key(|row| Reverse(row.id.0));
        let left = left(query.limit, &mut rows);
        if left == 0 {
            looked_to = None;
        } else if looked_to.is_none() {
            let rest = EventQuery { limit: left, ..query.clone() };
            let further = walk_events(conn, &rest, Walk::EVENTS, early, look).await?;
            rows.extend(further.rows);
            looked_to = further.looked_to;
        }
        Ok(Listed { rows, looked_to })
    }

    /// Deliveries, newest first.
    pub(super) async fn deliveries(
        &self,
        conn: &mut SqliteConnection,
        query: &DeliveryQuery,
        (walk, bounds): (Walk, Bounds),
        look: Look,
    ) -> Result<Listed<DeliveryRow>, Failure> {
        let since = sqlx::query_scalar(
            "SELECT first_delivery_id FROM events WHERE id >= ? ORDER BY id LIMIT 1",
        )
        .bind(self.since)
        .fetch_optional(&mut *conn)
        .await?;
        let (early, late) = bounds.split(since.unwrap_or(i64::MAX));
        let mut rows = Vec::new();
        for id in &self.events {
            let Some(range) = range_of(conn, EventId(*id)).await? else { continue };
            rows.extend(read_deliveries(conn, query, walk, late.within(range)).await?);
        }
        let left = left(query.limit, &mut rows);
        if left == 0 {
            return Ok(Listed { rows, looked_to: None });
        }
        let rest = DeliveryQuery { limit: left, ..query.clone() };
        let further = walk_deliveries(conn, &rest, walk, early, look).await?;
        rows.extend(further.rows);
        Ok(Listed { rows, looked_to: further.looked_to })
    }
}

/// How many rows may follow these, which are as many as are asked for at most then.
fn left<T>(limit: u32, rows: &mut Vec<T>) -> u32 {
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    limit - u32::try_from(rows.len()).unwrap_or(limit)
}
