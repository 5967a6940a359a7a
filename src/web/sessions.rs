//! Browser sessions, in memory: a random cookie, stored as its digest, stands for a token. A session
//! ends with its token, on idle timeout, at its maximum age, on sign-out and with the process.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::id::TokenId;
use crate::domain::service_time::ServiceTime;
use crate::settings::secrets::digest;

/// A session expires after this time without a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(8 * 60 * 60);
/// A session expires at this age.
const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Sessions at most; the least recently used one is evicted.
const MAX_SESSIONS: usize = 10_000;

#[derive(Clone, Copy, Debug)]
struct Session {
    token_id: TokenId,
    opened_at: ServiceTime,
    used_at: ServiceTime,
}

impl Session {
    fn has_expired(&self, now: ServiceTime) -> bool {
        now.since(self.used_at) >= IDLE_TIMEOUT || now.since(self.opened_at) >= MAX_AGE
    }
}

/// The sessions of this process, keyed by the digest of their cookie.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    open: Mutex<HashMap<[u8; 32], Session>>,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn open(&self, cookie: &str, token_id: TokenId, now: ServiceTime) {
        let mut open = self.lock();
        if open.len() >= MAX_SESSIONS {
            open.retain(|_, session| !session.has_expired(now));
        }
        if open.len() >= MAX_SESSIONS {
            let oldest = open.iter().min_by_key(|(_, session)| session.used_at);
            if let Some(key) = oldest.map(|(key, _)| *key) {
                open.remove(&key);
            }
        }
        open.insert(digest(cookie), Session { token_id, opened_at: now, used_at: now });
    }

    /// The token of an open session; resets its idle timeout.
    pub(super) fn touch(&self, cookie: &str, now: ServiceTime) -> Option<TokenId> {
        let mut open = self.lock();
        let key = digest(cookie);
        let session = open.get_mut(&key)?;
        if session.has_expired(now) {
            open.remove(&key);
            return None;
        }
        session.used_at = session.used_at.max(now);
        Some(session.token_id)
    }

    /// Whether the session with this digest is open; does not reset its idle timeout.
    pub(super) fn is_open(&self, key: &[u8; 32], now: ServiceTime) -> bool {
        self.lock().get(key).is_some_and(|session| !session.has_expired(now))
    }

    pub(super) fn close(&self, cookie: &str) {
        self.lock().remove(&digest(cookie));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: ServiceTime = ServiceTime::from_micros(1_800_000_000_000_000);

    #[test]
    fn a_session_expires_when_idle_and_at_its_maximum_age() {
        let sessions = Sessions::default();
        sessions.open("a", TokenId(1), START);
        assert_eq!(sessions.touch("b", START), None);
        let almost = START + (IDLE_TIMEOUT - Duration::from_secs(1));
        assert_eq!(sessions.touch("a", almost), Some(TokenId(1)));
        assert!(sessions.is_open(&digest("a"), almost));
        assert!(!sessions.is_open(&digest("a"), almost + IDLE_TIMEOUT));
        assert_eq!(sessions.touch("a", almost + IDLE_TIMEOUT), None);
        sessions.open("c", TokenId(2), START);
        let mut now = START;
        while now.since(START) < MAX_AGE {
            assert_eq!(sessions.touch("c", now), Some(TokenId(2)));
            now = now + Duration::from_secs(3_600);
        }
        assert_eq!(sessions.touch("c", now), None);
    }

    #[test]
    fn sessions_are_bounded_and_the_least_recently_used_is_evicted() {
        let sessions = Sessions::default();
        for number in 0..=MAX_SESSIONS {
            let now = START + Duration::from_millis(u64::try_from(number).unwrap());
            sessions.open(&number.to_string(), TokenId(1), now);
        }
        assert_eq!(sessions.lock().len(), MAX_SESSIONS);
        assert_eq!(sessions.touch("0", START), None);
        assert!(sessions.touch("1", START).is_some());
    }
}
