//! What a caller's scope lets it list: the destinations and sources that a query is limited to.

use crate::domain::auth::Caller;
use crate::domain::id::{DestinationId, SourceId};
use crate::store::Pipeline;

/// The destinations whose deliveries the caller may list; none: all, removed destinations included.
pub(super) fn visible_destinations(
    caller: &Caller,
    pipeline: &Pipeline,
) -> Option<Vec<DestinationId>> {
    caller.scope.limits()?;
    Some(pipeline.destinations.iter().map(|it| it.id).collect())
}

/// The sources whose events the caller may list; none: all, removed sources included.
pub(super) fn visible_sources(caller: &Caller, pipeline: &Pipeline) -> Option<Vec<SourceId>> {
    caller.scope.limits()?;
    Some(pipeline.sources.iter().map(|it| it.id).collect())
}
