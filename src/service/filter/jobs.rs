//! Parses the filter of a list of jobs, and what one job selects.

use super::{DEFAULT_LIMIT, OF_A_PAGE, cursor, deliveries, each, limit, unknown, word};
use crate::domain::id::{DeliveryId, Noun, PublicId};
use crate::domain::job::{JobAction, JobFilter, JobState};
use crate::pipeline::FieldError;
use crate::service::{Condition, ServiceError, parameters};
use crate::store::{JobQuery, Pipeline};

/// Parses the filter of a list of jobs, or of the jobs with one action.
pub(in crate::service) fn jobs(
    conditions: &[Condition],
    action: Option<JobAction>,
) -> Result<JobQuery, ServiceError> {
    let mut query = JobQuery { action, limit: DEFAULT_LIMIT, ..JobQuery::default() };
    let known = if action.is_some() { parameters::JOBS_OF_AN_ACTION } else { parameters::JOBS };
    each(conditions, known, |name, value| {
        match name {
            "action" if action.is_none() => {
                let words = JobAction::ALL.map(JobAction::as_str);
                query.action = Some(word(value, &words, JobAction::parse)?);
            }
            "state" => {
                let words = JobState::ALL.map(JobState::as_str);
                query.state = Some(word(value, &words, JobState::parse)?);
            }
            "before" => query.before = Some(cursor(value, Noun::Job)?),
            "limit" => query.limit = limit(value)?,
            _ => return Err(unknown(known, name)),
        }
        Ok(())
    })?;
    Ok(query)
}

/// Parses the selection of a job; `ids` are deliveries by id.
pub(in crate::service) fn job(
    ids: &[String],
    conditions: &[Condition],
    pipeline: &Pipeline,
) -> Result<JobFilter, ServiceError> {
    let mut faults: Vec<FieldError> = conditions
        .iter()
        .filter(|(name, _)| OF_A_PAGE.contains(&name.as_str()))
        .map(|(name, _)| FieldError::new(name, "is for lists: a job selects every match"))
        .collect();
    let mut delivery_ids = Vec::with_capacity(ids.len());
    for (index, text) in ids.iter().enumerate() {
        match PublicId::parse_as(text, Noun::Delivery) {
            Ok(id) => delivery_ids.push(DeliveryId(id.key)),
            Err(error) => faults.push(FieldError::new(format!("ids[{index}]"), error.to_string())),
        }
    }
    if ids.is_empty() && conditions.is_empty() {
        faults.push(FieldError::new(
            "filter",
            "should have at least one condition, which selects deliveries",
        ));
    }
    if !faults.is_empty() {
        return Err(ServiceError::Invalid(faults));
    }
    let query = deliveries(conditions, pipeline)?;
    Ok(JobFilter {
        delivery_ids,
        destination_id: query.destination_id,
        among: None,
        asked_by: None,
        mapping_id: query.mapping_id,
        state: query.state,
        reason: query.reason,
        event_id: query.event_id,
        event: query.event,
        outcome: query.outcome,
        accepted_from: query.accepted_from,
        accepted_until: query.accepted_until,
        status: query.status,
        again: false,
    })
}
