//! Pruning on request: removes events past their retention, or past an age that the operator gives, as the
//! schedule does. Each call is bounded.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::shared_fields::check_note;
use super::{Service, ServiceError};
use crate::domain::audit::{Action, NewEntry};
use crate::domain::auth::Admin;
use crate::domain::duration_text::{duration_text, parse_duration};
use crate::maintenance::{Ages, RetentionError};
use crate::pipeline::FieldError;

/// Events that one call removes, where the request does not say.
const LIMIT: u32 = 10_000;
const MAX_LIMIT: u32 = 100_000;

/// A request to prune.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PruneRequest {
    /// Events whose deliveries were all delivered or discarded, or that have none, since at least this time,
    /// such as `36h` or `7d`; left out: the retention of the settings.
    #[schema(pattern = "^[0-9]{1,9}[smhd]$")]
    pub older_than: Option<String>,
    /// The same for dead letters.
    #[schema(pattern = "^[0-9]{1,9}[smhd]$")]
    pub dead_older_than: Option<String>,
    /// Events that this call removes at most; left out: 10,000.
    #[schema(minimum = 1, maximum = 100_000)]
    pub limit: Option<u32>,
    /// The reason, for the audit log.
    #[schema(max_length = 1_000)]
    pub note: Option<String>,
}

/// What a call removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PrunedView {
    /// The age of the settled deliveries that it removed.
    pub older_than: String,
    /// The age of the dead letters that it removed.
    pub dead_older_than: String,
    /// Events.
    pub events: u64,
    /// Their deliveries.
    pub deliveries: u64,
    /// Their attempts.
    pub attempts: u64,
    /// Whether the call reached its limits: another one may remove more.
    pub more: bool,
}

fn age(
    field: &str,
    given: Option<&str>,
    retention: Duration,
    faults: &mut Vec<FieldError>,
) -> Duration {
    let Some(text) = given else { return retention };
    parse_duration(text).unwrap_or_else(|| {
        faults
            .push(FieldError::new(field, "should be a whole number with a unit: 30s, 90m, 2h, 7d"));
        retention
    })
}

impl From<RetentionError> for ServiceError {
    fn from(error: RetentionError) -> Self {
        match error {
            RetentionError::ClockStepped => Self::Conflict(error.to_string()),
            RetentionError::Store(error) => Self::Store(error),
        }
    }
}

impl Service {
    /// Removes events past an age with their deliveries and attempts, up to a limit; never one with a delivery
    /// that is pending or leased. De-duplication still knows their message ids.
    ///
    /// # Errors
    /// [`ServiceError`], also while the ages of records are in doubt.
    pub async fn prune(
        &self,
        admin: &Admin,
        request: PruneRequest,
    ) -> Result<PrunedView, ServiceError> {
        admin.reaches_everything()?;
        let mut faults = Vec::new();
        let kept = self.retention.ages;
        let older = request.older_than.as_deref();
        let settled = age("older_than", older, kept.settled, &mut faults);
        let older = request.dead_older_than.as_deref();
        let dead = age("dead_older_than", older, kept.dead, &mut faults);
        let limit = request.limit.unwrap_or(LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            faults.push(FieldError::new("limit", format!("should be 1 to {MAX_LIMIT}")));
        }
        check_note(request.note.as_deref(), &mut faults);
        if !faults.is_empty() {
            return Err(ServiceError::Invalid(faults));
        }
        let (older_than, dead_older_than) = (duration_text(settled), duration_text(dead));
        let asked = json!({
            "older_than": older_than, "dead_older_than": dead_older_than, "limit": limit,
        });
        let act = admin.act(self.clock.now()).noted(request.note);
        let (action, subject) = (Action::Prune, "events".to_owned());
        let done = NewEntry { action, subject, before: None, after: Some(asked) };
        self.store.append_audit(act, done).await?;
        let pruned = self.retention.prune(Ages { settled, dead }, limit).await?;
        let (events, deliveries, attempts) = (pruned.events, pruned.deliveries, pruned.attempts);
        let more = pruned.more;
        Ok(PrunedView { older_than, dead_older_than, events, deliveries, attempts, more })
    }
}
