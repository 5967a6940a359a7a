//! Dead letters: listed like deliveries, and in groups by destination and reason.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::deliveries::{DeliveryView, Page, among};
use super::filter::{self, Condition, destination_path};
use super::{Refusal, Service};
use crate::domain::auth::Caller;

/// Dead letters that have reason and destination in common.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterGroupView {
    /// `source/destination`; none when it was removed.
    pub destination: Option<String>,
    /// Why they are dead.
    pub reason: String,
    /// How many there are.
    pub count: u64,
    /// Whether there are more than are counted.
    pub more: bool,
    /// When the first of them died.
    pub oldest_at: String,
    /// When the last of them died.
    pub newest_at: String,
}

impl Service {
    /// A page of the dead letters that meet the conditions, newest first.
    ///
    /// # Errors
    /// [`Refusal`], with each condition that is not right.
    pub async fn dead_letters(
        &self,
        caller: &Caller,
        conditions: &[Condition],
    ) -> Result<Page<DeliveryView>, Refusal> {
        let pipeline = self.pipeline(caller).await?;
        let query = filter::dead_letters(conditions, &pipeline)?;
        self.list_deliveries(caller, query, &pipeline).await
    }

    /// Every group of dead letters, the largest first.
    ///
    /// # Errors
    /// [`Refusal`] when the store fails.
    pub async fn dead_letter_groups(
        &self,
        caller: &Caller,
    ) -> Result<Page<DeadLetterGroupView>, Refusal> {
        let pipeline = self.pipeline(caller).await?;
        let seen = among(caller, &pipeline);
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
