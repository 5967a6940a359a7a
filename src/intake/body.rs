//! Reading a request's body: bounded in bytes before and after decompression, in time, and together
//! with all other bodies that are held at the moment.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt;

use super::answer::Refusal;
use super::limits::{MAX_DRAINED_BYTES, MAX_REQUEST_BYTES};

/// A request's body on its way in.
pub trait Arriving: hyper::body::Body<Data = Bytes, Error: Into<BodyError>> + Send + Unpin {}

impl<B: hyper::body::Body<Data = Bytes, Error: Into<BodyError>> + Send + Unpin> Arriving for B {}

/// Why a body broke off.
pub(super) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Plain,
    Gzip,
}

/// What the headers say about the body. Senders differ in the media type they give to JSON, so only
/// forms are refused: what they would hold is no event.
pub(super) fn encoding(headers: &HeaderMap) -> Result<Encoding, Refusal> {
    if let Some(media) = headers.get(CONTENT_TYPE) {
        let media = media.as_bytes().trim_ascii_start();
        let is = |kind: &[u8]| {
            media.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind))
        };
        if is(b"application/x-www-form-urlencoded") || is(b"multipart/") {
            return Err(Refusal::MediaType);
        }
    }
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    let encoding = match encodings.next().map(|value| value.as_bytes().trim_ascii()) {
        None | Some(b"") => Encoding::Plain,
        Some(word) if word.eq_ignore_ascii_case(b"identity") => Encoding::Plain,
        Some(word)
            if word.eq_ignore_ascii_case(b"gzip") || word.eq_ignore_ascii_case(b"x-gzip") =>
        {
            Encoding::Gzip
        }
        Some(_) => return Err(Refusal::Encoding),
    };
    if encodings.next().is_some() { Err(Refusal::Encoding) } else { Ok(encoding) }
}

