//! Where the body of an HTTP/1.1 response ends (RFC 9112, 6): by length, by chunks or with the connection,
//! and whether the connection may be used again. A faulty length means that the body ends with the
//! connection.

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, StatusCode};

use super::response_head::Head;

/// The longest chunk size line, in bytes, and the most that trailers may have together.
const MAX_CHUNK_LINE_BYTES: usize = 4 * 1024;
const MAX_TRAILER_BYTES: usize = 16 * 1024;

/// A response's framing.
#[derive(Debug)]
pub(super) struct Framing {
    pub(super) body: BodyDecoder,
    /// Whether another response can follow on this connection.
    pub(super) is_reusable: bool,
}

/// What is left of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyDecoder {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunk),
    /// Whatever comes until the connection ends.
    UntilClose,
}

/// The position in a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// Before a chunk's size.
    Size,
    /// In a chunk of which so many bytes are left.
    Data(u64),
    /// Before the line break after a chunk.
    End,
    /// In the trailers, of which so many bytes have been read.
    Trailers(usize),
    /// After the last chunk.
    Ended,
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// So many bytes of the body.
    Data(usize),
    /// So many bytes that are not the body's.
    Framing(usize),
    /// Unknown until more bytes arrive.
    Incomplete,
    /// The body has ended.
    End,
}

/// Chunks that are malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ChunkError {
    #[error("a chunk's size is malformed")]
    Size,
    #[error("a chunk does not end where its size says")]
    End,
    #[error("its trailers are longer than {MAX_TRAILER_BYTES} bytes")]
    Trailers,
}

impl Framing {
    /// The framing of the response to a POST, PUT or PATCH.
    pub(super) fn of(head: &Head) -> Self {
        let headers = &head.headers;
        let length = Length::of(headers);
        let coding = Coding::of(headers);
        let announces_none =
            matches!(length, Length::None | Length::Of(0)) && coding == Coding::None;
        let has_no_body = head.status.is_informational()
            || head.status == StatusCode::RESET_CONTENT && announces_none
            || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let (body, is_sound) = if has_no_body {
            // Where a body is announced all the same, it may follow.
            (BodyDecoder::Length(0), announces_none)
        } else {
            match (coding, length) {
                // With both, a peer may see another end of the body (RFC 9112, 6.3).
                (Coding::Chunked, length) => {
                    (BodyDecoder::Chunked(Chunk::Size), length == Length::None)
                }
                (Coding::None, Length::Of(length)) => (BodyDecoder::Length(length), true),
                (Coding::None, Length::None | Length::Faulty) | (Coding::Other, _) => {
                    (BodyDecoder::UntilClose, false)
                }
            }
        };
        let stays_open = !has_token(headers, &CONNECTION, "close")
            && (!head.is_http_1_0 || has_token(headers, &CONNECTION, "keep-alive"))
            && head.status != StatusCode::SWITCHING_PROTOCOLS;
        Self { body, is_reusable: is_sound && stays_open }
    }
}

impl BodyDecoder {
    /// What the next of these bytes are; the caller takes them.
    pub(super) fn next(&mut self, received: &[u8]) -> Result<Next, ChunkError> {
        match self {
            Self::Length(0) => Ok(Next::End),
            Self::UntilClose | Self::Length(_) if received.is_empty() => Ok(Next::Incomplete),
            Self::UntilClose => Ok(Next::Data(received.len())),
            Self::Length(left) => Ok(Next::Data(take_up_to(left, received.len()))),
            Self::Chunked(chunk) => chunk.next(received),
        }
    }
}

