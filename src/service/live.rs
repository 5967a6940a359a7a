//! What can be watched live: events as they are accepted, and what arrives at the inspectors. A watch
//! ends with what let the watcher in; whoever shows it takes one line after the other.

use std::sync::Arc;
use std::time::Duration;

use super::events::EventView;
use super::filter::{self, Condition};
use super::inspectors::RequestView;
use super::{Refusal, Service};
use crate::domain::auth::Caller;
use crate::domain::clock::{Clock, Timestamp};
use crate::inspector::Inspected;
use crate::live::{EventFilter, LiveEvent, Told, Watch};

/// After so long without a line there is an empty one, so that nobody between takes the line for dead.
const QUIET: Duration = Duration::from_secs(15);

/// One line of what is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveLine<T> {
    /// Something that happened.
    Thing(T),
    /// It was read too slowly: so many things were not told. No more lines come.
    Missed(u64),
    /// Nothing happened for a while.
    Quiet,
    /// What let the watcher in is not in force any more. No more lines come.
    Ended,
}

/// What is watched, line by line; dropping it ends the watch.
pub struct LiveLines<T> {
    /// None once there is no more to come.
    source: Option<Box<dyn Source<T>>>,
    /// Whether what let the watcher in is in force; asked before each line.
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
    /// The next line; none when the watch has ended. Dropping the wait loses nothing.
    async fn next(&mut self) -> Option<LiveLine<T>>;
}

/// A watch, and what of it is shown how.
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
    /// The same, for as long as this holds as well.
    #[must_use]
    pub fn only_while(mut self, holds: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        let before = self.may_go_on;
        self.may_go_on = Box::new(move || before() && holds());
        self
    }

    /// The next line; none when the watch has ended.
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
    /// The events that meet the conditions (`source`, `type`, `text`), from now on, for as long as
    /// the caller's token is in force.
    ///
    /// # Errors
    /// [`Refusal`], with each condition that is not right; too many who watch.
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

    /// What arrives at an inspector from now on, or at any of them, for as long as the caller's token
    /// is in force.
    ///
    /// # Errors
    /// [`Refusal`] when there are no inspectors, the name is none, too many watch.
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
    Refusal::Busy("too many watch already; try again when one has left".to_owned())
}
