//! The limit on live streams: in all, of one token and of one browser session, over all feeds, so that no viewer
//! takes the streams of others.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::id::TokenId;

/// Streams of one token, which may be shared by a team.
pub const MAX_OF_TOKEN: u32 = 60;
/// Streams of one browser session: tabs.
pub const MAX_OF_SESSION: u32 = 12;
/// Streams in all.
pub const MAX_STREAMS: u32 = 128;

/// A browser session, by the digest of its cookie.
pub type SessionKey = [u8; 32];

/// Who opens a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// The token.
    pub token_id: TokenId,
    /// The browser session, if it is one's.
    pub session: Option<SessionKey>,
}

/// Why a stream was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooManyStreams {
    /// The token has as many as it may.
    #[error(
        "this token has {MAX_OF_TOKEN} live streams open, as many as a token may have: close one, or use another \
         token"
    )]
    OfToken,
    /// The session has as many as it may.
    #[error(
        "this session has {MAX_OF_SESSION} live pages open, as many as a session may have: close one and try again"
    )]
    OfSession,
    /// The service has as many as it may.
    #[error(
        "the service has {MAX_STREAMS} live streams open, as many as it may have: try again when one has closed"
    )]
    InAll,
}

/// The streams that are open; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct StreamLimit(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    total: u32,
    of_token: HashMap<TokenId, u32>,
    of_session: HashMap<SessionKey, u32>,
}

/// The place of a stream; released when it is dropped.
#[derive(Debug)]
pub struct StreamPlace {
    limit: StreamLimit,
    viewer: Viewer,
}

impl StreamLimit {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the place of a stream.
    ///
    /// # Errors
    /// [`TooManyStreams`], with what to do.
    pub fn open(&self, viewer: Viewer) -> Result<StreamPlace, TooManyStreams> {
        let mut open = self.lock();
        let has = |count: Option<&u32>, max| count.is_some_and(|count| *count >= max);
        let session = viewer.session.as_ref();
        if has(session.and_then(|key| open.of_session.get(key)), MAX_OF_SESSION) {
            return Err(TooManyStreams::OfSession);
        }
        if has(open.of_token.get(&viewer.token_id), MAX_OF_TOKEN) {
            return Err(TooManyStreams::OfToken);
        }
        if open.total >= MAX_STREAMS {
            return Err(TooManyStreams::InAll);
        }
        open.total += 1;
        *open.of_token.entry(viewer.token_id).or_default() += 1;
        if let Some(session) = viewer.session {
            *open.of_session.entry(session).or_default() += 1;
        }
        Ok(StreamPlace { limit: self.clone(), viewer })
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut open = self.limit.lock();
        open.total = open.total.saturating_sub(1);
        release(&mut open.of_token, &self.viewer.token_id);
        if let Some(session) = &self.viewer.session {
            release(&mut open.of_session, session);
        }
    }
}

fn release<K: Eq + Hash>(counts: &mut HashMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn viewer(token: i64, session: Option<u8>) -> Viewer {
        let session = match session {
            Some(byte) => Some([byte; 32]),
            None => None,
        };
        Viewer { token_id: TokenId(token), session }
    }

    /// Opens streams until one is refused.
    fn fill(limit: &StreamLimit, of: Viewer) -> (Vec<StreamPlace>, TooManyStreams) {
        let mut places = Vec::new();
        loop {
            match limit.open(of) {
                Ok(place) => places.push(place),
                Err(refused) => return (places, refused),
            }
        }
    }

    #[test]
    fn one_token_leaves_streams_for_others() {
        let limit = StreamLimit::default();
        let (mut of_one, refused) = fill(&limit, viewer(1, None));
        assert_eq!((of_one.len(), refused), (MAX_OF_TOKEN as usize, TooManyStreams::OfToken));
        let other = limit.open(viewer(2, None)).expect("another token's are its own");
        of_one.pop();
        of_one.push(limit.open(viewer(1, None)).expect("one has closed"));
        drop((of_one, other));
        let open = limit.lock();
        assert!(open.total == 0 && open.of_token.is_empty() && open.of_session.is_empty());
    }

    #[test]
    fn one_session_leaves_streams_for_other_sessions_of_its_token() {
        let limit = StreamLimit::default();
        let (of_one, refused) = fill(&limit, viewer(1, Some(1)));
        assert_eq!((of_one.len(), refused), (MAX_OF_SESSION as usize, TooManyStreams::OfSession));
        limit.open(viewer(1, Some(2))).expect("another session");
        let (of_api, refused) = fill(&limit, viewer(1, None));
        let left = MAX_OF_TOKEN - MAX_OF_SESSION;
        assert_eq!((of_api.len(), refused), (left as usize, TooManyStreams::OfToken));
    }

    #[test]
    fn the_service_has_a_limit_over_all_tokens() {
        let limit = StreamLimit::default();
        let _of_two = [fill(&limit, viewer(1, None)), fill(&limit, viewer(2, None))];
        let (rest, refused) = fill(&limit, viewer(3, None));
        let left = MAX_STREAMS - 2 * MAX_OF_TOKEN;
        assert_eq!((rest.len(), refused), (left as usize, TooManyStreams::InAll));
    }
}
