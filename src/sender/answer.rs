//! Reading answers: the body up to a limit, never more; and when a receiver wants to be asked again.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::HeaderMap;
use http::header::RETRY_AFTER;

use super::connection::Answer;
use super::fault::Fault;
use crate::domain::clock::Timestamp;

/// At most so much of an answer's body is read, in bytes, unless it is wanted whole; the connection is
/// dropped with the rest.
pub(super) const READ_BYTES: usize = 64 * 1024;

/// What has been read of an answer's body. It outlives a read that is broken off.
#[derive(Debug)]
pub(super) struct AnswerBody {
    kept: Vec<u8>,
    keep_bytes: usize,
    whole_bytes: usize,
    read_bytes: usize,
}

/// What an answer's body was.
pub(super) struct Read {
    /// As far as it is kept.
    pub(super) kept: Bytes,
    /// Whether that is less than there was.
    pub(super) truncated: bool,
    /// All of it, if it was wanted whole and was no longer than that.
    pub(super) whole: Option<Bytes>,
}

impl AnswerBody {
    /// A body of which `keep_bytes` are kept, and which is wanted whole up to `whole_bytes`.
    pub(super) const fn new(keep_bytes: usize, whole_bytes: usize) -> Self {
        Self { kept: Vec::new(), keep_bytes, whole_bytes, read_bytes: 0 }
    }

    /// Reads until the end, or until more than the limit has come.
    pub(super) async fn read(&mut self, answer: &mut Answer) -> Result<(), Fault> {
        while self.read_bytes <= READ_BYTES.max(self.whole_bytes)
            && let Some(chunk) = answer.chunk().await?
        {
            self.push(&chunk);
        }
        Ok(())
    }

    fn push(&mut self, chunk: &[u8]) {
        self.read_bytes = self.read_bytes.saturating_add(chunk.len());
        let room = self.keep_bytes.max(self.whole_bytes).saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }

    pub(super) fn finish(self) -> Read {
        let all = Bytes::from(self.kept);
        let is_whole = self.whole_bytes > 0 && self.read_bytes <= self.whole_bytes;
        let kept = if all.len() > self.keep_bytes {
            // Its own copy: the rest need not stay in memory with it.
            Bytes::copy_from_slice(&all[..self.keep_bytes])
        } else {
            all.clone()
        };
        let truncated = self.read_bytes > kept.len();
        Read { kept, truncated, whole: is_whole.then_some(all) }
    }
}

/// How long to wait by `Retry-After` (RFC 9110, 10.2.3): seconds, or a date compared with `now`;
/// zero for a date that has passed, none when it is neither.
pub(super) fn retry_after(
    headers: &HeaderMap,
    now: impl FnOnce() -> Timestamp,
) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are as good as forever; the window caps it.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    let since_epoch = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Some((Timestamp::default() + since_epoch).since(now()))
}
