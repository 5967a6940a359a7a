//! Which sources' messages may be taken now: those of enabled sources that are within their limits. The others wait
//! in the inbox and delay no other source.

use std::collections::HashMap;
use std::time::Duration;

use crate::domain::id::SourceId;
use crate::domain::service_time::ServiceTime;
use crate::domain::source_limiter::LimitReached;

/// Messages of one look.
pub(super) const MOST_ROWS: u32 = 256;

/// Sources of one look: more take turns.
pub(super) const MOST_SOURCES: u32 = 64;

/// Sources that reached a limit, and until when they wait. At most as many as there are sources.
#[derive(Debug, Default)]
pub(super) struct LimitedSources(HashMap<SourceId, ServiceTime>);

impl LimitedSources {
    /// Whether a source waits for its limit.
    pub(super) fn waits(&mut self, source: SourceId, now: ServiceTime) -> bool {
        match self.0.get(&source) {
            Some(until) if now < *until => true,
            Some(_) => {
                self.0.remove(&source);
                false
            }
            None => false,
        }
    }

    /// A source reached a limit.
    pub(super) fn note(&mut self, source: SourceId, reached: LimitReached, now: ServiceTime) {
        let (LimitReached::Rate { retry_after_s, .. } | LimitReached::Quota { retry_after_s, .. }) =
            reached;
        // A quota may be raised meanwhile.
        let wait = Duration::from_secs(retry_after_s.min(10));
        self.0.insert(source, now + wait);
    }
}

/// Picks the sources of one look, in turns, and how many messages of each.
#[derive(Debug, Default)]
pub(super) struct Turns {
    next: usize,
}

impl Turns {
    pub(super) fn pick<T: Clone>(&mut self, ready: &[T]) -> (Vec<T>, u32) {
        let most = usize::try_from(MOST_SOURCES).unwrap_or(usize::MAX).min(ready.len());
        if most == 0 {
            return (Vec::new(), 0);
        }
        let first = self.next % ready.len();
        let picked = ready.iter().cycle().skip(first).take(most).cloned().collect();
        self.next = first + most;
        let each = MOST_ROWS / u32::try_from(most).unwrap_or(MOST_ROWS).max(1);
        (picked, each.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_take_turns_when_there_are_many() {
        let mut turns = Turns::default();
        let ready: Vec<u32> = (0..100).collect();
        let (first, each) = turns.pick(&ready);
        assert_eq!((first.first(), first.len(), each), (Some(&0), 64, 4));
        let (second, _) = turns.pick(&ready);
        assert_eq!((second.first(), second.last()), (Some(&64), Some(&27)));
        assert_eq!(turns.pick(&[7]), (vec![7], MOST_ROWS));
        assert_eq!(turns.pick::<u32>(&[]), (Vec::new(), 0));
    }
}
