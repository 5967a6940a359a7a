//! Expiry: a lease without an outcome means that the process died or hung. It becomes an `unknown`
//! attempt and the delivery is due again by the ordinary backoff; the token decides the race with an
//! outcome that comes after all.

use std::sync::Arc;

use bytes::Bytes;

use super::Shared;
use crate::clock::Timestamp;
use crate::domain::attempt::{NewAttempt, Outcome};
use crate::domain::destination::DestinationSettings;
use crate::domain::id::RevisionId;
use crate::domain::retry::{Ended, decide};
use crate::store::{ExpiredLease, ExpiryScope, Record, Recorded, StoreError};

const AT_ONCE: u32 = 500;

/// Expires every lease in `scope`; returns how many.
pub(super) async fn run(shared: &Arc<Shared>, scope: ExpiryScope) -> Result<u64, StoreError> {
    let mut expired = 0;
    loop {
        let leases = shared.parts.store.expired_leases(scope, AT_ONCE).await?;
        if leases.is_empty() {
            return Ok(expired);
        }
        let now = shared.parts.clock.now();
        let records: Vec<_> = leases.iter().map(|lease| shared.unknown(lease, now)).collect();
        let records = Arc::new(records);
        let results = shared.parts.store.record(Arc::clone(&records)).await?;
        let applied = results.iter().filter(|it| **it == Recorded::Applied).count();
        expired += u64::try_from(applied).unwrap_or(u64::MAX);
        shared.note_recorded(&records, &results);
    }
}

impl Shared {
    fn unknown(&self, lease: &ExpiredLease, now: Timestamp) -> Record {
        let routes = self.parts.routes.current();
        let route = routes.mapping(lease.mapping_id);
        let settings = route.map_or_else(DestinationSettings::default, |it| it.settings.clone());
        let started_at = (lease.expires_at - settings.lease()).min(now);
        let duration = now.since(started_at).min(settings.lease());
        let ended = Ended {
            outcome: Outcome::Unknown,
            at: now,
            tried: lease.tried + 1,
            deadline_at: lease.deadline_at,
            timeout: settings.timeout(),
            retry_after: None,
        };
        let mut rng = self.rng.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Record {
            delivery_id: lease.delivery_id,
            mapping_id: lease.mapping_id,
            token: lease.token,
            next: decide(&ended, &mut *rng),
            policy: settings.policy,
            attempt: NewAttempt {
                node_id: lease.node_id,
                revision_id: route.map_or(RevisionId(0), |it| it.revision_id),
                started_at,
                duration_us: u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
                outcome: Outcome::Unknown,
                status: None,
                error: Some("the process that held the lease recorded no outcome".to_owned()),
                console: None,
                url: String::new(),
                request_headers: String::new(),
                body_sha256: None,
                response_headers: String::new(),
                response_body: Bytes::new(),
                response_truncated: false,
            },
        }
    }
}
