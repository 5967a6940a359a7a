//! A stream of one subscriber: the items that its filter lets through, keep-alives in between, and the
//! end of the stream when its authorization is revoked or it lags.

use std::sync::Arc;
use std::time::Duration;

use super::feed::{Received, Subscription};
use crate::domain::clock::Clock;
use crate::domain::service_time::ServiceTime;

/// After so long without an item a keep-alive is sent, so that proxies do not close the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// One item of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamItem<T> {
    /// A published item.
    Item(T),
    /// The subscriber lagged: this many items were dropped. The stream ends.
    Lagged(u64),
    /// Nothing was published for a while.
    KeepAlive,
    /// The subscriber is no longer authorized. The stream ends.
    Unauthorized,
}

/// A filtered subscription with its authorization; dropping it unsubscribes.
pub struct LiveStream<T> {
    /// None once the stream has ended.
    source: Option<Box<dyn Source<T>>>,
    /// Checked before each item is delivered.
    is_authorized: Box<dyn Fn() -> bool + Send + Sync>,
    clock: Arc<dyn Clock>,
    keep_alive_at: ServiceTime,
}

impl<T> std::fmt::Debug for LiveStream<T> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("LiveStream")
            .field("keep_alive_at", &self.keep_alive_at)
            .finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
trait Source<T>: Send {
    /// The next item; `None` when the subscription has ended. Cancel-safe.
    async fn next(&mut self) -> Option<StreamItem<T>>;
}

/// A subscription with its filter and view: `view` gives `None` for items that are filtered out.
struct Filtered<S, F> {
    subscription: Subscription<S>,
    view: F,
}

#[async_trait::async_trait]
impl<S, T, F> Source<T> for Filtered<S, F>
where
    S: Clone + Send + Sync,
    F: Fn(&S) -> Option<T> + Send,
{
    async fn next(&mut self) -> Option<StreamItem<T>> {
        loop {
            match self.subscription.next().await? {
                Received::Item(item) => {
                    if let Some(view) = (self.view)(&item) {
                        return Some(StreamItem::Item(view));
                    }
                }
                Received::Lagged(dropped) => return Some(StreamItem::Lagged(dropped)),
            }
        }
    }
}

impl<T: 'static> LiveStream<T> {
    /// A stream of what `view` makes of each item, for as long as `is_authorized` holds.
    pub fn new<S>(
        subscription: Subscription<S>,
        clock: Arc<dyn Clock>,
        is_authorized: impl Fn() -> bool + Send + Sync + 'static,
        view: impl Fn(&S) -> Option<T> + Send + 'static,
    ) -> Self
    where
        S: Clone + Send + Sync + 'static,
    {
        let keep_alive_at = clock.service_now() + KEEP_ALIVE;
        Self {
            source: Some(Box::new(Filtered { subscription, view })),
            is_authorized: Box::new(is_authorized),
            clock,
            keep_alive_at,
        }
    }

    /// Adds a condition to the stream's authorization.
    #[must_use]
    pub fn only_while(mut self, holds: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        let is_authorized = self.is_authorized;
        self.is_authorized = Box::new(move || is_authorized() && holds());
        self
    }

    /// The next item; `None` when the stream has ended.
    pub async fn next(&mut self) -> Option<StreamItem<T>> {
        let source = self.source.as_mut()?;
        let item = tokio::select! {
            item = source.next() => item,
            () = self.clock.sleep_until(self.keep_alive_at) => Some(StreamItem::KeepAlive),
        };
        self.keep_alive_at = self.clock.service_now() + KEEP_ALIVE;
        if item.is_some() && !(self.is_authorized)() {
            self.source = None;
            return Some(StreamItem::Unauthorized);
        }
        item
    }
}
