//! The lease reaper: a lease that expired without an outcome becomes an attempt with outcome `unknown`,
//! and its delivery is due again by the ordinary backoff. A lease in hand is extended instead: its attempt
//! will be recorded. The fencing token decides the race with an outcome that is recorded late.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use crate::domain::attempt::{NewAttempt, Outcome};
use crate::domain::clock::Moment;
use crate::domain::destination::DestinationSettings;
use crate::domain::id::{MappingId, RevisionId};
use crate::domain::retry::{AttemptEnd, decide};
use crate::store::{ExpiredLease, LeaseRef, Record, Recorded, StoreError};

/// Leases in one store step.
const STEP_LEASES: u32 = 500;
/// Attempts of unknown outcome after which a delivery counts as tried: it may be what ends the process.
const MAX_UNKNOWN: u32 = 3;
/// How long a lease in hand is extended: the reaper runs several times meanwhile.
const EXTENSION: Duration = Duration::from_secs(60);

/// Expires every lease that ended without an outcome; returns how many.
pub(super) async fn run(context: &Context) -> Result<u64, StoreError> {
    let now = context.parts.clock.moment();
    // With batching, a mapping's expired deliveries share their jitter, as those of one request do.
    let mut jitters = HashMap::new();
    let mut expired = 0;
    loop {
        let leases = context.parts.store.expired_leases(now.service, STEP_LEASES).await?;
        if leases.is_empty() {
            return Ok(expired);
        }
        let (in_hand, leases): (Vec<_>, Vec<_>) =
            leases.into_iter().partition(|lease| context.in_hand.contains(lease_ref(lease)));
        if !in_hand.is_empty() {
            let extended = in_hand.iter().map(lease_ref).collect();
            context.parts.store.extend(extended, now.service + EXTENSION).await?;
        }
        let record = |lease: &ExpiredLease| unknown_attempt(context, lease, now, &mut jitters);
        let records: Vec<_> = leases.iter().map(record).collect();
        expired += record_all(context, records).await?;
    }
}

fn lease_ref(lease: &ExpiredLease) -> LeaseRef {
    LeaseRef { delivery_id: lease.delivery_id, token: lease.token }
}

/// Records `unknown` attempts; where the database refuses them together, one by one. Returns how many were
/// applied, or the error where none was.
async fn record_all(context: &Context, records: Vec<Record>) -> Result<u64, StoreError> {
    let steps: Vec<Vec<Record>> = match record(context, records.clone()).await {
        Err(StoreError::Database { .. }) if records.len() > 1 => {
            records.into_iter().map(|it| vec![it]).collect()
        }
        result => return result,
    };
    let (mut applied, mut refused) = (0, None);
    for step in steps {
        match record(context, step).await {
            Ok(count) => applied += count,
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        Some(error) if applied == 0 => Err(error),
        Some(_) | None => Ok(applied),
    }
}

async fn record(context: &Context, records: Vec<Record>) -> Result<u64, StoreError> {
    let records = Arc::new(records);
    let results = context.parts.store.record(Arc::clone(&records)).await?;
    context.note_recorded(&records, &results);
    let applied = results.iter().filter(|it| **it == Recorded::Applied).count();
    Ok(u64::try_from(applied).unwrap_or(u64::MAX))
}

fn unknown_attempt(
    context: &Context,
    lease: &ExpiredLease,
    now: Moment,
    jitters: &mut HashMap<MappingId, f64>,
) -> Record {
    let routes = context.parts.routes.current();
    let route = routes.mapping(lease.mapping_id);
    let settings = route.map_or_else(DestinationSettings::default, |it| it.settings.clone());
    let is_held = route.is_some_and(|it| !it.delivers());
    let lease_time = route.map_or_else(|| settings.lease(), |it| it.lease());
    let held_for = now.service.since(lease.expires_at - lease_time);
    let (started_at, duration) = (now.wall - held_for, held_for.min(lease_time));
    let end = AttemptEnd {
        outcome: Outcome::Unknown,
        at: now.service,
        tried: lease.tried + lease.unknown + 1,
        // What is held does not die meanwhile.
        is_untried: is_held || lease.tried == 0 && lease.unknown < MAX_UNKNOWN,
        deadline_at: lease.deadline_at,
        timeout: route.map_or_else(|| settings.timeout(), |it| it.timeout()),
        retry_after: None,
    };
    let jitter = if route.is_some_and(|it| it.batching.is_some()) {
        *jitters.entry(lease.mapping_id).or_insert_with(|| context.jitter())
    } else {
        context.jitter()
    };
    let revision_id = route.map_or(RevisionId(0), |it| it.revision_id);
    Record {
        delivery_id: lease.delivery_id,
        mapping_id: lease.mapping_id,
        token: lease.token,
        next: decide(&end, jitter),
        policy: settings.policy,
        attempt: NewAttempt {
            duration_us: u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
            error: Some("the lease expired without a recorded outcome".to_owned()),
            ..NewAttempt::unsent(lease.node_id, revision_id, started_at, Outcome::Unknown)
        },
    }
}
