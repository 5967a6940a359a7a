//! The head of an HTTP/1.1 response, read line by line and leniently: a header line that is malformed or
//! too long is skipped, as long as the status line is sound. Memory is bounded whatever the receiver sends.

use bytes::{Buf, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, RETRY_AFTER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// The longest header line that is kept, in bytes, continuations included.
const MAX_LINE_BYTES: usize = 32 * 1024;
/// The most that is kept of a head's headers, in bytes; what a line costs beside its text is part of it.
const MAX_KEPT_BYTES: usize = 128 * 1024;
/// What a header line costs beside its text, in bytes.
const LINE_COST_BYTES: usize = 32;
/// The most that is read of the heads of one response, informational ones included, in bytes.
const MAX_READ_BYTES: usize = 8 * 1024 * 1024;
/// Headers that are kept beyond [`MAX_KEPT_BYTES`]: they decide about the body, the connection and the retry.
const ESSENTIAL: [HeaderName; 4] = [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, RETRY_AFTER];
/// What every status line begins with.
const PROTOCOL: &[u8] = b"HTTP/1.";

/// The head of a final response.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Whether it is HTTP/1.0, where a connection ends with its response unless it says otherwise.
    pub(super) is_http_1_0: bool,
}

/// Why a response has no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeadError {
    /// It does not begin with a status line.
    #[error("it does not begin with a status line of HTTP/1.1")]
    NoStatusLine,
    /// The head does not end.
    #[error("its head is longer than {MAX_READ_BYTES} bytes")]
    TooLong,
}

/// Reads heads from the bytes of a connection.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    status: Option<StatusLine>,
    headers: HeaderMap,
    /// The last header line with its continuations, which end where the next line begins.
    line: Vec<u8>,
    kept_bytes: usize,
    read_bytes: usize,
    /// Bytes received of a line whose end has not arrived.
    scanned_bytes: usize,
    /// Whether the beginning of the current line has been dropped: it is too long.
    is_oversized: bool,
}

#[derive(Clone, Copy, Debug)]
struct StatusLine {
    status: StatusCode,
    is_http_1_0: bool,
}

impl HeadReader {
    /// Takes the lines that are complete; the head of the final response once its end has arrived.
    /// Informational responses before it are skipped.
    pub(super) fn read(&mut self, received: &mut BytesMut) -> Result<Option<Head>, HeadError> {
        loop {
            let unscanned = &received[self.scanned_bytes..];
            let Some(end) = unscanned.iter().position(|byte| *byte == b'\n') else {
                self.wait_for_rest(received)?;
                return Ok(None);
            };
            let length = self.scanned_bytes + end + 1;
            self.scanned_bytes = 0;
            self.count(length)?;
            let line = &received[..length - 1];
            let head = self.take(line.strip_suffix(b"\r").unwrap_or(line))?;
            received.advance(length);
            if head.is_some() {
                return Ok(head);
            }
        }
    }

    fn count(&mut self, bytes: usize) -> Result<(), HeadError> {
        self.read_bytes += bytes;
        if self.read_bytes > MAX_READ_BYTES { Err(HeadError::TooLong) } else { Ok(()) }
    }

    /// Checks the beginning of a line, and drops it if the line is too long.
    fn wait_for_rest(&mut self, received: &mut BytesMut) -> Result<(), HeadError> {
        if self.status.is_none() {
            let begun = received.len().min(PROTOCOL.len());
            let is_blank = received.iter().all(|byte| *byte == b'\r');
            if !is_blank && received[..begun] != PROTOCOL[..begun] {
                return Err(HeadError::NoStatusLine);
            }
        }
        if received.len() > MAX_LINE_BYTES {
            if self.status.is_none() {
                return Err(HeadError::NoStatusLine);
            }
            self.count(received.len())?;
            if is_continuation(received) {
                self.line.clear();
            } else {
                self.keep_line();
            }
            received.clear();
            self.is_oversized = true;
        }
        self.scanned_bytes = received.len();
        Ok(())
    }

    fn take(&mut self, line: &[u8]) -> Result<Option<Head>, HeadError> {
        if std::mem::take(&mut self.is_oversized) {
            return Ok(None);
        }
        let Some(status) = self.status else {
            // RFC 9112, 2.2: an empty line before the status line is ignored.
            if !line.is_empty() {
                self.status = Some(StatusLine::parse(line).ok_or(HeadError::NoStatusLine)?);
            }
            return Ok(None);
        };
        if line.is_empty() {
            self.keep_line();
            return Ok(self.end(status));
        }
        if is_continuation(line) {
            self.fold(line);
        } else {
            self.keep_line();
            self.line.extend_from_slice(line);
        }
        Ok(None)
    }

