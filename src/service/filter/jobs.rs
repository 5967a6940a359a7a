//! The conditions of jobs: of a list of them, and of what one selects.

use super::{DEFAULT_LIMIT, OF_A_PAGE, cursor, deliveries, each, limit, unknown, word};
use crate::domain::id::{DeliveryId, Noun, PublicId};
use crate::domain::job::{JobAction, JobFilter, JobState};
use crate::pipeline::Fault;
use crate::service::{Condition, Refusal, parameters};
use crate::store::{JobQuery, Pipeline};

/// Reads the conditions of a list of jobs, or of those that do one thing.
pub(in crate::service) fn jobs(
    conditions: &[Condition],
    action: Option<JobAction>,
) -> Result<JobQuery, Refusal> {
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

/// Reads the conditions of a job; `ids` are deliveries by id.
pub(in crate::service) fn job(
    ids: &[String],
    conditions: &[Condition],
    pipeline: &Pipeline,
) -> Result<JobFilter, Refusal> {
    let mut faults: Vec<Fault> = conditions
        .iter()
        .filter(|(name, _)| OF_A_PAGE.contains(&name.as_str()))
        .map(|(name, _)| Fault::new(name, "is for lists: a job goes over all that match"))
        .collect();
    let mut delivery_ids = Vec::with_capacity(ids.len());
    for (index, text) in ids.iter().enumerate() {
        match PublicId::parse_as(text, Noun::Delivery) {
            Ok(id) => delivery_ids.push(DeliveryId(id.key)),
            Err(error) => faults.push(Fault::new(format!("ids[{index}]"), error.to_string())),
        }
    }
    if ids.is_empty() && conditions.is_empty() {
        faults.push(Fault::new("filter", "should have a condition: what should the job select?"));
    }
    if !faults.is_empty() {
        return Err(Refusal::Invalid(faults));
    }
    let query = deliveries(conditions, pipeline)?;
    Ok(JobFilter {
        delivery_ids,
        destination_id: query.destination_id,
        among: None,
        mapping_id: query.mapping_id,
        state: query.state,
        reason: query.reason,
        event_id: query.event_id,
        event: query.event,
        outcome: query.outcome,
        accepted_from: query.accepted_from,
        accepted_until: query.accepted_until,
        status: query.status,
    })
}
