//! Scripts: which status a receiver answers to the first, second, … arrival of a delivery, so that
//! failures and retries can be rehearsed.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use http::StatusCode;

/// A script may not be longer than this.
const LENGTH_LIMIT: usize = 100;
/// Deliveries counted in one generation of a receiver that stands alone.
const GENERATION: usize = 50_000;
/// What is kept of an id: more than any of ours has, and little enough of anybody's.
const ID_BYTES: usize = 128;

/// Statuses in the order they are answered; the last one goes on for ever. By default 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script(Vec<StatusCode>);

/// Why a text is not a script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// Something that is not a final HTTP status.
    #[error("{0:?} is not an answer: give statuses from 200 to 599 with commas, as in 503,503,200")]
    Status(String),
    /// Too long.
    #[error("{0} answers are too many: at most 100")]
    Length(usize),
}

impl Script {
    /// The statuses as [`FromStr`] reads them.
    #[must_use]
    pub fn to_text(&self) -> String {
        let statuses: Vec<_> = self.0.iter().map(|it| it.as_u16().to_string()).collect();
        statuses.join(",")
    }

    /// What the `tried`th arrival is answered, counted from 1.
    #[must_use]
    pub fn answer(&self, tried: u32) -> StatusCode {
        let at = usize::try_from(tried.saturating_sub(1)).unwrap_or(usize::MAX);
        self.0.get(at).or(self.0.last()).copied().unwrap_or(StatusCode::OK)
    }
}

impl Default for Script {
    fn default() -> Self {
        Self(vec![StatusCode::OK])
    }
}

impl FromStr for Script {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Self, ScriptError> {
        let words: Vec<&str> = text.split(',').map(str::trim).collect();
        if words.len() > LENGTH_LIMIT {
            return Err(ScriptError::Length(words.len()));
        }
        let statuses = words.into_iter().map(|word| {
            word.parse::<u16>()
                .ok()
                .filter(|status| (200..600).contains(status))
                .and_then(|status| StatusCode::from_u16(status).ok())
                .ok_or_else(|| ScriptError::Status(word.to_owned()))
        });
        statuses.collect::<Result<_, _>>().map(Self)
    }
}

/// Counts arrivals by path and `webhook-id`. Old ones are forgotten, so that a receiver left
/// running does not grow.
#[derive(Debug)]
pub(super) struct Tries {
    generations: Mutex<[HashMap<(String, String), u32>; 2]>,
    generation: usize,
}

impl Default for Tries {
    fn default() -> Self {
        Self::of(GENERATION)
    }
}

impl Tries {
    /// Counts so many deliveries in one generation; two generations are kept.
    pub(super) fn of(generation: usize) -> Self {
        Self { generations: Mutex::default(), generation }
    }

    /// Counts this arrival and says which it is, from 1.
    pub(super) fn count(&self, path: &str, webhook_id: &str) -> u32 {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let [young, old] = &mut *generations;
        if young.len() >= self.generation {
            *old = std::mem::take(young);
        }
        let id = webhook_id.get(..ID_BYTES).unwrap_or(webhook_id);
        let key = (path.to_owned(), id.to_owned());
        let before = old.remove(&key).unwrap_or(0);
        let count = young.entry(key).or_insert(before);
        *count = count.saturating_add(1);
        *count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answer_goes_on() {
        let script: Script = "503, 429,204".parse().expect("a script");
        let answers: Vec<u16> = (1..=5).map(|tried| script.answer(tried).as_u16()).collect();
        assert_eq!(answers, [503, 429, 204, 204, 204]);
        assert_eq!(Script::default().answer(7), StatusCode::OK);
        assert_eq!(script.to_text().parse(), Ok(script));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for text in ["", "ok", "503,,200", "100", "600", "99999"] {
            assert!(matches!(text.parse::<Script>(), Err(ScriptError::Status(_))), "{text}");
        }
        let long = vec!["200"; 101].join(",");
        assert_eq!(long.parse::<Script>(), Err(ScriptError::Length(101)));
    }

    #[test]
    fn deliveries_are_counted_apart_and_old_ones_are_forgotten() {
        let tries = Tries::default();
        assert_eq!([tries.count("/a", "1"), tries.count("/a", "1")], [1, 2]);
        assert_eq!([tries.count("/b", "1"), tries.count("/a", "2")], [1, 1]);
        for other in 0..GENERATION {
            tries.count("/c", &other.to_string());
        }
        assert_eq!(tries.count("/a", "1"), 3, "one generation back it is still known");
        for other in 0..3 * GENERATION {
            tries.count("/d", &other.to_string());
        }
        assert_eq!(tries.count("/a", "1"), 1);
    }
}
