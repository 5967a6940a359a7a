//! Claim: moves due deliveries to `leased`, mapping by mapping, and the overdue ones before them to `dead`. What
//! another node is claiming is skipped, not waited for.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row as _};

use super::shared_state;
use super::tx::{Step, Tx, params};
use crate::domain::clock::{Moment, Timestamp};
use crate::domain::event::Event;
use crate::domain::id::{DeliveryId, EventId, MappingId};
use crate::domain::service_time::ServiceTime;
use crate::store::failure::Failure;
use crate::store::row::{self, Columns, EVENT_COLUMNS, int};
use crate::store::{ClaimRequest, ClaimWant, LeaseRef, LeasedDelivery};

/// A deadline from before the mapping was resumed is replaced by that of the resumed window, which starts
/// with no tries.
const CLAIM: &str = "WITH wanted AS MATERIALIZED (
        SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $8::bigint[],
                $9::boolean[])
            AS w (mapping_id, most, expires_at, resumed_deadline_at, low, as_owner)
        WHERE NOT w.as_owner OR EXISTS (SELECT 1 FROM mappings AS m
            JOIN destination_owners AS o ON o.destination_id = m.destination_id
            WHERE m.id = w.mapping_id AND o.node_id = $6)
     ), due AS MATERIALIZED (
        SELECT p.at FROM wanted AS w CROSS JOIN LATERAL
            (SELECT ctid AS at FROM pending
             WHERE mapping_id = w.mapping_id AND due_at >= w.low AND due_at <= $5
             ORDER BY due_at, id LIMIT w.most FOR UPDATE SKIP LOCKED) AS p
     ), taken AS (
        DELETE FROM pending WHERE ctid = ANY (ARRAY (SELECT at FROM due)) RETURNING *
     ), claimed AS MATERIALIZED (
        SELECT t.id, t.event_id, t.mapping_id, t.destination_id, t.accepted_at,
            greatest(t.deadline_at, w.resumed_deadline_at) AS deadline_at,
            CASE WHEN t.deadline_at < w.resumed_deadline_at THEN 0 ELSE t.tried END AS tried,
            t.token, t.last_outcome, t.last_status, t.due_at, w.expires_at,
            t.tried > 0 AND t.deadline_at >= w.resumed_deadline_at AND t.deadline_at <= $5
                AS is_overdue
        FROM taken AS t JOIN wanted AS w ON w.mapping_id = t.mapping_id
     ), died AS (
        INSERT INTO dead (id, event_id, mapping_id, destination_id, accepted_at, deadline_at, token,
            tried, last_outcome, last_status, settled_at, reason)
        SELECT id, event_id, mapping_id, destination_id, accepted_at, deadline_at, token, tried,
            last_outcome, last_status, $7, 'deadline' FROM claimed WHERE is_overdue
     ), held AS (
        INSERT INTO leased (id, event_id, mapping_id, destination_id, accepted_at, deadline_at,
            token, tried, last_outcome, last_status, node_id, lease_expires_at)
        SELECT id, event_id, mapping_id, destination_id, accepted_at, deadline_at, token + 1, tried,
            last_outcome, last_status, $6, expires_at FROM claimed WHERE NOT is_overdue
     )
     SELECT is_overdue, id, event_id, mapping_id, token + 1, tried, accepted_at, deadline_at,
        expires_at, due_at
     FROM claimed ORDER BY due_at, id";

/// How soon a node asks again that was refused a probe.
const PROBE_INTERVAL: Duration = Duration::from_millis(500);

/// For each given mapping, when its next pending delivery is due.
const NEXT_DUE: &str = "SELECT w.mapping_id, n.due_at
     FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS w (mapping_id, low, number)
     CROSS JOIN LATERAL (SELECT due_at FROM pending
        WHERE mapping_id = w.mapping_id AND due_at >= w.low ORDER BY due_at LIMIT 1) AS n
     ORDER BY w.number";

/// Moves to `dead` what was tried and is past its deadline, at most so many, whichever mappings they are of.
const BURY: &str = "WITH wanted AS MATERIALIZED (
        SELECT * FROM unnest($1::bigint[], $2::bigint[]) AS w (mapping_id, resumed_deadline_at)
     ), picked AS MATERIALIZED (
        SELECT p.at FROM wanted AS w CROSS JOIN LATERAL
            (SELECT ctid AS at FROM pending WHERE mapping_id = w.mapping_id AND tried > 0
                AND deadline_at <= $3 AND deadline_at >= w.resumed_deadline_at
             ORDER BY deadline_at LIMIT $4 FOR UPDATE SKIP LOCKED) AS p
        LIMIT $4
     ), taken AS (
        DELETE FROM pending WHERE ctid = ANY (ARRAY (SELECT at FROM picked)) RETURNING *
     )
     INSERT INTO dead (id, event_id, mapping_id, destination_id, accepted_at, deadline_at, token,
        tried, last_outcome, last_status, settled_at, reason)
     SELECT id, event_id, mapping_id, destination_id, accepted_at, deadline_at, token, tried,
        last_outcome, last_status, $5, 'deadline' FROM taken
     RETURNING mapping_id";

