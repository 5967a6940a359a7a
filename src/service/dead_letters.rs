//! Dead letters: listed like deliveries, and grouped by destination and reason.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::deliveries::DeliveryView;
use super::filter::{self, Condition, destination_path};
use super::page::Page;
use super::scope::visible_destinations;
use super::{Service, ServiceError};
use crate::domain::auth::Caller;

/// Dead letters with the same destination and reason.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterGroupView {
    /// `source/destination`; none when it was removed.
    pub destination: Option<String>,
    /// The reason.
    pub reason: String,
    /// Their number, up to the limit of the count.
    pub count: u64,
    /// Whether the count reached its limit.
    pub more: bool,
    /// When the oldest was dead-lettered.
    pub oldest_at: String,
    /// When the newest was dead-lettered.
    pub newest_at: String,
}

impl Service {
    /// A page of the dead letters that match, newest first.
    ///
    /// # Errors
    /// [`ServiceError`], with each invalid condition.
    pub async fn dead_letters(
        &self,
        caller: &Caller,
        conditions: &[Condition],
    ) -> Result<Page<DeliveryView>, ServiceError> {
        let pipeline = self.pipeline(caller).await?;
        let conditions = filter::absolute(conditions, self.clock.now());
        let query = filter::dead_letters(&conditions, &pipeline)?;
        if !self.names_exist(caller, &conditions, &pipeline).await? {
            return Ok(Page { items: Vec::new(), next: None, looked_to: None });
        }
        self.list_deliveries(caller, query, &pipeline).await
    }

    /// Every group of dead letters, the largest first.
    ///
    /// # Errors
    /// [`ServiceError`] when the store fails.
    pub async fn dead_letter_groups(
        &self,
        caller: &Caller,
    ) -> Result<Page<DeadLetterGroupView>, ServiceError> {
        let pipeline = self.pipeline(caller).await?;
        let seen = visible_destinations(caller, &pipeline);
        let mut groups = self.store.dead_letter_groups().await?;
        groups.retain(|it| seen.as_ref().is_none_or(|ids| ids.contains(&it.destination_id)));
        groups.sort_by_key(|it| std::cmp::Reverse(it.count));
        let views = groups.iter().map(|group| {
            let path = destination_path(&pipeline, group.destination_id);
            DeadLetterGroupView {
                destination: (!path.is_empty()).then(|| path.join("/")),
                reason: group.reason.as_str().to_owned(),
                count: group.count,
                more: group.more,
                oldest_at: group.oldest_at.to_iso(),
                newest_at: group.newest_at.to_iso(),
            }
        });
        Ok(Page::whole(views.collect()))
    }
}
