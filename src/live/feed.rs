//! A feed: the newest items in a ring, and subscribers that read it at their own pace. Publishing never waits; a
//! subscriber that falls behind the ring receives the number of items that it missed and goes on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::position::Position;
use super::published::Published;
use super::ring::{FeedItem, Found, Missed, Ring};

/// The publishing end; cheap to clone.
#[derive(Debug)]
pub struct Feed<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    ring: Mutex<Ring<T>>,
    /// Whether items are recorded: there are readers, or the last one has just left.
    is_recording: AtomicBool,
    published: Notify,
    /// Ends every subscription.
    stopping: CancellationToken,
}

/// What a subscription receives.
#[derive(Clone, Debug)]
pub enum Received<T> {
    /// A published item.
    Item(Arc<Published<T>>),
    /// Items were dropped before the subscriber read them.
    Missed(Missed),
}

/// One subscriber's end; dropping it unsubscribes.
#[derive(Debug)]
pub struct Subscription<T: FeedItem> {
    feed: Feed<T>,
    /// The number of the next item to read.
    next: u64,
    /// Missed before it subscribed.
    missed: Option<Missed>,
}

impl<T> Clone for Feed<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Ring<T>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: FeedItem> Feed<T> {
    /// A feed without subscribers; every subscription ends when `stopping` is cancelled. `epoch` tells its ids from
    /// those of other processes.
    #[must_use]
    pub fn new(epoch: u64, stopping: CancellationToken) -> Self {
        Self(Arc::new(Shared {
            ring: Mutex::new(Ring::new(epoch)),
            is_recording: AtomicBool::new(false),
            published: Notify::new(),
            stopping,
        }))
    }

    /// Whether items should be published. Costs one atomic load.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.0.is_recording.load(Ordering::Relaxed)
    }

    /// Sends items to all subscribers. Never waits.
    pub fn publish(&self, items: impl IntoIterator<Item = T>) {
        if !self.is_recording() {
            return;
        }
        let mut ring = self.0.lock();
        for item in items {
            if !ring.push(item) {
                self.0.is_recording.store(false, Ordering::Relaxed);
                return;
            }
        }
        drop(ring);
        self.0.published.notify_waiters();
    }

    /// Subscribes to the items after the one with the id `after`; without an id, to those published from now on.
    #[must_use]
    pub fn subscribe(&self, after: Option<&str>) -> Subscription<T> {
        let mut ring = self.0.lock();
        let (next, missed) = ring.join(after);
        self.0.is_recording.store(true, Ordering::Relaxed);
        drop(ring);
        Subscription { feed: self.clone(), next, missed }
    }
}

impl<T: FeedItem> Subscription<T> {
    /// The next item; `None` when the subscription has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<Received<T>> {
        let feed = self.feed.clone();
        loop {
            // Created before the ring is read: no item in between is overlooked.
            let published = feed.0.published.notified();
            if feed.0.stopping.is_cancelled() {
                return None;
            }
            if let Some(received) = self.ready() {
                return Some(received);
            }
            tokio::select! {
                () = published => {}
                () = feed.0.stopping.cancelled() => return None,
            }
        }
    }

    /// The next item, if there is one already.
    pub fn ready(&mut self) -> Option<Received<T>> {
        if let Some(missed) = self.missed.take() {
            return Some(Received::Missed(missed));
        }
        let found = self.feed.0.lock().get(self.next);
        match found {
            Found::Item(item) => {
                self.next += 1;
                Some(Received::Item(item))
            }
            Found::Gone(count) => {
                self.next += count;
                Some(Received::Missed(Missed::Count(count)))
            }
            Found::Nothing => None,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn position(&self) -> Position {
        self.feed.0.lock().before(self.next)
    }
}

impl<T: FeedItem> Drop for Subscription<T> {
    fn drop(&mut self) {
        self.feed.0.lock().leave();
    }
}

#[cfg(test)]
mod tests {
    use super::super::ring::MAX_ITEMS;
    use super::*;

    async fn next(subscription: &mut Subscription<usize>) -> Result<usize, Option<Missed>> {
        match subscription.next().await {
            Some(Received::Item(item)) => Ok(item.item),
            Some(Received::Missed(missed)) => Err(Some(missed)),
            None => Err(None),
        }
    }

    #[tokio::test]
    async fn a_subscriber_receives_what_is_published_after_it_subscribed() {
        let feed = Feed::new(1, CancellationToken::new());
        assert!(!feed.is_recording());
        feed.publish([1]);
        let mut subscription = feed.subscribe(None);
        assert!(feed.is_recording());
        {
            let waiting = next(&mut subscription);
            tokio::pin!(waiting);
            assert!(futures_util::poll!(&mut waiting).is_pending());
            feed.publish([2, 3]);
            assert_eq!(waiting.await, Ok(2));
        }
        assert_eq!(next(&mut subscription).await, Ok(3));
    }

    #[tokio::test]
    async fn a_lagging_subscriber_learns_what_it_missed_and_goes_on() {
        let feed = Feed::new(1, CancellationToken::new());
        let (mut slow, mut quick) = (feed.subscribe(None), feed.subscribe(None));
        for number in 0..MAX_ITEMS + 3 {
            feed.publish([number]);
            assert_eq!(next(&mut quick).await, Ok(number));
        }
        assert_eq!(next(&mut slow).await, Err(Some(Missed::Count(3))));
        assert_eq!(next(&mut slow).await, Ok(3));
    }

    #[tokio::test]
    async fn a_subscriber_that_returns_with_its_last_id_misses_nothing() {
        let feed = Feed::new(1, CancellationToken::new());
        let mut subscription = feed.subscribe(None);
        feed.publish([1, 2]);
        assert_eq!(next(&mut subscription).await, Ok(1));
        let id = subscription.position().to_string();
        drop(subscription);
        feed.publish([3]);
        let mut back = feed.subscribe(Some(&id));
        assert_eq!((next(&mut back).await, next(&mut back).await), (Ok(2), Ok(3)));
        assert!(back.ready().is_none());
    }

    #[tokio::test]
    async fn after_a_pause_of_the_recording_a_returning_subscriber_learns_it() {
        let feed = Feed::new(1, CancellationToken::new());
        let id = feed.subscribe(None).position().to_string();
        for number in 0..=MAX_ITEMS {
            feed.publish([number]);
        }
        assert!(!feed.is_recording(), "no reader could return without a gap");
        let mut back = feed.subscribe(Some(&id));
        assert_eq!(next(&mut back).await, Err(Some(Missed::Unknown)));
        feed.publish([7]);
        assert_eq!(next(&mut back).await, Ok(7));
    }

    #[tokio::test]
    async fn shutdown_ends_subscriptions() {
        let stopping = CancellationToken::new();
        let feed = Feed::new(1, stopping.clone());
        let mut subscription = feed.subscribe(None);
        let waiting = next(&mut subscription);
        tokio::pin!(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        stopping.cancel();
        assert_eq!(waiting.await, Err(None));
    }
}
