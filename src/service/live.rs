//! Live feeds: accepted events, and the requests of inspectors. A subscription ends with the
//! subscriber's token or session.

use std::sync::Arc;
use std::time::Duration;

use super::event_view::EventView;
use super::filter::{self, Condition};
use super::inspectors::RequestView;
use super::{Refusal, Service};
use crate::domain::auth::Caller;
use crate::domain::clock::{Clock, Timestamp};
use crate::inspector::Inspected;
use crate::live::{EventFilter, LiveEvent, Told, Watch};

/// The keepalive interval, so that no proxy closes an idle stream.
const QUIET: Duration = Duration::from_secs(15);

/// One message of a live feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveLine<T> {
    /// An item.
    Thing(T),
    /// The subscriber lagged: it is disconnected after this many items were dropped. The last
    /// message.
    Missed(u64),
    /// A keepalive.
    Quiet,
    /// The token or session is no longer active. The last message.
    Ended,
}

/// A subscription to a live feed; dropping it unsubscribes.
pub struct LiveLines<T> {
    /// None once the stream has ended.
    source: Option<Box<dyn Source<T>>>,
    /// Whether the token or session is active; checked before each message.
    may_go_on: Box<dyn Fn() -> bool + Send + Sync>,
    clock: Arc<dyn Clock>,
    quiet_at: Timestamp,
}

impl<T> std::fmt::Debug for LiveLines<T> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("LiveLines").field("quiet_at", &self.quiet_at).finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
trait Source<T>: Send {
    /// The next message; none at the end. Cancel-safe.
    async fn next(&mut self) -> Option<LiveLine<T>>;
}

/// A subscription, and the view of each item.
struct Shown<S, F> {
    watch: Watch<S>,
    show: F,
}

#[async_trait::async_trait]
impl<S, T, F> Source<T> for Shown<S, F>
where
    S: Clone + Send + Sync,
    F: Fn(&S) -> Option<T> + Send,
{
    async fn next(&mut self) -> Option<LiveLine<T>> {
        loop {
            match self.watch.next().await? {
                Told::Thing(thing) => {
                    if let Some(shown) = (self.show)(&thing) {
                        return Some(LiveLine::Thing(shown));
                    }
                }
                Told::Missed(missed) => return Some(LiveLine::Missed(missed)),
            }
        }
    }
}

impl<T: 'static> LiveLines<T> {
    /// The same subscription, which ends when this condition no longer holds.
    #[must_use]
    pub fn only_while(mut self, holds: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        let before = self.may_go_on;
        self.may_go_on = Box::new(move || before() && holds());
        self
    }

    /// The next message; none at the end.
    pub async fn next(&mut self) -> Option<LiveLine<T>> {
        let source = self.source.as_mut()?;
        let line = tokio::select! {
            line = source.next() => line,
            () = self.clock.sleep_until(self.quiet_at) => Some(LiveLine::Quiet),
        };
        self.quiet_at = self.clock.now() + QUIET;
        if line.is_some() && !(self.may_go_on)() {
            self.source = None;
            return Some(LiveLine::Ended);
        }
        line
    }
}

impl Service {
    /// Subscribes to the accepted events that match (`source`, `type`, `text`), for as long as the
    /// caller's token is active.
    ///
    /// # Errors
    /// [`Refusal`], with each invalid condition, or when there are too many subscribers.
    pub async fn watch_events(
        &self,
        caller: &Caller,
        conditions: &[Condition],
    ) -> Result<LiveLines<EventView>, Refusal> {
        let pipeline = self.pipeline(caller).await?;
        let filter: EventFilter = filter::live_events(conditions, &pipeline)?;
        let watch = self.live.watch().ok_or_else(too_many)?;
        let scope = caller.scope.clone();
        Ok(self.lines(caller, watch, move |event: &LiveEvent| {
            let is_wanted = scope.shows(&event.source) && filter.wants(event);
            is_wanted.then(|| EventView::live(event))
        }))
    }

    /// Subscribes to the requests of one inspector, or of all, for as long as the caller's token is
    /// active.
    ///
    /// # Errors
    /// [`Refusal`] when inspectors are disabled, the name is invalid, or there are too many
    /// subscribers.
    pub fn watch_inspector(
        &self,
        caller: &Caller,
        name: Option<&str>,
    ) -> Result<LiveLines<RequestView>, Refusal> {
        caller.reaches_everything()?;
        let inspectors = self.inspectors()?;
        let name = name.map(super::inspectors::name).transpose()?;
        let watch = inspectors.watch().ok_or_else(too_many)?;
        Ok(self.lines(caller, watch, move |request: &Inspected| {
            let is_wanted = name.as_ref().is_none_or(|name| *name == request.inspector);
            is_wanted.then(|| RequestView::of(request))
        }))
    }

    fn lines<S, T, F>(&self, caller: &Caller, watch: Watch<S>, show: F) -> LiveLines<T>
    where
        S: Clone + Send + Sync + 'static,
        T: 'static,
        F: Fn(&S) -> Option<T> + Send + 'static,
    {
        let (authenticator, token_id) = (Arc::clone(&self.authenticator), caller.token_id);
        LiveLines {
            source: Some(Box::new(Shown { watch, show })),
            may_go_on: Box::new(move || authenticator.is_in_force(token_id)),
            clock: Arc::clone(&self.clock),
            quiet_at: self.clock.now() + QUIET,
        }
    }
}

fn too_many() -> Refusal {
    Refusal::Busy("too many live subscribers: try again later".to_owned())
}