    fn end(&mut self, line: StatusLine) -> Option<Head> {
        let StatusLine { status, is_http_1_0 } = line;
        let headers = std::mem::take(&mut self.headers);
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            self.status = None;
            self.kept_bytes = 0;
            return None;
        }
        Some(Head { status, headers, is_http_1_0 })
    }

    /// Adds a continuation (RFC 9112, 5.2: obsolete, and read as a space); that of a dropped line is
    /// dropped with it.
    fn fold(&mut self, continuation: &[u8]) {
        if self.line.is_empty() {
            return;
        }
        let text = continuation.trim_ascii();
        if self.line.len() + text.len() > MAX_LINE_BYTES {
            self.line.clear();
            return;
        }
        self.line.push(b' ');
        self.line.extend_from_slice(text);
    }

    /// Keeps the last header line, unless it is malformed or too much has been kept.
    fn keep_line(&mut self) {
        let mut line = std::mem::take(&mut self.line);
        if line.len() <= MAX_LINE_BYTES
            && let Some((name, value)) = header(&line)
        {
            self.kept_bytes += line.len() + LINE_COST_BYTES;
            if self.kept_bytes <= MAX_KEPT_BYTES || ESSENTIAL.contains(&name) {
                // A map that is full drops it.
                let _ = self.headers.try_append(name, value);
            }
        }
        line.clear();
        self.line = line;
    }
}

impl StatusLine {
    /// Lenient about spaces and the reason, which may be missing.
    fn parse(line: &[u8]) -> Option<Self> {
        let (minor, rest) = line.strip_prefix(PROTOCOL)?.split_first()?;
        if !minor.is_ascii_digit() || !rest.starts_with(b" ") {
            return None;
        }
        let rest = rest.trim_ascii_start();
        let digits = rest.split(|byte| *byte == b' ').next()?;
        // `from_bytes` takes three digits, the first of which is not 0.
        let status = StatusCode::from_bytes(digits).ok()?;
        Some(Self { status, is_http_1_0: *minor == b'0' })
    }
}

fn is_continuation(line: &[u8]) -> bool {
    matches!(line, [b' ' | b'\t', ..])
}

fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(line[..colon].trim_ascii_end()).ok()?;
    let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
    Some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads a head that arrives in pieces of this size: what is there after each, and the rest.
    fn read(bytes: &[u8], piece: usize) -> Result<Option<(Head, Vec<u8>)>, HeadError> {
        let (mut reader, mut received) = (HeadReader::default(), BytesMut::new());
        let mut pieces = bytes.chunks(piece);
        while let Some(more) = pieces.next() {
            received.extend_from_slice(more);
            if let Some(head) = reader.read(&mut received)? {
                let rest = pieces.flatten().copied();
                return Ok(Some((head, received.iter().copied().chain(rest).collect())));
            }
            assert!(received.len() <= MAX_LINE_BYTES + piece, "the unread line is bounded");
        }
        Ok(None)
    }

    #[test]
    fn a_head_is_the_same_however_it_arrives() {
        let bytes =
            b"\r\nHTTP/1.1 103 Early\r\nx-hint: 1\r\n\r\nHTTP/1.1 200 OK\r\nx-a: 1\r\n 2\r\n\
            \t3\r\nbad\r\n dropped\r\nx-b:4\r\n\r\nbody\r\n\r\n";
        for piece in 1..bytes.len() {
            let (head, rest) = read(bytes, piece).unwrap().unwrap();
            assert_eq!((head.status, head.is_http_1_0), (StatusCode::OK, false));
            let headers: Vec<_> = head
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_bytes()))
                .collect();
            assert_eq!(headers, [("x-a", &b"1 2 3"[..]), ("x-b", b"4")]);
            assert_eq!(rest, b"body\r\n\r\n");
        }
    }

    #[test]
    fn an_oversized_line_is_dropped_with_its_continuations() {
        let big = "y".repeat(3 * MAX_LINE_BYTES);
        let text = format!(
            "HTTP/1.1 200 OK\r\nx-a: 1\r\nx-big: {big}\r\n more\r\nx-b: 2\r\n {big}\r\n\r\n"
        );
        for piece in [1_000, MAX_LINE_BYTES, 10 * MAX_LINE_BYTES] {
            let (head, _) = read(text.as_bytes(), piece).unwrap().unwrap();
            assert_eq!(head.headers.len(), 1, "{piece}");
            assert_eq!(head.headers["x-a"], "1");
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_essential_headers_are_kept() {
        let many = "x-many: 1\r\n".repeat(10_000);
        let text = format!("HTTP/1.1 503 No\r\n{many}retry-after: 7\r\n\r\n");
        let (head, _) = read(text.as_bytes(), 8_192).unwrap().unwrap();
        assert!(head.headers.len() < MAX_KEPT_BYTES / LINE_COST_BYTES);
        assert_eq!(head.headers[RETRY_AFTER], "7");
        let essential = format!("HTTP/1.1 503 No\r\n{}\r\n", "retry-after: 7\r\n".repeat(40_000));
        assert!(read(essential.as_bytes(), 8_192).unwrap().is_some());
    }

    #[test]
    fn an_endless_head_is_an_error() {
        let endless = |line: &str| {
            line.repeat((MAX_READ_BYTES + 4 * MAX_LINE_BYTES) / line.len()).into_bytes()
        };
        for bytes in [endless("HTTP/1.1 100 Continue\r\n\r\n"), endless("\r\n")] {
            assert_eq!(read(&bytes, 65_536).unwrap_err(), HeadError::TooLong);
        }
        let line = [b"HTTP/1.1 200 OK\r\nx: ".to_vec(), endless("y")].concat();
        assert_eq!(read(&line, 65_536).unwrap_err(), HeadError::TooLong);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), piece in 1usize..50,
        ) {
            let after_status = [b"HTTP/1.1 200 OK\r\n".to_vec(), bytes.clone()].concat();
            prop_assert!(read(&after_status, piece).is_ok());
            let _ = read(&bytes, piece);
        }
    }
}
