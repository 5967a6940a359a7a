//! Response bodies, read up to a limit, and the delay that `Retry-After` asks for.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::HeaderMap;
use http::header::RETRY_AFTER;

use super::connection::Response;
use super::failure::Failure;
use crate::domain::clock::Timestamp;

/// The most that is read of a response's body, in bytes, unless the whole body is requested. If more
/// follows, the connection is closed.
pub(super) const MAX_READ_BYTES: usize = 64 * 1024;

/// The part of a response's body that has been read. It survives a read that fails or times out.
#[derive(Debug)]
pub(super) struct ResponseBody {
    kept: Vec<u8>,
    keep_bytes: usize,
    whole_bytes: usize,
    read_bytes: usize,
}

/// A response's body after reading.
pub(super) struct ReadBody {
    /// The part to record.
    pub(super) kept: Bytes,
    /// Whether the body was longer than that.
    pub(super) truncated: bool,
    /// The whole body, if it was requested and within its limit.
    pub(super) whole: Option<Bytes>,
}

impl ResponseBody {
    /// Records up to `keep_bytes`, and returns the whole body if it has at most `whole_bytes`.
    pub(super) const fn new(keep_bytes: usize, whole_bytes: usize) -> Self {
        Self { kept: Vec::new(), keep_bytes, whole_bytes, read_bytes: 0 }
    }

    /// Reads to the end of the body or past the limit.
    pub(super) async fn read(&mut self, response: &mut Response) -> Result<(), Failure> {
        while self.read_bytes <= MAX_READ_BYTES.max(self.whole_bytes)
            && response.next_part(|part| self.push(part)).await?
        {}
        Ok(())
    }

    fn push(&mut self, chunk: &[u8]) {
        self.read_bytes = self.read_bytes.saturating_add(chunk.len());
        let room = self.keep_bytes.max(self.whole_bytes).saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }

    pub(super) fn finish(self) -> ReadBody {
        let all = Bytes::from(self.kept);
        let is_whole = self.whole_bytes > 0 && self.read_bytes <= self.whole_bytes;
        let kept = if all.len() > self.keep_bytes {
            // A copy, so that the rest of the buffer is freed.
            Bytes::copy_from_slice(&all[..self.keep_bytes])
        } else {
            all.clone()
        };
        let truncated = self.read_bytes > kept.len();
        ReadBody { kept, truncated, whole: is_whole.then_some(all) }
    }
}

/// The delay in `Retry-After` (RFC 9110, 10.2.3): seconds, or a date minus `now`; zero for a past date,
/// none if the value is malformed.
pub(super) fn retry_after(
    headers: &HeaderMap,
    now: impl FnOnce() -> Timestamp,
) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // An overflow saturates; the delivery's window caps it.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    let since_epoch = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Some((Timestamp::default() + since_epoch).since(now()))
}