impl Chunk {
    fn next(&mut self, received: &[u8]) -> Result<Next, ChunkError> {
        match self {
            Self::Size => match line(received) {
                Some(line) => {
                    let size = chunk_size(line).ok_or(ChunkError::Size)?;
                    *self = if size == 0 { Self::Trailers(0) } else { Self::Data(size) };
                    Ok(Next::Framing(line.len()))
                }
                None if received.len() > MAX_CHUNK_LINE_BYTES => Err(ChunkError::Size),
                None => Ok(Next::Incomplete),
            },
            Self::Data(_) if received.is_empty() => Ok(Next::Incomplete),
            Self::Data(left) => {
                let taken = take_up_to(left, received.len());
                if *left == 0 {
                    *self = Self::End;
                }
                Ok(Next::Data(taken))
            }
            Self::End => {
                let line_break = match received {
                    [] | [b'\r'] => return Ok(Next::Incomplete),
                    [b'\n', ..] => 1,
                    [b'\r', b'\n', ..] => 2,
                    [..] => return Err(ChunkError::End),
                };
                *self = Self::Size;
                Ok(Next::Framing(line_break))
            }
            Self::Trailers(read_bytes) => {
                let Some(line) = line(received) else {
                    let is_too_long = received.len() > MAX_TRAILER_BYTES;
                    return if is_too_long {
                        Err(ChunkError::Trailers)
                    } else {
                        Ok(Next::Incomplete)
                    };
                };
                *read_bytes += line.len();
                if matches!(line, b"\n" | b"\r\n") {
                    *self = Self::Ended;
                } else if *read_bytes > MAX_TRAILER_BYTES {
                    return Err(ChunkError::Trailers);
                }
                Ok(Next::Framing(line.len()))
            }
            Self::Ended => Ok(Next::End),
        }
    }
}

/// Subtracts up to `most` from what is left, and returns how much.
fn take_up_to(left: &mut u64, most: usize) -> usize {
    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(most);
    *left -= taken as u64;
    taken
}

/// The first line, its end included.
fn line(received: &[u8]) -> Option<&[u8]> {
    let end = received.iter().position(|byte| *byte == b'\n')?;
    Some(&received[..=end])
}

/// The size in a chunk's first line, whose extensions are ignored.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// What `Content-Length` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    None,
    Of(u64),
    /// Empty, no number, or several numbers that differ.
    Faulty,
}

impl Length {
    fn of(headers: &HeaderMap) -> Self {
        let mut length = Self::None;
        for one in elements(headers, &CONTENT_LENGTH) {
            let is_number = !one.is_empty() && one.bytes().all(|byte| byte.is_ascii_digit());
            match (one.parse(), length) {
                (Ok(number), Self::None) if is_number => length = Self::Of(number),
                (Ok(number), Self::Of(same)) if is_number && same == number => {}
                (Ok(_) | Err(_), Self::None | Self::Of(_) | Self::Faulty) => return Self::Faulty,
            }
        }
        length
    }
}

/// What `Transfer-Encoding` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    None,
    Chunked,
    /// The body ends with the connection.
    Other,
}

impl Coding {
    fn of(headers: &HeaderMap) -> Self {
        let codings = elements(headers, &TRANSFER_ENCODING);
        let last =
            codings.filter(|it| !it.is_empty() && !it.eq_ignore_ascii_case("identity")).last();
        match last {
            None => Self::None,
            Some(coding) if coding.eq_ignore_ascii_case("chunked") => Self::Chunked,
            Some(_) => Self::Other,
        }
    }
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    elements(headers, name).any(|one| one.eq_ignore_ascii_case(token))
}