/// A leased delivery, without its event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claimed {
    id: DeliveryId,
    event_id: EventId,
    mapping_id: MappingId,
    token: u32,
    tried: u32,
    accepted_at: Timestamp,
    deadline_at: ServiceTime,
    lease_expires_at: ServiceTime,
    due_at: ServiceTime,
}

impl Claimed {
    fn read(from: &mut Columns<'_>) -> Result<Self, Failure> {
        Ok(Self {
            id: DeliveryId(from.take()?),
            event_id: EventId(from.take()?),
            mapping_id: MappingId(from.take()?),
            token: from.small()?,
            tried: from.small()?,
            accepted_at: from.at()?,
            deadline_at: from.service_at()?,
            lease_expires_at: from.service_at()?,
            due_at: from.service_at()?,
        })
    }

    /// Its event's key.
    pub(super) fn event_id(&self) -> EventId {
        self.event_id
    }

    /// Its lease.
    pub(super) fn lease(&self) -> LeaseRef {
        LeaseRef { delivery_id: self.id, token: self.token }
    }

    /// With its event.
    pub(super) fn with_event(&self, event: Arc<Event>) -> LeasedDelivery {
        LeasedDelivery {
            id: self.id,
            event_id: self.event_id,
            event,
            mapping_id: self.mapping_id,
            token: self.token,
            tried: self.tried,
            accepted_at: self.accepted_at,
            deadline_at: self.deadline_at,
            lease_expires_at: self.lease_expires_at,
        }
    }
}

/// What a claim took.
#[derive(Debug, Default)]
pub(super) struct Leased {
    pub(super) deliveries: Vec<Claimed>,
    pub(super) next_due: Vec<(MappingId, ServiceTime)>,
    pub(super) overdue: Vec<(MappingId, u64)>,
    /// For each mapping, until when everything due was taken.
    pub(super) ends: Vec<(MappingId, ServiceTime)>,
}

impl Leased {
    fn overdue_of(&self, mapping_id: MappingId) -> u64 {
        self.overdue.iter().find(|(id, _)| *id == mapping_id).map_or(0, |(_, count)| *count)
    }
}

/// Leases due deliveries for each mapping of the request.
#[derive(Debug)]
pub(super) struct ClaimDue {
    pub(super) request: ClaimRequest,
    /// For each mapping of the request, the due time to begin at.
    pub(super) low: Vec<i64>,
}

#[async_trait]
impl Step for ClaimDue {
    type Answer = Leased;
    const CONTEXT: &'static str = "claim due deliveries";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Leased, Failure> {
        let mut leased = Leased::default();
        let now = self.request.now.service;
        let probes = shared_state::admit_probes(tx, &self.request.wants, now.as_micros()).await?;
        let is_admitted = |it: &ClaimWant| !it.is_probe || probes.contains(&it.mapping_id);
        let wants = self.request.wants.iter().copied().zip(self.low.iter().copied());
        let wants = wants.filter(|(want, _)| want.limit > 0 && is_admitted(want));
        let mut wants: Vec<(ClaimWant, i64)> = wants.collect();
        // Those that died made no use of the limit: their mappings are looked at again.
        while !wants.is_empty() {
            let dead_before: Vec<u64> =
                wants.iter().map(|(want, _)| leased.overdue_of(want.mapping_id)).collect();
            self.take(tx, &wants, &mut leased).await?;
            wants = wants
                .iter()
                .zip(dead_before)
                .filter_map(|((want, low), before)| {
                    let died = leased.overdue_of(want.mapping_id) - before;
                    let limit = u32::try_from(died).unwrap_or(u32::MAX);
                    (limit > 0).then_some((ClaimWant { limit, ..*want }, *low))
                })
                .collect();
        }
        tx.counts.ledger.leased += int(leased.deliveries.len() as u64);
        tx.counts.ledger.pending -= int(leased.deliveries.len() as u64);
        let dead: u64 = leased.overdue.iter().map(|(_, count)| count).sum();
        tx.counts.ledger.pending -= int(dead);
        tx.counts.ledger.dead += int(dead);
        for (mapping_id, count) in &leased.overdue {
            tx.counts.statistics.dead(*mapping_id, *count);
        }
        let mappings: Vec<MappingId> =
            self.request.wants.iter().map(|want| want.mapping_id).collect();
        leased.next_due = next_due(tx.conn, &mappings, &self.low).await?;
        for it in leased.deliveries.iter().filter(|it| probes.contains(&it.mapping_id)) {
            shared_state::note_probe(tx, it.mapping_id, it.lease(), now.as_micros()).await?;
        }
        let refused =
            |id| self.request.wants.iter().any(|it| it.mapping_id == id && !is_admitted(it));
        for (_, due_at) in leased.next_due.iter_mut().filter(|(id, _)| refused(*id)) {
            *due_at = (*due_at).max(now + PROBE_INTERVAL);
        }
        Ok(leased)
    }
}

