//! Attempts over all deliveries, newest first.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::deliveries::{AttemptView, Page, among};
use super::{Condition, Refusal, Service, destination_path, filter, mapping_path};
use crate::domain::auth::Caller;
use crate::domain::id::{Noun, PublicId};
use crate::store::{AttemptRow, Pipeline};

/// An attempt in a list, with the delivery that it was made for.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ListedAttempt {
    /// The delivery's id.
    pub delivery: String,
    /// Its destination, `source/destination`; none when that was removed.
    pub destination: Option<String>,
    /// Its mapping, `source/destination/mapping`; none when that was removed.
    pub mapping: Option<String>,
    /// When the attempt was recorded.
    pub recorded_at: String,
    /// The attempt.
    #[serde(flatten)]
    pub attempt: AttemptView,
}

impl ListedAttempt {
    fn of(row: &AttemptRow, pipeline: &Pipeline) -> Self {
        let path = |path: Vec<String>| (!path.is_empty()).then(|| path.join("/"));
        let delivery = PublicId::new(Noun::Delivery, row.accepted_at, row.attempt.delivery_id.0);
        Self {
            delivery: delivery.to_string(),
            destination: path(destination_path(pipeline, row.destination_id)),
            mapping: path(mapping_path(pipeline, row.mapping_id)),
            recorded_at: row.attempt.recorded_at.to_iso(),
            attempt: AttemptView::of(&row.attempt),
        }
    }
}

impl Service {
    /// A page of the attempts that meet the conditions, newest first.
    ///
    /// # Errors
    /// [`Refusal`], with each condition that is not right.
    pub async fn attempts(
        &self,
        caller: &Caller,
        conditions: &[Condition],
    ) -> Result<Page<ListedAttempt>, Refusal> {
        let pipeline = self.pipeline(caller).await?;
        let mut query = filter::attempts(conditions, &pipeline)?;
        query.among = among(caller, &pipeline);
        let limit = query.limit;
        // One more than asked for tells whether there is a next page.
        query.limit += 1;
        let listed = self.store.list_attempts(query).await?;
        let at = |it: &AttemptRow| (it.attempt.id.0, it.attempt.recorded_at);
        Ok(Page::of(listed, limit, Noun::Attempt, at, |row| ListedAttempt::of(row, &pipeline)))
    }
}