/// The elements of a header that is a list, over all its lines.
fn elements<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let lines = headers.get_all(name).into_iter();
    lines.flat_map(|line| line.to_str().unwrap_or("?").split(',').map(str::trim))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Decodes a chunked body that arrives in pieces: its data, and how many bytes it took.
    fn decode(bytes: &[u8], piece: usize) -> Result<Option<(Vec<u8>, usize)>, ChunkError> {
        let mut body = BodyDecoder::Chunked(Chunk::Size);
        let (mut data, mut at, mut arrived) = (Vec::new(), 0, 0);
        loop {
            match body.next(&bytes[at..arrived])? {
                Next::Data(count) => {
                    data.extend_from_slice(&bytes[at..at + count]);
                    at += count;
                }
                Next::Framing(count) => at += count,
                Next::Incomplete if arrived == bytes.len() => return Ok(None),
                Next::Incomplete => arrived = (arrived + piece).min(bytes.len()),
                Next::End => return Ok(Some((data, at))),
            }
        }
    }

    #[test]
    fn only_a_sound_end_leaves_a_connection_reusable() {
        use BodyDecoder::{Chunked, Length, UntilClose};
        type Case<'a> = (u16, &'a [(HeaderName, &'a str)], BodyDecoder, bool);
        let cases: [Case<'_>; 18] = [
            (200, &[(CONTENT_LENGTH, "2")], Length(2), true),
            (200, &[(CONTENT_LENGTH, "2, 2")], Length(2), true),
            (200, &[(TRANSFER_ENCODING, "chunked")], Chunked(Chunk::Size), true),
            (200, &[(TRANSFER_ENCODING, "gzip, Chunked")], Chunked(Chunk::Size), true),
            (200, &[], UntilClose, false),
            (200, &[(CONTENT_LENGTH, "")], UntilClose, false),
            (200, &[(CONTENT_LENGTH, "2, 3")], UntilClose, false),
            (200, &[(CONTENT_LENGTH, "+2")], UntilClose, false),
            (200, &[(CONTENT_LENGTH, "0"), (CONTENT_LENGTH, "")], UntilClose, false),
            (
                200,
                &[(TRANSFER_ENCODING, "chunked, gzip"), (CONTENT_LENGTH, "2")],
                UntilClose,
                false,
            ),
            (
                200,
                &[(TRANSFER_ENCODING, "chunked"), (CONTENT_LENGTH, "2")],
                Chunked(Chunk::Size),
                false,
            ),
            (200, &[(CONTENT_LENGTH, "2"), (CONNECTION, "x, Close")], Length(2), false),
            (204, &[], Length(0), true),
            (204, &[(CONTENT_LENGTH, "5")], Length(0), false),
            (205, &[], Length(0), true),
            (205, &[(CONTENT_LENGTH, "5")], Length(5), true),
            (304, &[(TRANSFER_ENCODING, "chunked")], Length(0), false),
            (101, &[(CONNECTION, "upgrade")], Length(0), false),
        ];
        for (status, headers, body, is_reusable) in cases {
            let headers = headers
                .iter()
                .map(|(name, value)| (name.clone(), value.parse().expect("a header value")))
                .collect();
            let status = StatusCode::from_u16(status).expect("a status");
            let framing = Framing::of(&Head { status, headers, is_http_1_0: false });
            assert_eq!((framing.body, framing.is_reusable), (body, is_reusable), "{status}");
        }
    }

    #[test]
    fn a_chunked_body_is_the_same_however_it_arrives() {
        let bytes = b"3;ext=\"1\"\r\nabc\r\nA \r\n0123456789\r\n0\r\nx-sum: 1\r\n\r\nrest";
        for piece in 1..bytes.len() {
            let whole = Some((b"abc0123456789".to_vec(), bytes.len() - 4));
            assert_eq!(decode(bytes, piece), Ok(whole));
        }
    }

    #[test]
    fn each_fault_of_a_chunk_is_named() {
        let cases: [(&[u8], ChunkError); 7] = [
            (b"\r\n", ChunkError::Size),
            (b"x\r\n", ChunkError::Size),
            (b"+1\r\n", ChunkError::Size),
            (b"0x1\r\n", ChunkError::Size),
            (b"10000000000000000\r\n", ChunkError::Size),
            (b"1\r\nab\r\n", ChunkError::End),
            (b"1\r\na\r\r\n", ChunkError::End),
        ];
        for (bytes, fault) in cases {
            assert_eq!(decode(bytes, 1), Err(fault), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_chunked_is_decoded(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..8),
            piece in 1usize..30,
        ) {
            let mut bytes = Vec::new();
            for chunk in &chunks {
                bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
            prop_assert_eq!(decode(&bytes, piece), Ok(Some((chunks.concat(), bytes.len()))));
        }

        #[test]
        fn any_bytes_are_decoded_without_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), piece in 1usize..50,
        ) {
            let _ = decode(&bytes, piece);
        }
    }
}
