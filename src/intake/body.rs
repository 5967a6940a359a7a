//! Reads a request's body: bounded in size before and after decompression, in time, and by the memory
//! limit that all requests share.

use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body_util::BodyExt;

use super::limits::{MAX_DRAINED_BYTES, MAX_REQUEST_BYTES};
use super::memory_limit::Reservation;
use super::response::{BodyError, IntakeError};

/// A request's body that has not been read.
pub trait RequestBody:
    hyper::body::Body<Data = Bytes, Error: Into<BodyError>> + Send + Unpin
{
}

impl<B: hyper::body::Body<Data = Bytes, Error: Into<BodyError>> + Send + Unpin> RequestBody for B {}

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Plain,
    Gzip,
    Deflate,
}

/// The body's encoding. The media type does not matter: some SDKs send JSON as a form's, or with none.
pub(super) fn encoding(headers: &HeaderMap) -> Result<Encoding, IntakeError> {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    let encoding = match encodings.next().map(|value| value.as_bytes().trim_ascii()) {
        None | Some(b"") => Encoding::Plain,
        Some(word) if word.eq_ignore_ascii_case(b"identity") => Encoding::Plain,
        Some(word)
            if word.eq_ignore_ascii_case(b"gzip") || word.eq_ignore_ascii_case(b"x-gzip") =>
        {
            Encoding::Gzip
        }
        Some(word) if word.eq_ignore_ascii_case(b"deflate") => Encoding::Deflate,
        Some(_) => return Err(IntakeError::Encoding),
    };
    if encodings.next().is_some() { Err(IntakeError::Encoding) } else { Ok(encoding) }
}

/// The Content-Length, if present.
pub(super) fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads a whole body. A refused body is drained within the same timeout, so that the sender reads the
/// response.
pub(super) async fn read(
    mut body: impl RequestBody,
    reservation: &mut Reservation,
    within: Duration,
) -> Result<Bytes, IntakeError> {
    let reading = async {
        let read = collect(&mut body, reservation).await;
        if matches!(read, Err(IntakeError::RequestTooLarge | IntakeError::Overloaded)) {
            reservation.release();
            discard(&mut body).await;
        }
        read
    };
    tokio::time::timeout(within, reading).await.unwrap_or(Err(IntakeError::SlowBody))
}

/// Drains the body of a refused request.
pub(super) async fn drain(mut body: impl RequestBody, within: Duration) {
    // A timeout does not change the response.
    let _ = tokio::time::timeout(within, discard(&mut body)).await;
}

async fn collect(
    body: &mut impl RequestBody,
    reservation: &mut Reservation,
) -> Result<Bytes, IntakeError> {
    let content_length = body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
    let Some(first) = next_data(body).await? else { return Ok(Bytes::new()) };
    reserve(reservation, 0, first.len())?;
    // Most bodies arrive in one chunk, which is not copied.
    let Some(second) = next_data(body).await? else { return Ok(first) };
    reserve(reservation, first.len(), second.len())?;
    let mut whole = Vec::with_capacity(capacity_for(first.len() + second.len(), content_length));
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&second);
    drop((first, second));
    while let Some(piece) = next_data(body).await? {
        reserve(reservation, whole.len(), piece.len())?;
        let needed = whole.len() + piece.len();
        if needed > whole.capacity() {
            whole.reserve_exact(capacity_for(needed, content_length) - whole.len());
        }
        whole.extend_from_slice(&piece);
    }
    Ok(Bytes::from(whole))
}

/// The capacity for a body of which `so_far` bytes have arrived: doubled, up to the Content-Length. Memory
/// is not allocated for bytes that were content_length but have not arrived.
fn capacity_for(so_far: usize, content_length: Option<usize>) -> usize {
    content_length.unwrap_or(usize::MAX).clamp(so_far, so_far * 2)
}

