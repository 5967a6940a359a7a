//! Authorized live streams: events as they are accepted, and requests as they reach the inspectors. A
//! stream ends when the caller's token is revoked or expires.

use std::sync::Arc;

use super::filter::{self, Condition};
use super::{Service, ServiceError};
use crate::domain::auth::{Caller, Scope};
use crate::inspector::InspectedRequest;
use crate::live::{
    EventFilter, FeedItem, LiveEvent, LiveStream, Selection, SessionKey, StreamPlace, Subscription,
    Viewer,
};

/// Who watches, and from where on.
#[derive(Clone, Copy, Debug)]
pub struct Watch<'a> {
    /// The caller.
    pub caller: &'a Caller,
    /// The browser session, if it is one's.
    pub session: Option<SessionKey>,
    /// The id of the last item that a returning client got.
    pub after: Option<&'a str>,
}

impl Watch<'_> {
    fn viewer(&self) -> Viewer {
        Viewer { token_id: self.caller.token_id, session: self.session }
    }
}

impl Service {
    /// Subscribes to the accepted events that match (`source`, `type`, `text`), for as long as the
    /// caller's token is active.
    ///
    /// # Errors
    /// [`ServiceError`], with each invalid condition; or at the limit of subscribers.
    pub async fn watch_events(
        &self,
        watch: Watch<'_>,
        conditions: &[Condition],
    ) -> Result<LiveStream<LiveEvent>, ServiceError> {
        let pipeline = self.pipeline(watch.caller).await?;
        let filter: EventFilter = filter::live_events(conditions, &pipeline)?;
        let place = self.streams.open(watch.viewer())?;
        let scope = watch.caller.scope.clone();
        let selection = if filter.is_empty() && matches!(scope, Scope::Everything) {
            Selection::All
        } else {
            Selection::Matching(Box::new(move |event: &LiveEvent| {
                scope.shows(&event.source) && filter.matches(event)
            }))
        };
        Ok(self.stream(watch.caller, (self.live.subscribe(watch.after), place), selection))
    }

    /// The requests that reach one inspector, or any of them, from now on, for as long as the caller's
    /// token is in force.
    ///
    /// # Errors
    /// [`ServiceError`] when inspectors are disabled, the name is invalid, or at the limit of subscribers.
    pub fn watch_inspector(
        &self,
        watch: Watch<'_>,
        name: Option<&str>,
    ) -> Result<LiveStream<InspectedRequest>, ServiceError> {
        watch.caller.reaches_everything()?;
        let inspectors = self.inspectors()?;
        let name = name.map(super::inspectors::name).transpose()?;
        let place = self.streams.open(watch.viewer())?;
        let selection = name.map_or(Selection::All, |name| {
            Selection::Matching(Box::new(move |request: &InspectedRequest| {
                request.inspector == name
            }))
        });
        Ok(self.stream(watch.caller, (inspectors.subscribe(watch.after), place), selection))
    }

    fn stream<T: FeedItem>(
        &self,
        caller: &Caller,
        subscribed: (Subscription<T>, StreamPlace),
        selection: Selection<T>,
    ) -> LiveStream<T> {
        let (authenticator, token_id) = (Arc::clone(&self.authenticator), caller.token_id);
        let is_authorized = move || authenticator.is_in_force(token_id);
        LiveStream::new(subscribed, selection, Arc::clone(&self.clock), is_authorized)
    }
}
