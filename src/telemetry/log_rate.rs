//! The rate of log lines that others cause: the first of a kind is logged in full, the others are counted, and a
//! line a minute says how many there were. So no client can fill the log, and it still shows what goes on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How often the numbers are logged.
const INTERVAL: Duration = Duration::from_secs(60);
/// What is logged of a text that came from outside, in characters.
const BRIEF_CHARS: usize = 100;

/// The kinds of lines since the last summary, with the number of those that were only counted.
#[derive(Debug, Default)]
pub struct LogRate(Mutex<BTreeMap<&'static str, u64>>);

impl LogRate {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a line is to be logged: the first of its kind since the last summary. The others are counted.
    #[must_use]
    pub fn is_first(&self, kind: &'static str) -> bool {
        let mut kinds = self.lock();
        if let Some(count) = kinds.get_mut(kind) {
            *count += 1;
            return false;
        }
        kinds.insert(kind, 0);
        true
    }

    /// Logs how many lines of each kind were only counted. Of each kind the next one is logged again.
    pub fn summarize(&self) {
        let kinds = std::mem::take(&mut *self.lock());
        for (kind, count) in kinds.into_iter().filter(|(_, count)| *count > 0) {
            tracing::warn!(kind, count, "further lines of this kind were not logged");
        }
    }

    /// Summarizes every minute, and at the end.
    pub async fn run(self: Arc<Self>, stopping: CancellationToken) {
        let mut ticks = tokio::time::interval(INTERVAL);
        // The first tick is immediate.
        ticks.tick().await;
        loop {
            tokio::select! {
                _ = ticks.tick() => self.summarize(),
                () = stopping.cancelled() => return self.summarize(),
            }
        }
    }
}

/// The beginning of a text that came from outside, in one line.
#[must_use]
pub fn brief(text: &str) -> String {
    let plain = text.chars().map(|one| if one.is_control() { ' ' } else { one });
    let mut brief: String = plain.take(BRIEF_CHARS).collect();
    if brief.len() < text.len() {
        brief.push('…');
    }
    brief
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_a_kind_is_logged_and_the_others_are_counted_until_the_summary() {
        let rate = LogRate::default();
        assert!(rate.is_first("one"));
        assert!(!rate.is_first("one") && !rate.is_first("one"));
        assert!(rate.is_first("another"));
        assert_eq!(*rate.lock(), [("another", 0), ("one", 2)].into());
        rate.summarize();
        assert!(rate.is_first("one"), "the next one is logged again");
    }

    #[test]
    fn what_a_peer_sent_is_logged_briefly() {
        assert_eq!(brief("/v1/track"), "/v1/track");
        assert_eq!(brief("a\r\nb\u{1b}[2J"), "a  b [2J");
        assert_eq!(brief(&"é".repeat(9_000)).chars().count(), BRIEF_CHARS + 1);
    }
}
