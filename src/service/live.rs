//! Authorized live streams: events as they are accepted, and requests as they reach the inspectors. A
//! stream ends when the caller's token is revoked or expires.

use std::sync::Arc;

use super::event_view::EventView;
use super::filter::{self, Condition};
use super::inspectors::RequestView;
use super::{Service, ServiceError};
use crate::domain::auth::Caller;
use crate::inspector::InspectedRequest;
use crate::live::{EventFilter, LiveEvent, LiveStream, Subscription};

impl Service {
    /// Subscribes to the accepted events that match (`source`, `type`, `text`), for as long as the
    /// caller's token is active.
    ///
    /// # Errors
    /// [`ServiceError`], with each invalid condition; or at the limit of subscribers.
    pub async fn watch_events(
        &self,
        caller: &Caller,
        conditions: &[Condition],
    ) -> Result<LiveStream<EventView>, ServiceError> {
        let pipeline = self.pipeline(caller).await?;
        let filter: EventFilter = filter::live_events(conditions, &pipeline)?;
        let subscription = self.live.subscribe().ok_or_else(too_many)?;
        let scope = caller.scope.clone();
        Ok(self.stream(caller, subscription, move |event: &LiveEvent| {
            let is_visible = scope.shows(&event.source) && filter.matches(event);
            is_visible.then(|| EventView::live(event))
        }))
    }

    /// The requests that reach one inspector, or any of them, from now on, for as long as the caller's
    /// token is in force.
    ///
    /// # Errors
    /// [`ServiceError`] when inspectors are disabled, the name is invalid, or at the limit of subscribers.
    pub fn watch_inspector(
        &self,
        caller: &Caller,
        name: Option<&str>,
    ) -> Result<LiveStream<RequestView>, ServiceError> {
        caller.reaches_everything()?;
        let inspectors = self.inspectors()?;
        let name = name.map(super::inspectors::name).transpose()?;
        let subscription = inspectors.subscribe().ok_or_else(too_many)?;
        Ok(self.stream(caller, subscription, move |request: &InspectedRequest| {
            let is_visible = name.as_ref().is_none_or(|name| *name == request.inspector);
            is_visible.then(|| RequestView::of(request))
        }))
    }

    fn stream<S, T>(
        &self,
        caller: &Caller,
        subscription: Subscription<S>,
        view: impl Fn(&S) -> Option<T> + Send + 'static,
    ) -> LiveStream<T>
    where
        S: Clone + Send + Sync + 'static,
        T: 'static,
    {
        let (authenticator, token_id) = (Arc::clone(&self.authenticator), caller.token_id);
        let is_authorized = move || authenticator.is_in_force(token_id);
        LiveStream::new(subscription, Arc::clone(&self.clock), is_authorized, view)
    }
}

fn too_many() -> ServiceError {
    ServiceError::Busy("too many live streams are open; try again when one has closed".to_owned())
}
