//! The list of attempts over all deliveries, newest first.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::attempt_view::AttemptView;
use super::page::Page;
use super::scope::visible_destinations;
use super::search::Search;
use super::{Condition, Service, ServiceError, destination_path, filter, mapping_path};
use crate::domain::auth::Caller;
use crate::domain::id::{Noun, PublicId};
use crate::store::{AttemptRow, Cursor, Pipeline};

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
    /// A page of the attempts that match, newest first.
    ///
    /// # Errors
    /// [`ServiceError`], with each invalid condition.
    pub async fn attempts(
        &self,
        caller: &Caller,
        conditions: &[Condition],
    ) -> Result<Page<ListedAttempt>, ServiceError> {
        let pipeline = self.pipeline(caller).await?;
        let conditions = filter::absolute(conditions, self.clock.now());
        let mut query = filter::attempts(&conditions, &pipeline)?;
        query.among = visible_destinations(caller, &pipeline);
        if !self.names_exist(caller, &conditions, &pipeline).await? {
            return Ok(Page { items: Vec::new(), next: None, looked_to: None });
        }
        let limit = query.limit;
        // One row beyond the limit shows whether there is a next page.
        query.limit += 1;
        let mut search = Search::of(query.limit);
        while let Some(next) = search.add(self.store.attempts(query.clone()).await?) {
            (query.before, query.limit) = (Some(next.before), next.limit);
        }
        let at = |it: &AttemptRow| Cursor { at: it.attempt.recorded_at, key: it.attempt.id.0 };
        Ok(Page::of(search.end(), limit, Noun::Attempt, at, |row| {
            ListedAttempt::of(row, &pipeline)
        }))
    }
}
