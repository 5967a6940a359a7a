//! SQL conditions that lists and jobs share.

use sqlx::{Postgres, QueryBuilder};

use super::rows::text;
use crate::domain::attempt::Outcome;
use crate::domain::clock::Timestamp;
use crate::domain::delivery::Reason;
use crate::domain::id::DestinationId;
use crate::domain::job::JobFilter;
use crate::store::{DeliveryQuery, EventConditions, StatusRange};

/// Conditions on deliveries.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Conditions<'a> {
    pub(super) reason: Option<Reason>,
    pub(super) outcome: Option<Outcome>,
    pub(super) among: Option<&'a [DestinationId]>,
    pub(super) destination_id: Option<i64>,
    pub(super) mapping_id: Option<i64>,
    pub(super) status: Option<StatusRange>,
    pub(super) accepted_from: Option<Timestamp>,
    pub(super) accepted_until: Option<Timestamp>,
}

impl<'a> Conditions<'a> {
    /// Those of a list.
    pub(super) fn of_query(query: &'a DeliveryQuery) -> Self {
        Self {
            reason: query.reason,
            outcome: query.outcome,
            among: query.among.as_deref(),
            destination_id: query.destination_id.map(|id| id.0),
            mapping_id: query.mapping_id.map(|id| id.0),
            status: query.status,
            accepted_from: query.accepted_from,
            accepted_until: query.accepted_until,
        }
    }

    /// Those of a job.
    pub(super) fn of_filter(filter: &'a JobFilter) -> Self {
        Self {
            reason: filter.reason,
            outcome: filter.outcome,
            among: filter.among.as_deref(),
            destination_id: filter.destination_id.map(|id| id.0),
            mapping_id: filter.mapping_id.map(|id| id.0),
            status: filter.status,
            accepted_from: filter.accepted_from,
            accepted_until: filter.accepted_until,
        }
    }
}

/// Adds the conditions on `deliveries` as `d`.
pub(super) fn push_conditions(sql: &mut QueryBuilder<Postgres>, conditions: &Conditions<'_>) {
    if let Some(reason) = conditions.reason {
        sql.push(" AND d.reason = ").push_bind(reason.as_str());
    }
    if let Some(outcome) = conditions.outcome {
        sql.push(" AND d.last_outcome = ").push_bind(Outcome::as_str(outcome));
    }
    let among = conditions.among.map(|ids| ids.iter().map(|id| id.0));
    push_among(sql, "d.destination_id", among);
    if let Some(id) = conditions.destination_id {
        sql.push(" AND d.destination_id = ").push_bind(id);
    }
    if let Some(id) = conditions.mapping_id {
        sql.push(" AND d.mapping_id = ").push_bind(id);
    }
    if let Some(StatusRange { from, to }) = conditions.status {
        sql.push(" AND d.last_status BETWEEN ").push_bind(i64::from(from));
        sql.push(" AND ").push_bind(i64::from(to));
    }
    if let Some(from) = conditions.accepted_from {
        sql.push(" AND d.accepted_at >= ").push_bind(from.as_micros());
    }
    if let Some(until) = conditions.accepted_until {
        sql.push(" AND d.accepted_at < ").push_bind(until.as_micros());
    }
}

/// Adds the conditions on `events` as `e`.
pub(super) fn push_event(sql: &mut QueryBuilder<Postgres>, event: &EventConditions) {
    if let Some(id) = event.source_id {
        sql.push(" AND e.source_id = ").push_bind(id.0);
    }
    if let Some(kind) = event.kind {
        sql.push(" AND e.type = ").push_bind(kind.as_str());
    }
    for (column, wanted) in
        [("name", &event.name), ("user_id", &event.user_id), ("message_id", &event.message_id)]
    {
        if let Some(wanted) = wanted {
            sql.push(format!(" AND e.{column} = ")).push_bind(text(wanted).into_owned());
        }
    }
}

pub(super) fn push_among(
    sql: &mut QueryBuilder<Postgres>,
    column: &'static str,
    ids: Option<impl Iterator<Item = i64>>,
) {
    if let Some(ids) = ids {
        sql.push(format!(" AND {column} = ANY (")).push_bind(ids.collect::<Vec<_>>()).push(")");
    }
}