fn reserve(reservation: &mut Reservation, so_far: usize, more: usize) -> Result<(), IntakeError> {
    if so_far + more > MAX_REQUEST_BYTES {
        return Err(IntakeError::RequestTooLarge);
    }
    reservation.grow(more)
}

async fn next_data(body: &mut impl RequestBody) -> Result<Option<Bytes>, IntakeError> {
    while let Some(frame) = body.frame().await {
        // Trailers are ignored.
        if let Ok(data) = frame.map_err(|error| IntakeError::BrokenBody(error.into()))?.into_data()
            && !data.is_empty()
        {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

async fn discard(body: &mut impl RequestBody) {
    let mut left = MAX_DRAINED_BYTES;
    while let Ok(Some(data)) = next_data(body).await {
        let Some(rest) = left.checked_sub(data.len()) else { return };
        left = rest;
    }
}

/// Decompresses the body, up to the limit (decompression bombs).
pub(super) fn decode(
    body: Bytes,
    encoding: Encoding,
    reservation: &mut Reservation,
) -> Result<Bytes, IntakeError> {
    let plain = match encoding {
        Encoding::Plain => return Ok(body),
        Encoding::Gzip => inflate(MultiGzDecoder::new(&body[..]), body.len())?,
        // RFC 9110 means zlib by it; some senders leave out zlib's frame.
        Encoding::Deflate if is_zlib(&body) => inflate(ZlibDecoder::new(&body[..]), body.len())?,
        Encoding::Deflate => inflate(DeflateDecoder::new(&body[..]), body.len())?,
    };
    reservation.grow(plain.capacity())?;
    Ok(Bytes::from(plain))
}

/// Reads a decompressed body, up to the limit.
fn inflate(decoder: impl Read, compressed: usize) -> Result<Vec<u8>, IntakeError> {
    let mut plain = Vec::with_capacity((compressed * 4).clamp(1024, MAX_REQUEST_BYTES));
    let limit = MAX_REQUEST_BYTES as u64 + 1;
    decoder.take(limit).read_to_end(&mut plain).map_err(IntakeError::Compressed)?;
    if plain.len() > MAX_REQUEST_BYTES { Err(IntakeError::RequestTooLarge) } else { Ok(plain) }
}

/// Whether a body begins with zlib's header (RFC 1950): method 8, and a check that makes it a multiple of 31.
fn is_zlib(body: &[u8]) -> bool {
    let [first, second, ..] = *body else { return false };
    first & 0x0f == 8 && u16::from_be_bytes([first, second]) % 31 == 0
}

#[cfg(test)]
mod tests {
    use super::super::memory_limit::MemoryLimit;
    use super::super::tenant::Tenant;
    use super::*;
    use crate::domain::id::SourceId;
    use axum::body::Body as Whole;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    const ONE: Tenant = Tenant::Source(SourceId(1));
    const OTHER: Tenant = Tenant::Source(SourceId(2));

    fn gzip(plain: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).expect("memory takes it");
        encoder.finish().expect("memory takes it").into()
    }

    #[test]
    fn decompression_stops_at_the_limit() {
        let limit = MemoryLimit::new(usize::MAX);
        let mut reservation = limit.reservation(ONE);
        let mut decode = |plain: &[u8]| decode(gzip(plain), Encoding::Gzip, &mut reservation);
        let limit = vec![b' '; MAX_REQUEST_BYTES];
        assert_eq!(decode(&limit).expect("at the limit").len(), MAX_REQUEST_BYTES);
        let over = vec![b' '; MAX_REQUEST_BYTES + 1];
        assert!(matches!(decode(&over), Err(IntakeError::RequestTooLarge)));
        let bomb = vec![0; 64 * MAX_REQUEST_BYTES];
        assert!(matches!(decode(&bomb), Err(IntakeError::RequestTooLarge)));
    }

    #[test]
    fn concatenated_gzip_members_are_one_body() {
        let mut two = gzip(b"{\"a\":").to_vec();
        two.extend_from_slice(&gzip(b"1}"));
        let mut reservation = MemoryLimit::new(usize::MAX).reservation(ONE);
        let plain = decode(two.into(), Encoding::Gzip, &mut reservation).expect("two members");
        assert_eq!(&plain[..], b"{\"a\":1}");
    }

    #[test]
    fn broken_gzip_is_refused() {
        let whole = gzip(b"{\"a\":1}");
        for broken in [Bytes::new(), Bytes::from_static(b"{}"), whole.slice(..whole.len() - 3)] {
            let mut reservation = MemoryLimit::new(usize::MAX).reservation(ONE);
            assert!(matches!(
                decode(broken, Encoding::Gzip, &mut reservation),
                Err(IntakeError::Compressed(_))
            ));
        }
    }

    #[test]
    fn capacity_grows_with_the_bytes_that_arrived() {
        for (so_far, content_length, room_made) in [
            (65_536, Some(102_400), 102_400),
            (65_536, Some(65_536), 65_536),
            (8_192, Some(MAX_REQUEST_BYTES), 16_384),
            (8_192, None, 16_384),
            (0, None, 0),
        ] {
            assert_eq!(
                capacity_for(so_far, content_length),
                room_made,
                "{so_far} of {content_length:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_chunked_body_is_reassembled() {
        let text: Vec<u8> = (0..200_000u32).map(|at| at.to_le_bytes()[0]).collect();
        let pieces = text.chunks(9_001).map(|it| Ok::<_, BodyError>(Bytes::copy_from_slice(it)));
        let body = Whole::from_stream(futures_util::stream::iter(pieces.collect::<Vec<_>>()));
        let mut reservation = MemoryLimit::new(usize::MAX).reservation(ONE);
        let read = read(body, &mut reservation, Duration::from_secs(60)).await.expect("it comes");
        assert_eq!(read, text);
    }

    #[tokio::test]
    async fn a_body_over_the_memory_limit_is_refused_and_releases_its_reservation() {
        let limit = MemoryLimit::new(10);
        let mut one = limit.reservation(ONE);
        let within = Duration::from_secs(60);
        let body = read(Whole::from("123456"), &mut one, within).await.expect("there is room");
        let mut other = limit.reservation(OTHER);
        let refused = read(Whole::from("12345"), &mut other, within).await;
        assert!(matches!(refused, Err(IntakeError::Overloaded)));
        assert_eq!(limit.used_bytes(), body.len());
        read(Whole::from("1234"), &mut other, within).await.expect("there is room");
    }

    #[test]
    fn encodings_are_read_in_any_case_and_unknown_ones_are_refused() {
        let of = |value: &'static str| {
            let header = (CONTENT_ENCODING, http::HeaderValue::from_static(value));
            encoding(&HeaderMap::from_iter([header]))
        };
        for word in ["gzip", "GZIP", "x-gzip", " gzip "] {
            assert_eq!(of(word).expect("gzip"), Encoding::Gzip);
        }
        assert_eq!(of("Deflate").expect("deflate"), Encoding::Deflate);
        for word in ["br", "zstd", "gzip, gzip"] {
            assert!(matches!(of(word), Err(IntakeError::Encoding)));
        }
    }

    #[test]
    fn deflate_is_read_with_and_without_zlibs_frame() {
        let json = "{\"userId\":\"u\",\"event\":\"Größe\"}".as_bytes();
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), Compression::best());
        zlib.write_all(json).expect("memory takes it");
        let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), Compression::best());
        raw.write_all(json).expect("memory takes it");
        for body in [zlib.finish(), raw.finish()].map(|it| it.expect("memory takes it")) {
            let mut reservation = MemoryLimit::new(usize::MAX).reservation(ONE);
            let plain = decode(body.into(), Encoding::Deflate, &mut reservation).expect("deflate");
            assert_eq!(&plain[..], json);
        }
    }
}