/// How long the body is going to be, where the headers say.
pub(super) fn announced_bytes(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// How many bytes requests together hold, and may hold.
#[derive(Clone, Debug)]
pub(super) struct Held {
    bytes: Arc<AtomicUsize>,
    limit: usize,
}

impl Held {
    pub(super) fn up_to(limit: usize) -> Self {
        Self { bytes: Arc::default(), limit }
    }

    /// An account of one request's bytes, empty at first.
    pub(super) fn account(&self) -> Account {
        Account { held: self.clone(), bytes: 0 }
    }
}

/// The bytes that one request holds; given back when dropped.
#[derive(Debug)]
pub(super) struct Account {
    held: Held,
    bytes: usize,
}

impl Account {
    /// Adds what the request makes us hold.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Refusal> {
        let before = self.held.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        if before + bytes > self.held.limit {
            self.give_back();
            return Err(Refusal::Overloaded);
        }
        Ok(())
    }

    fn give_back(&mut self) {
        self.held.bytes.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Reads a whole body. One that is refused is read on without being kept, within the same time, so
/// that its sender gets to read the answer.
pub(super) async fn read(
    mut body: impl Arriving,
    account: &mut Account,
    within: Duration,
) -> Result<Bytes, Refusal> {
    let reading = async {
        let read = collect(&mut body, account).await;
        if matches!(read, Err(Refusal::RequestTooLarge | Refusal::Overloaded)) {
            account.give_back();
            discard(&mut body).await;
        }
        read
    };
    tokio::time::timeout(within, reading).await.unwrap_or(Err(Refusal::SlowBody))
}

/// Reads a body that nobody wants.
pub(super) async fn drain(mut body: impl Arriving, within: Duration) {
    // The answer is settled already: whether the rest comes in time makes no difference to it.
    let _ = tokio::time::timeout(within, discard(&mut body)).await;
}

async fn collect(body: &mut impl Arriving, account: &mut Account) -> Result<Bytes, Refusal> {
    let announced = body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
    let Some(first) = next_data(body).await? else { return Ok(Bytes::new()) };
    grow(account, 0, first.len())?;
    // Most bodies come in one piece, which is then not copied.
    let Some(second) = next_data(body).await? else { return Ok(first) };
    grow(account, first.len(), second.len())?;
    let mut whole = Vec::with_capacity(room(first.len() + second.len(), announced));
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&second);
    drop((first, second));
    while let Some(piece) = next_data(body).await? {
        grow(account, whole.len(), piece.len())?;
        let needed = whole.len() + piece.len();
        if needed > whole.capacity() {
            whole.reserve_exact(room(needed, announced) - whole.len());
        }
        whole.extend_from_slice(&piece);
    }
    Ok(Bytes::from(whole))
}

/// Room for a body of which so much has come: for as much again, but for no more than is to come. What
/// is announced and does not come takes none.
fn room(so_far: usize, announced: Option<usize>) -> usize {
    announced.unwrap_or(usize::MAX).clamp(so_far, so_far * 2)
}

fn grow(account: &mut Account, so_far: usize, more: usize) -> Result<(), Refusal> {
    if so_far + more > MAX_REQUEST_BYTES {
        return Err(Refusal::RequestTooLarge);
    }
    account.take(more)
}

async fn next_data(body: &mut impl Arriving) -> Result<Option<Bytes>, Refusal> {
    while let Some(frame) = body.frame().await {
        // Trailers say nothing that is needed.
        if let Ok(data) = frame.map_err(|error| Refusal::BrokenBody(error.into()))?.into_data()
            && !data.is_empty()
        {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

async fn discard(body: &mut impl Arriving) {
    let mut left = MAX_DRAINED_BYTES;
    while let Ok(Some(data)) = next_data(body).await {
        let Some(rest) = left.checked_sub(data.len()) else { return };
        left = rest;
    }
}

/// Undoes the encoding. Stops at the limit: a small body cannot become a large one in memory.
pub(super) fn decode(
    body: Bytes,
    encoding: Encoding,
    account: &mut Account,
) -> Result<Bytes, Refusal> {
    match encoding {
        Encoding::Plain => Ok(body),
        Encoding::Gzip => {
            let limit = MAX_REQUEST_BYTES as u64 + 1;
            let mut plain = Vec::with_capacity((body.len() * 4).clamp(1024, MAX_REQUEST_BYTES));
            MultiGzDecoder::new(&body[..])
                .take(limit)
                .read_to_end(&mut plain)
                .map_err(Refusal::Gzip)?;
            if plain.len() > MAX_REQUEST_BYTES {
                return Err(Refusal::RequestTooLarge);
            }
            account.take(plain.capacity())?;
            Ok(Bytes::from(plain))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body as Whole;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn gzip(plain: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).expect("memory takes it");
        encoder.finish().expect("memory takes it").into()
    }

    #[test]
    fn what_unpacks_too_large_is_refused_at_the_limit() {
        let held = Held::up_to(usize::MAX);
        let mut account = held.account();
        let mut decode = |plain: &[u8]| decode(gzip(plain), Encoding::Gzip, &mut account);
        let limit = vec![b' '; MAX_REQUEST_BYTES];
        assert_eq!(decode(&limit).expect("at the limit").len(), MAX_REQUEST_BYTES);
        let over = vec![b' '; MAX_REQUEST_BYTES + 1];
        assert!(matches!(decode(&over), Err(Refusal::RequestTooLarge)));
        let bomb = vec![0; 64 * MAX_REQUEST_BYTES];
        assert!(matches!(decode(&bomb), Err(Refusal::RequestTooLarge)));
    }

    #[test]
    fn members_one_after_another_are_one_body() {
        let mut two = gzip(b"{\"a\":").to_vec();
        two.extend_from_slice(&gzip(b"1}"));
        let mut account = Held::up_to(usize::MAX).account();
        let plain = decode(two.into(), Encoding::Gzip, &mut account).expect("two members");
        assert_eq!(&plain[..], b"{\"a\":1}");
    }

    #[test]
    fn broken_gzip_is_refused() {
        let whole = gzip(b"{\"a\":1}");
        for broken in [Bytes::new(), Bytes::from_static(b"{}"), whole.slice(..whole.len() - 3)] {
            let mut account = Held::up_to(usize::MAX).account();
            assert!(matches!(decode(broken, Encoding::Gzip, &mut account), Err(Refusal::Gzip(_))));
        }
    }

    #[test]
    fn an_account_gives_back_what_it_took() {
        let held = Held::up_to(10);
        let mut one = held.account();
        one.take(10).expect("all of it");
        let mut other = held.account();
        assert!(matches!(other.take(1), Err(Refusal::Overloaded)));
        drop(one);
        other.take(10).expect("all of it again");
        drop(other);
        assert_eq!(held.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_body_takes_no_more_room_than_it_needs() {
        for (so_far, announced, room_made) in [
            (65_536, Some(102_400), 102_400),
            (65_536, Some(65_536), 65_536),
            (8_192, Some(MAX_REQUEST_BYTES), 16_384),
            (8_192, None, 16_384),
            (0, None, 0),
        ] {
            assert_eq!(room(so_far, announced), room_made, "{so_far} of {announced:?}");
        }
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_put_together() {
        let text: Vec<u8> = (0..200_000u32).map(|at| at.to_le_bytes()[0]).collect();
        let pieces = text.chunks(9_001).map(|it| Ok::<_, BodyError>(Bytes::copy_from_slice(it)));
        let body = Whole::from_stream(futures_util::stream::iter(pieces.collect::<Vec<_>>()));
        let mut account = Held::up_to(usize::MAX).account();
        let read = read(body, &mut account, Duration::from_secs(60)).await.expect("it comes");
        assert_eq!(read, text);
    }

    #[tokio::test]
    async fn when_too_much_is_held_a_body_is_refused_and_holds_nothing() {
        let held = Held::up_to(10);
        let mut one = held.account();
        let within = Duration::from_secs(60);
        let body = read(Whole::from("123456"), &mut one, within).await.expect("there is room");
        let mut other = held.account();
        let refused = read(Whole::from("12345"), &mut other, within).await;
        assert!(matches!(refused, Err(Refusal::Overloaded)));
        assert_eq!(held.bytes.load(Ordering::Relaxed), body.len());
        read(Whole::from("1234"), &mut other, within).await.expect("there is room");
    }

    #[test]
    fn only_forms_and_unknown_encodings_are_refused() {
        let of = |name: http::HeaderName, value: &'static str| {
            encoding(&HeaderMap::from_iter([(name, http::HeaderValue::from_static(value))]))
        };
        for media in ["application/json", "text/plain;charset=UTF-8", "application/x-ndjson", ""] {
            assert_eq!(of(CONTENT_TYPE, media).expect("read as JSON"), Encoding::Plain);
        }
        for media in ["application/x-www-form-urlencoded", "Multipart/form-data; boundary=x"] {
            assert!(matches!(of(CONTENT_TYPE, media), Err(Refusal::MediaType)));
        }
        for word in ["gzip", "GZIP", "x-gzip", " gzip "] {
            assert_eq!(of(CONTENT_ENCODING, word).expect("gzip"), Encoding::Gzip);
        }
        for word in ["br", "deflate", "zstd", "gzip, gzip"] {
            assert!(matches!(of(CONTENT_ENCODING, word), Err(Refusal::Encoding)));
        }
    }
}