impl ClaimDue {
    async fn take(
        &self,
        tx: &mut Tx<'_>,
        wants: &[(ClaimWant, i64)],
        leased: &mut Leased,
    ) -> Result<(), Failure> {
        let Moment { wall, service } = self.request.now;
        let column = |of: fn(&ClaimWant, ServiceTime) -> i64| -> Vec<i64> {
            wants.iter().map(|(want, _)| of(want, service)).collect()
        };
        let values = params![
            column(|want, _| want.mapping_id.0),
            column(|want, _| i64::from(want.limit)),
            column(|want, now| (now + want.lease).as_micros()),
            column(|want, _| want.resumed_deadline_at.as_micros()),
            service.as_micros(),
            self.request.node_id.0,
            wall.as_micros(),
            wants.iter().map(|(_, low)| *low).collect::<Vec<i64>>(),
            wants.iter().map(|(want, _)| want.as_owner).collect::<Vec<bool>>(),
        ];
        let read = |row: &PgRow| {
            let mut from = Columns::from(row, 0);
            Ok((from.take::<bool>()?, Claimed::read(&mut from)?))
        };
        let taken = tx.all(CLAIM, values, read).await?;
        leased.ends.extend(wants.iter().map(|(want, _)| {
            let of_mapping = taken.iter().filter(|(_, it)| it.mapping_id == want.mapping_id);
            let dues: Vec<ServiceTime> = of_mapping.map(|(_, it)| it.due_at).collect();
            let is_cut = dues.len() >= usize::try_from(want.limit).unwrap_or(usize::MAX);
            let end = dues.last().copied().filter(|_| is_cut).unwrap_or(service);
            (want.mapping_id, end)
        }));
        for (is_overdue, claimed) in taken {
            if !is_overdue {
                leased.deliveries.push(claimed);
                continue;
            }
            let mut counts = leased.overdue.iter_mut();
            match counts.find(|(id, _)| *id == claimed.mapping_id) {
                Some((_, count)) => *count += 1,
                None => leased.overdue.push((claimed.mapping_id, 1)),
            }
        }
        Ok(())
    }
}

/// When the next delivery of each mapping is due, from these due times on.
pub(super) async fn next_due(
    conn: &mut PgConnection,
    mappings: &[MappingId],
    low: &[i64],
) -> Result<Vec<(MappingId, ServiceTime)>, sqlx::Error> {
    let ids: Vec<i64> = mappings.iter().map(|id| id.0).collect();
    let rows = sqlx::query(NEXT_DUE).bind(ids).bind(low).fetch_all(conn).await?;
    rows.iter()
        .map(|row| Ok((MappingId(row.try_get(0)?), ServiceTime::from_micros(row.try_get(1)?))))
        .collect()
}

/// The events of claimed deliveries, by their keys.
pub(super) async fn events(
    conn: &mut PgConnection,
    claimed: &[Claimed],
) -> Result<HashMap<EventId, Arc<Event>>, Failure> {
    let ids: BTreeSet<i64> = claimed.iter().map(|delivery| delivery.event_id.0).collect();
    let ids: Vec<i64> = ids.into_iter().collect();
    let sql = format!("SELECT {EVENT_COLUMNS} FROM events AS e WHERE e.id = ANY ($1)");
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(ids).fetch_all(conn).await?;
    rows.iter().map(|row| row::event(row).map(|it| (it.id, Arc::new(it.event)))).collect()
}

/// Makes dead letters of overdue deliveries.
#[derive(Debug)]
pub(super) struct BuryOverdue(pub(super) ClaimRequest);

#[async_trait]
impl Step for BuryOverdue {
    type Answer = u64;
    const CONTEXT: &'static str = "settle overdue deliveries";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64, Failure> {
        let ClaimRequest { now, wants, .. } = &self.0;
        let mappings: Vec<i64> = wants.iter().map(|want| want.mapping_id.0).collect();
        let resumed: Vec<i64> =
            wants.iter().map(|want| want.resumed_deadline_at.as_micros()).collect();
        let limit = wants.iter().map(|want| want.limit).max().unwrap_or(0);
        let values = params![
            mappings,
            resumed,
            now.service.as_micros(),
            i64::from(limit),
            now.wall.as_micros(),
        ];
        let ended = tx.all(BURY, values, |row| Ok(MappingId(row.try_get(0)?))).await?;
        ended.iter().for_each(|mapping_id| tx.counts.statistics.dead(*mapping_id, 1));
        let dead = ended.len() as u64;
        tx.counts.ledger.pending -= int(dead);
        tx.counts.ledger.dead += int(dead);
        Ok(dead)
    }
}
