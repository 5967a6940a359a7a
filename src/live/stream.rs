//! A stream of one subscriber: the items that its filter lets through, keep-alives in between, and the end of the
//! stream when its authorization is revoked.

use std::sync::Arc;
use std::time::Duration;

use super::feed::{Received, Subscription};
use super::limit::StreamPlace;
use super::position::Position;
use super::published::Published;
use super::ring::{FeedItem, Missed};
use crate::domain::clock::Clock;
use crate::domain::service_time::ServiceTime;

/// After so long without an item a keep-alive is sent, so that proxies do not close the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// One item of a stream.
#[derive(Clone, Debug)]
pub enum StreamItem<T> {
    /// A published item.
    Item(Arc<Published<T>>),
    /// Items were dropped before this subscriber got them.
    Missed(Missed),
    /// Nothing was published for a while.
    KeepAlive,
    /// The subscriber is no longer authorized. The stream ends.
    Unauthorized,
}

/// Which items a stream has.
pub enum Selection<T> {
    /// Every item of the feed.
    All,
    /// Those that it lets through.
    Matching(Box<dyn Fn(&T) -> bool + Send + Sync>),
}

impl<T> std::fmt::Debug for Selection<T> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::All => "All",
            Self::Matching(_) => "Matching",
        })
    }
}

impl<T> Selection<T> {
    fn admits(&self, item: &T) -> bool {
        match self {
            Self::All => true,
            Self::Matching(lets_through) => lets_through(item),
        }
    }

    /// Of items that were dropped it is not known how many would have been let through.
    const fn missed(&self, missed: Missed) -> Missed {
        match self {
            Self::All => missed,
            Self::Matching(_) => Missed::Unknown,
        }
    }
}

/// A filtered subscription with its authorization; dropping it unsubscribes.
pub struct LiveStream<T: FeedItem> {
    /// None once the stream has ended.
    subscription: Option<Subscription<T>>,
    selection: Selection<T>,
    /// Checked before items are delivered.
    is_authorized: Box<dyn Fn() -> bool + Send + Sync>,
    clock: Arc<dyn Clock>,
    keep_alive_at: ServiceTime,
    _place: StreamPlace,
}

impl<T: FeedItem> std::fmt::Debug for LiveStream<T> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("LiveStream")
            .field("selection", &self.selection)
            .field("keep_alive_at", &self.keep_alive_at)
            .finish_non_exhaustive()
    }
}

impl<T: FeedItem> LiveStream<T> {
    /// A stream of the items of a selection, for as long as `is_authorized` holds.
    pub fn new(
        (subscription, place): (Subscription<T>, StreamPlace),
        selection: Selection<T>,
        clock: Arc<dyn Clock>,
        is_authorized: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        let keep_alive_at = clock.service_now() + KEEP_ALIVE;
        Self {
            subscription: Some(subscription),
            selection,
            is_authorized: Box::new(is_authorized),
            clock,
            keep_alive_at,
            _place: place,
        }
    }

    /// Adds a condition to the stream's authorization.
    #[must_use]
    pub fn only_while(mut self, holds: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        let is_authorized = self.is_authorized;
        self.is_authorized = Box::new(move || is_authorized() && holds());
        self
    }

    /// The next item; `None` when the stream has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<StreamItem<T>> {
        let (subscription, selection) = (self.subscription.as_mut()?, &self.selection);
        let matching = async {
            loop {
                let received = subscription.next().await?;
                if let Some(item) = select(selection, received) {
                    return Some(item);
                }
            }
        };
        let item = tokio::select! {
            item = matching => item,
            () = self.clock.sleep_until(self.keep_alive_at) => Some(StreamItem::KeepAlive),
        };
        self.keep_alive_at = self.clock.service_now() + KEEP_ALIVE;
        if item.is_some() && !(self.is_authorized)() {
            self.subscription = None;
            return Some(StreamItem::Unauthorized);
        }
        item
    }

    /// The next item, if there is one already. To be called right after [`next`](Self::next), which checks the
    /// authorization.
    pub fn ready(&mut self) -> Option<StreamItem<T>> {
        let subscription = self.subscription.as_mut()?;
        loop {
            if let Some(item) = select(&self.selection, subscription.ready()?) {
                return Some(item);
            }
        }
    }

    /// Where it is; none when it has ended.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.subscription.as_ref().map(Subscription::position)
    }
}

fn select<T>(selection: &Selection<T>, received: Received<T>) -> Option<StreamItem<T>> {
    match received {
        Received::Item(item) => selection.admits(&item.item).then_some(StreamItem::Item(item)),
        Received::Missed(missed) => Some(StreamItem::Missed(selection.missed(missed))),
    }
}
