//! A feed: what one side tells, any number of watchers hear, within bounds on both.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender};
use tokio_util::sync::CancellationToken;

/// Things that one watcher may be behind before it is let go.
const BEHIND: usize = 256;
/// Who may watch one feed at once.
const WATCHERS: usize = 64;

/// Tells things to its watchers; cheap to clone.
#[derive(Clone, Debug)]
pub struct Feed<T> {
    sender: Sender<Arc<T>>,
    watchers: Arc<AtomicUsize>,
    /// Ends every watch.
    stopping: CancellationToken,
}

/// What a watcher hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told<T> {
    /// Something that happened.
    Thing(Arc<T>),
    /// It read too slowly: so many things were not told, and the watch has ended.
    Missed(u64),
}

/// One who watches; dropping it ends the watch.
#[derive(Debug)]
pub struct Watch<T> {
    receiver: Option<Receiver<Arc<T>>>,
    stopping: CancellationToken,
    watchers: Arc<AtomicUsize>,
}

impl<T: Clone> Feed<T> {
    /// A feed that nobody watches yet; every watch ends when `stopping` is cancelled.
    #[must_use]
    pub fn new(stopping: CancellationToken) -> Self {
        Self { sender: Sender::new(BEHIND), watchers: Arc::default(), stopping }
    }

    /// Whether telling reaches anybody.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.watchers.load(Ordering::Relaxed) > 0
    }

    /// Tells something. Never waits.
    pub fn tell(&self, thing: T) {
        // The last watcher may have left meanwhile.
        let _ = self.sender.send(Arc::new(thing));
    }

    /// Watches from now on; none when too many do already.
    #[must_use]
    pub fn watch(&self) -> Option<Watch<T>> {
        let one_more = |count: usize| (count < WATCHERS).then_some(count + 1);
        self.watchers.fetch_update(Ordering::AcqRel, Ordering::Relaxed, one_more).ok()?;
        Some(Watch {
            receiver: Some(self.sender.subscribe()),
            stopping: self.stopping.clone(),
            watchers: Arc::clone(&self.watchers),
        })
    }
}

impl<T: Clone> Watch<T> {
    /// The next thing; none when the watch has ended.
    pub async fn next(&mut self) -> Option<Told<T>> {
        let receiver = self.receiver.as_mut()?;
        let heard = tokio::select! {
            heard = receiver.recv() => heard,
            () = self.stopping.cancelled() => return None,
        };
        match heard {
            Ok(thing) => Some(Told::Thing(thing)),
            Err(RecvError::Lagged(missed)) => {
                self.receiver = None;
                Some(Told::Missed(missed))
            }
            Err(RecvError::Closed) => None,
        }
    }
}

impl<T> Drop for Watch<T> {
    fn drop(&mut self) {
        self.watchers.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_watcher_hears_what_is_told_from_then_on() {
        let feed = Feed::new(CancellationToken::new());
        assert!(!feed.is_watched());
        feed.tell(1);
        let mut watch = feed.watch().unwrap();
        assert!(feed.is_watched());
        feed.tell(2);
        assert_eq!(watch.next().await, Some(Told::Thing(Arc::new(2))));
        drop(watch);
        assert!(!feed.is_watched());
    }

    #[tokio::test]
    async fn who_reads_too_slowly_is_told_so_and_let_go() {
        let feed = Feed::new(CancellationToken::new());
        let (mut slow, mut quick) = (feed.watch().unwrap(), feed.watch().unwrap());
        for number in 0..BEHIND + 3 {
            feed.tell(number);
            assert_eq!(quick.next().await, Some(Told::Thing(Arc::new(number))));
        }
        assert_eq!(slow.next().await, Some(Told::Missed(3)));
        assert_eq!(slow.next().await, None);
        feed.tell(0);
        assert_eq!(quick.next().await, Some(Told::Thing(Arc::new(0))));
    }

    #[tokio::test]
    async fn watchers_are_bounded_and_a_stop_ends_them() {
        let stopping = CancellationToken::new();
        let feed = Feed::<u8>::new(stopping.clone());
        let mut watches: Vec<_> = (0..WATCHERS).map(|_| feed.watch().unwrap()).collect();
        assert!(feed.watch().is_none());
        watches.pop();
        let mut last = feed.watch().unwrap();
        stopping.cancel();
        assert_eq!(last.next().await, None);
    }
}
