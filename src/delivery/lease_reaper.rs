//! Expiry: a lease without an outcome means that the process died or hung. It becomes an `unknown`
//! attempt and the delivery is due again by the ordinary backoff; the token decides the race with an
//! outcome that comes after all.

use std::collections::HashMap;
use std::sync::Arc;

use super::Shared;
use crate::domain::attempt::{NewAttempt, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::destination::DestinationSettings;
use crate::domain::id::{MappingId, RevisionId};
use crate::domain::retry::{Ended, decide};
use crate::store::{ExpiredLease, Record, Recorded, StoreError};

const AT_ONCE: u32 = 500;

/// Expires every lease that ended without an outcome; returns how many.
pub(super) async fn run(shared: &Arc<Shared>) -> Result<u64, StoreError> {
    let now = shared.parts.clock.now();
    // Those of one mapping that share requests were likely in one: they come due together again.
    let mut jitters = HashMap::new();
    let mut expired = 0;
    loop {
        let leases = shared.parts.store.expired_leases(now, AT_ONCE).await?;
        if leases.is_empty() {
            return Ok(expired);
        }
        let record = |lease: &ExpiredLease| shared.unknown(lease, now, &mut jitters);
        let records: Vec<_> = leases.iter().map(record).collect();
        let records = Arc::new(records);
        let results = shared.parts.store.record(Arc::clone(&records)).await?;
        let applied = results.iter().filter(|it| **it == Recorded::Applied).count();
        expired += u64::try_from(applied).unwrap_or(u64::MAX);
        shared.note_recorded(&records, &results);
    }
}

impl Shared {
    fn unknown(
        &self,
        lease: &ExpiredLease,
        now: Timestamp,
        jitters: &mut HashMap<MappingId, f64>,
    ) -> Record {
        let routes = self.parts.routes.current();
        let route = routes.mapping(lease.mapping_id);
        let settings = route.map_or_else(DestinationSettings::default, |it| it.settings.clone());
        let lasted = route.map_or_else(|| settings.lease(), |it| it.lease());
        let started_at = (lease.expires_at - lasted).min(now);
        let duration = now.since(started_at).min(lasted);
        let ended = Ended {
            outcome: Outcome::Unknown,
            at: now,
            tried: lease.tried + 1,
            deadline_at: lease.deadline_at,
            timeout: settings.timeout(),
            retry_after: None,
        };
        let jitter = if route.is_some_and(|it| it.batching.is_some()) {
            *jitters.entry(lease.mapping_id).or_insert_with(|| self.jitter())
        } else {
            self.jitter()
        };
        let revision_id = route.map_or(RevisionId(0), |it| it.revision_id);
        Record {
            delivery_id: lease.delivery_id,
            mapping_id: lease.mapping_id,
            token: lease.token,
            next: decide(&ended, jitter),
            policy: settings.policy,
            attempt: NewAttempt {
                duration_us: u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
                error: Some("the process that held the lease recorded no outcome".to_owned()),
                ..NewAttempt::unsent(lease.node_id, revision_id, started_at, Outcome::Unknown)
            },
        }
    }
}
