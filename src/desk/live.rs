//! What can be watched live: events as they are accepted, and what arrives at the inspectors. Whoever
//! shows it takes one line after the other.

use std::sync::Arc;
use std::time::Duration;

use super::filter::{self, Condition};
use super::inspectors::RequestView;
use super::{Desk, Refusal};
use crate::clock::{Clock, Timestamp};
use crate::domain::access::Caller;
use crate::live::{EventFilter, LiveEvent, Told, Watch};

/// After so long without a line there is an empty one, so that nobody between takes the line for dead.
const QUIET: Duration = Duration::from_secs(15);

/// One line of what is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveLine {
    /// Something that happened, as JSON in one line.
    Thing(String),
    /// It was read too slowly: so many things were not told. No more lines come.
    Missed(u64),
    /// Nothing happened for a while.
    Quiet,
}

/// What is watched, line by line; dropping it ends the watch.
pub struct LiveLines {
    source: Box<dyn Source>,
    clock: Arc<dyn Clock>,
    quiet_at: Timestamp,
}

impl std::fmt::Debug for LiveLines {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("LiveLines").field("quiet_at", &self.quiet_at).finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
trait Source: Send {
    /// The next line; none when the watch has ended. Dropping the wait loses nothing.
    async fn next(&mut self) -> Option<LiveLine>;
}

/// A watch, and what of it is shown how.
struct Shown<T, F> {
    watch: Watch<T>,
    show: F,
}

#[async_trait::async_trait]
impl<T, F> Source for Shown<T, F>
where
    T: Clone + Send + Sync,
    F: Fn(&T) -> Option<String> + Send,
{
    async fn next(&mut self) -> Option<LiveLine> {
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

impl LiveLines {
    /// The next line; none when the watch has ended.
    pub async fn next(&mut self) -> Option<LiveLine> {
        let line = tokio::select! {
            line = self.source.next() => line,
            () = self.clock.sleep_until(self.quiet_at) => Some(LiveLine::Quiet),
        };
        self.quiet_at = self.clock.now() + QUIET;
        line
    }
}

impl Desk {
    /// The events that meet the conditions (`source`, `type`, `text`), from now on.
    ///
    /// # Errors
    /// [`Refusal`], with each condition that is not right; too many who watch.
    pub async fn watch_events(
        &self,
        caller: &Caller,
        conditions: &[Condition],
    ) -> Result<LiveLines, Refusal> {
        let pipeline = self.pipeline(caller).await?;
        let filter: EventFilter = filter::live_events(conditions, &pipeline)?;
        let watch = self.live.watch().ok_or_else(too_many)?;
        let scope = caller.scope.clone();
        Ok(self.lines(watch, move |event: &LiveEvent| {
            let is_wanted = scope.shows(&event.source) && filter.wants(event);
            is_wanted.then(|| event.to_json())
        }))
    }

    /// What arrives at an inspector from now on, or at any of them.
    ///
    /// # Errors
    /// [`Refusal`] when there are no inspectors, the name is none, too many watch.
    pub fn watch_inspector(
        &self,
        caller: &Caller,
        name: Option<&str>,
    ) -> Result<LiveLines, Refusal> {
        caller.reaches_everything()?;
        let inspectors = self.inspectors()?;
        let name = name.map(super::inspectors::name).transpose()?;
        let watch = inspectors.watch().ok_or_else(too_many)?;
        Ok(self.lines(watch, move |request: &crate::receiver::Inspected| {
            let is_wanted = name.as_ref().is_none_or(|name| *name == request.inspector);
            is_wanted.then(|| serde_json::to_string(&RequestView::of(request)).unwrap_or_default())
        }))
    }

    fn lines<T, F>(&self, watch: Watch<T>, show: F) -> LiveLines
    where
        T: Clone + Send + Sync + 'static,
        F: Fn(&T) -> Option<String> + Send + 'static,
    {
        LiveLines {
            source: Box::new(Shown { watch, show }),
            clock: Arc::clone(&self.clock),
            quiet_at: self.clock.now() + QUIET,
        }
    }
}

fn too_many() -> Refusal {
    Refusal::Busy("too many watch already; try again when one has left".to_owned())
}
