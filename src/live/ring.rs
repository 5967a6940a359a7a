//! The newest items of a feed, bounded in number and bytes. Without readers, it goes on for as long as a reader that
//! has just left could still return and miss nothing; then it forgets everything.

use std::collections::VecDeque;
use std::sync::Arc;

use super::position::Position;
use super::published::Published;

/// Items, and bytes of them.
pub(super) const MAX_ITEMS: usize = 4_096;
const MAX_BYTES: usize = 8 << 20;

/// What a feed holds of an item.
pub trait FeedItem: Send + Sync + 'static {
    /// About how many bytes of memory it takes.
    fn bytes(&self) -> usize;
}

/// How many items a reader missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// So many.
    Count(u64),
    /// Some, perhaps: the feed does not know.
    Unknown,
}

/// The ring.
#[derive(Debug)]
pub(super) struct Ring<T> {
    epoch: u64,
    recording: u64,
    items: VecDeque<Arc<Published<T>>>,
    bytes: usize,
    /// The number of the next item.
    next: u64,
    readers: usize,
    /// The number of the first item that no reader has seen.
    unread_from: u64,
}

/// What a reader finds at its place.
#[derive(Debug)]
pub(super) enum Found<T> {
    Item(Arc<Published<T>>),
    /// Its items are gone: so many.
    Gone(u64),
    /// It has read everything.
    Nothing,
}

impl<T: FeedItem> Ring<T> {
    pub(super) const fn new(epoch: u64) -> Self {
        let items = VecDeque::new();
        Self { epoch, recording: 0, items, bytes: 0, next: 1, readers: 0, unread_from: 1 }
    }

    /// Adds an item. False when there has been no reader for long: the ring has forgotten everything.
    pub(super) fn push(&mut self, item: T) -> bool {
        let position = self.at(self.next);
        self.next += 1;
        self.bytes += item.bytes();
        self.items.push_back(Arc::new(Published::new(position, item)));
        while self.items.len() > MAX_ITEMS || (self.bytes > MAX_BYTES && self.items.len() > 1) {
            let Some(oldest) = self.items.pop_front() else { break };
            self.bytes -= oldest.item.bytes();
        }
        let is_read = self.readers > 0 || self.first() <= self.unread_from;
        if !is_read {
            self.items.clear();
            self.bytes = 0;
            self.recording += 1;
        }
        is_read
    }

    /// A new reader: where it begins, and what it missed since `after`, the id of the last item that it got.
    pub(super) fn join(&mut self, after: Option<&str>) -> (u64, Option<Missed>) {
        self.readers += 1;
        let Some(after) = after else { return (self.next, None) };
        let Some(after) = Position::parse(after) else {
            return (self.next, Some(Missed::Unknown));
        };
        let is_known = (after.epoch, after.recording) == (self.epoch, self.recording)
            && after.number < self.next;
        if !is_known {
            // Whatever is here is newer.
            return (self.first(), Some(Missed::Unknown));
        }
        let wanted = after.number + 1;
        let gone = self.first().saturating_sub(wanted);
        (wanted + gone, (gone > 0).then_some(Missed::Count(gone)))
    }

    pub(super) fn leave(&mut self) {
        self.readers = self.readers.saturating_sub(1);
        self.unread_from = self.next;
    }

    pub(super) fn get(&self, number: u64) -> Found<T> {
        let first = self.first();
        match number.checked_sub(first) {
            None => Found::Gone(first - number),
            Some(index) => {
                let item = usize::try_from(index).ok().and_then(|index| self.items.get(index));
                item.map_or(Found::Nothing, |item| Found::Item(Arc::clone(item)))
            }
        }
    }

    /// The position of a reader that has read everything before `number`.
    pub(super) const fn before(&self, number: u64) -> Position {
        self.at(number.saturating_sub(1))
    }

    const fn at(&self, number: u64) -> Position {
        Position { epoch: self.epoch, recording: self.recording, number }
    }

    /// The number of the oldest item, or of the next one.
    fn first(&self) -> u64 {
        self.items.front().map_or(self.next, |item| item.position.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl FeedItem for usize {
        /// Small numbers take none.
        fn bytes(&self) -> usize {
            *self >> 16 << 16
        }
    }

    fn id(number: u64) -> String {
        Position { epoch: 9, recording: 0, number }.to_string()
    }

    #[test]
    fn a_returning_reader_gets_what_is_kept_and_is_told_what_is_not() {
        let mut ring = Ring::new(9);
        assert_eq!(ring.join(None), (1, None), "from now on");
        for _ in 0..MAX_ITEMS + 10 {
            assert!(ring.push(1));
        }
        let next = MAX_ITEMS as u64 + 11;
        let cases = [
            (None, (next, None)),
            (Some(id(next - 1)), (next, None)),
            (Some(id(next - 5)), (next - 4, None)),
            (Some(id(10)), (11, None)),
            (Some(id(4)), (11, Some(Missed::Count(6)))),
            (Some(id(0)), (11, Some(Missed::Count(10)))),
            (Some(id(next)), (11, Some(Missed::Unknown))),
            (Some("0000000000000008-0-12".to_owned()), (11, Some(Missed::Unknown))),
            (Some("0000000000000009-1-12".to_owned()), (11, Some(Missed::Unknown))),
            (Some("nonsense".to_owned()), (next, Some(Missed::Unknown))),
        ];
        for (after, expected) in cases {
            assert_eq!(ring.join(after.as_deref()), expected, "{after:?}");
        }
    }

    #[test]
    fn the_ring_is_bounded_in_bytes() {
        let mut ring = Ring::new(9);
        ring.join(None);
        for _ in 0..20 {
            ring.push(1 << 20);
        }
        assert_eq!(ring.items.len(), 8);
        assert!(matches!(ring.get(1), Found::Gone(12)));
        ring.push(64 << 20);
        assert_eq!(ring.items.len(), 1, "the newest is kept whatever its size");
    }

    #[test]
    fn recording_ends_once_a_reader_that_left_could_not_return_without_a_gap() {
        let mut ring = Ring::new(9);
        ring.join(None);
        ring.push(1);
        ring.leave();
        for _ in 0..MAX_ITEMS {
            assert!(ring.push(1));
        }
        assert_eq!(ring.join(Some(&id(1))), (2, None), "it missed nothing");
        ring.leave();
        let recorded = (0..2 * MAX_ITEMS).take_while(|_| ring.push(1)).count();
        assert_eq!(recorded, MAX_ITEMS);
        assert!(ring.items.is_empty());
        let after = id(ring.next - 1);
        assert_eq!(ring.join(Some(&after)).1, Some(Missed::Unknown), "what came is not known");
    }
}
