//! A feed: a bounded broadcast channel with a limited number of subscribers. Publishing never waits;
//! lagging subscribers are disconnected.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender};
use tokio_util::sync::CancellationToken;

/// Items buffered for the slowest subscriber; beyond them it is disconnected.
const BUFFERED_ITEMS: usize = 256;
/// Subscribers of one feed at once.
const MAX_SUBSCRIBERS: usize = 64;

/// The publishing end; cheap to clone.
#[derive(Clone, Debug)]
pub struct Feed<T> {
    sender: Sender<Arc<T>>,
    subscribers: Arc<AtomicUsize>,
    /// Ends every subscription.
    stopping: CancellationToken,
}

/// What a subscription receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received<T> {
    /// A published item.
    Item(Arc<T>),
    /// The subscriber lagged: this many items were dropped, and the subscription has ended.
    Lagged(u64),
}

/// One subscriber's end; dropping it unsubscribes.
#[derive(Debug)]
pub struct Subscription<T> {
    receiver: Option<Receiver<Arc<T>>>,
    stopping: CancellationToken,
    subscribers: Arc<AtomicUsize>,
}

impl<T: Clone> Feed<T> {
    /// A feed without subscribers; every subscription ends when `stopping` is cancelled.
    #[must_use]
    pub fn new(stopping: CancellationToken) -> Self {
        Self { sender: Sender::new(BUFFERED_ITEMS), subscribers: Arc::default(), stopping }
    }

    /// Whether there are subscribers.
    #[must_use]
    pub fn has_subscribers(&self) -> bool {
        self.subscribers.load(Ordering::Relaxed) > 0
    }

    /// Sends an item to all subscribers. Never waits.
    pub fn publish(&self, item: T) {
        // An error means that the last subscriber has left: the item is dropped.
        let _ = self.sender.send(Arc::new(item));
    }

    /// Subscribes to items published from now on; `None` at the limit of subscribers.
    #[must_use]
    pub fn subscribe(&self) -> Option<Subscription<T>> {
        let one_more = |count: usize| (count < MAX_SUBSCRIBERS).then_some(count + 1);
        self.subscribers.fetch_update(Ordering::AcqRel, Ordering::Relaxed, one_more).ok()?;
        Some(Subscription {
            receiver: Some(self.sender.subscribe()),
            stopping: self.stopping.clone(),
            subscribers: Arc::clone(&self.subscribers),
        })
    }
}

impl<T: Clone> Subscription<T> {
    /// The next item; `None` when the subscription has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<Received<T>> {
        let receiver = self.receiver.as_mut()?;
        let received = tokio::select! {
            received = receiver.recv() => received,
            () = self.stopping.cancelled() => return None,
        };
        match received {
            Ok(item) => Some(Received::Item(item)),
            Err(RecvError::Lagged(dropped)) => {
                self.receiver = None;
                Some(Received::Lagged(dropped))
            }
            Err(RecvError::Closed) => None,
        }
    }
}

impl<T> Drop for Subscription<T> {
    fn drop(&mut self) {
        self.subscribers.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_subscriber_receives_what_is_published_after_it_subscribed() {
        let feed = Feed::new(CancellationToken::new());
        assert!(!feed.has_subscribers());
        feed.publish(1);
        let mut subscription = feed.subscribe().unwrap();
        assert!(feed.has_subscribers());
        feed.publish(2);
        assert_eq!(subscription.next().await, Some(Received::Item(Arc::new(2))));
        drop(subscription);
        assert!(!feed.has_subscribers());
    }

    #[tokio::test]
    async fn lagging_subscribers_are_disconnected() {
        let feed = Feed::new(CancellationToken::new());
        let (mut slow, mut quick) = (feed.subscribe().unwrap(), feed.subscribe().unwrap());
        for number in 0..BUFFERED_ITEMS + 3 {
            feed.publish(number);
            assert_eq!(quick.next().await, Some(Received::Item(Arc::new(number))));
        }
        assert_eq!(slow.next().await, Some(Received::Lagged(3)));
        assert_eq!(slow.next().await, None);
        feed.publish(0);
        assert_eq!(quick.next().await, Some(Received::Item(Arc::new(0))));
    }

    #[tokio::test]
    async fn subscribers_are_bounded_and_shutdown_ends_their_subscriptions() {
        let stopping = CancellationToken::new();
        let feed = Feed::<u8>::new(stopping.clone());
        let mut subscriptions: Vec<_> =
            (0..MAX_SUBSCRIBERS).map(|_| feed.subscribe().unwrap()).collect();
        assert!(feed.subscribe().is_none());
        subscriptions.pop();
        let mut last = feed.subscribe().unwrap();
        stopping.cancel();
        assert_eq!(last.next().await, None);
    }
}
