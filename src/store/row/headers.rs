//! Compression of header texts in rows, lossless to the byte. Attempts have nearly the same headers: lines of
//! a static dictionary (`dictionary.rs`) take a byte, and digests, ids and dates are stored in binary. A row
//! is decoded without any other.
//!
//! A packed text is a sequence of pieces; the lowest bits of a piece's first byte are a count, from one:
//!
//! | first byte | followed by | meaning |
//! | --- | --- | --- |
//! | `000n nnnn`, `001n nnnn` | 1 to 64 bytes | these bytes |
//! | `010n nnnn` | 1 to 32 bytes | their digits in hexadecimal |
//! | `011n nnnn` | 1 to 32 bytes | their base64 |
//! | `1nnn nnnn` | nothing | the dictionary entry of this number |
//! | `1111 1111` | 4 bytes, little-endian | an HTTP date, by its seconds since the Unix epoch |

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::dictionary;

const HEX: u8 = 0x40;
const BASE64: u8 = 0x60;
const DICTIONARY: u8 = 0x80;
const DATE: u8 = 0xFF;

/// The most text of one piece, and the longest run of digits that is examined.
const TEXT: usize = 64;
/// The least digits of a piece: fewer save nothing.
const HEX_DIGITS: usize = 8;
const BASE64_DIGITS: usize = 16;
/// The most digits of a piece, with padding and without.
const BASE64_END: usize = 44;
const BASE64_PART: usize = 40;
/// `Sun, 06 Nov 1994 08:49:37 GMT`.
const DATE_LEN: usize = 29;

/// Packs a text; the empty text is packed as no bytes.
pub(in crate::store) fn pack(text: &str, packed: &mut Vec<u8>) {
    if text.is_empty() {
        return;
    }
    // Every line then begins with a line feed, the first one too.
    let lines = [b"\n", text.as_bytes()].concat();
    let mut packing = Packing { lines: &lines, text_from: 0, at: 0, packed };
    while packing.at < lines.len() {
        packing.step();
    }
    packing.end_text();
}

/// A text being packed: packed up to `text_from`, examined up to `at`.
struct Packing<'a> {
    lines: &'a [u8],
    text_from: usize,
    at: usize,
    packed: &'a mut Vec<u8>,
}

impl Packing<'_> {
    /// Packs the piece that begins here, or adds a word to the text.
    fn step(&mut self) {
        let rest = &self.lines[self.at..];
        if let Some((number, length)) = dictionary::longest(rest) {
            self.piece(DICTIONARY + number, length, &[]);
        } else if let Some(seconds) = date(rest) {
            self.piece(DATE, DATE_LEN, &seconds.to_le_bytes());
        } else {
            self.digits(rest);
        }
    }

    fn digits(&mut self, rest: &[u8]) {
        let mut bytes = [0; TEXT];
        let hex = run(rest, |it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
        if hex >= HEX_DIGITS {
            let (digits, count) = (hex / 2 * 2, hex / 2);
            if hex::decode_to_slice(&rest[..digits], &mut bytes[..count]).is_ok() {
                return self.counted(HEX, digits, &bytes[..count]);
            }
        }
        let word = run(rest, |it| it.is_ascii_alphanumeric() || matches!(it, b'+' | b'/'));
        if word >= BASE64_DIGITS {
            let digits = base64_digits(rest, word);
            if let Ok(count) = STANDARD.decode_slice(&rest[..digits], &mut bytes) {
                return self.counted(BASE64, digits, &bytes[..count]);
            }
        }
        self.at += word.max(1);
    }

    /// A piece with its count, of 1 to 32 bytes.
    fn counted(&mut self, kind: u8, length: usize, bytes: &[u8]) {
        self.piece(kind | last(bytes), length, bytes);
    }

    /// A piece that replaces so many bytes of the text.
    fn piece(&mut self, first: u8, length: usize, bytes: &[u8]) {
        self.end_text();
        self.packed.push(first);
        self.packed.extend_from_slice(bytes);
        self.at += length;
        self.text_from = self.at;
    }

    fn end_text(&mut self) {
        for text in self.lines[self.text_from..self.at].chunks(TEXT) {
            self.packed.push(last(text));
            self.packed.extend_from_slice(text);
        }
    }
}

/// How many bytes, from one, as a piece counts them: none has more than 64.
fn last(bytes: &[u8]) -> u8 {
    u8::try_from(bytes.len() - 1).unwrap_or(u8::MAX)
}

/// The number of leading bytes that match, up to the examined length.
fn run(rest: &[u8], is_such: impl Fn(u8) -> bool) -> usize {
    rest.iter().take(TEXT).take_while(|it| is_such(**it)).count()
}

/// How many of these digits, with the padding behind them, one piece takes.
fn base64_digits(rest: &[u8], word: usize) -> usize {
    let padding = (4 - word % 4) % 4;
    let is_padded = matches!(padding, 1 | 2) && rest[word..].starts_with(&b"=="[..padding]);
    if is_padded && word + padding <= BASE64_END {
        word + padding
    } else {
        (word / 4 * 4).min(BASE64_PART)
    }
}

/// The seconds of the HTTP date that this begins with. Dates of this length have one form, IMF-fixdate, which
/// formats each time in one way.
fn date(rest: &[u8]) -> Option<u32> {
    let text = rest.get(..DATE_LEN).filter(|text| text.ends_with(b" GMT"))?;
    let at = httpdate::parse_http_date(str::from_utf8(text).ok()?).ok()?;
    let since_epoch = at.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    u32::try_from(since_epoch.as_secs()).ok()
}

fn printed(seconds: u32) -> String {
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.into()))
}

/// The text that was packed; none for bytes that no version of this program writes.
pub(super) fn unpack(packed: &[u8]) -> Option<String> {
    if packed.is_empty() {
        return Some(String::new());
    }
    let mut lines = Vec::with_capacity(4 * packed.len());
    let mut rest = packed;
    while let Some((&first, after)) = rest.split_first() {
        rest = match first {
            DATE => {
                let (seconds, after) = after.split_first_chunk()?;
                lines.extend_from_slice(printed(u32::from_le_bytes(*seconds)).as_bytes());
                after
            }
            DICTIONARY..DATE => {
                lines.extend_from_slice(
                    dictionary::LINES.get(usize::from(first - DICTIONARY))?.as_bytes(),
                );
                after
            }
            BASE64..DICTIONARY => {
                let (bytes, after) = after.split_at_checked(usize::from(first - BASE64) + 1)?;
                lines.extend_from_slice(STANDARD.encode(bytes).as_bytes());
                after
            }
            HEX..BASE64 => {
                let (bytes, after) = after.split_at_checked(usize::from(first - HEX) + 1)?;
                lines.extend_from_slice(hex::encode(bytes).as_bytes());
                after
            }
            0..HEX => {
                let (text, after) = after.split_at_checked(usize::from(first) + 1)?;
                lines.extend_from_slice(text);
                after
            }
        };
    }
    let text = String::from_utf8(lines).ok()?;
    text.strip_prefix('\n').map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REQUEST: &str = "content-type: application/json\nuser-agent: Postrider/0.1.0\n\
        webhook-id: dlv_01a1ff57146970f4800000000000752e\nwebhook-timestamp: 1795285259\n\
        x-signature: 1cf3027cc1bd871725469c8411e187d3a4b6092d\n\
        webhook-signature: v1,mkcDaHn9QtE2mQoK/QlOvlG2eQswHRTd0A0pUeso6m8=\n";
    const ANSWER: &str = "content-length: 0\ndate: Sat, 21 Nov 2026 18:20:59 GMT\n";

    fn packed(text: &str) -> Vec<u8> {
        let mut packed = Vec::new();
        pack(text, &mut packed);
        packed
    }

    #[track_caller]
    fn is_lossless(text: &str) {
        let packed = packed(text);
        assert_eq!(unpack(&packed).as_deref(), Some(text), "{packed:02x?}");
        let most = text.len() + text.len() / TEXT + text.matches('\n').count() + 2;
        assert!(packed.len() <= most, "{text:?}: {packed:02x?}");
    }

    /// The packed form is part of the file format.
    #[test]
    fn packed_headers_of_older_files_are_read() {
        let request = "818204302e312e30834f01a1ff57146970f4800000000000752e8544179528525987531cf3\
            027cc1bd871725469c8411e187d3a4b6092d867f9a47036879fd42d136990a0afd094ebe51b6790b301d14d\
            dd00d2951eb28ea6f80";
        assert_eq!(hex::encode(packed(REQUEST)), request);
        assert_eq!(hex::encode(packed(ANSWER)), "9092ff0be1016b80");
        assert_eq!(packed(""), b"");
    }

    #[test]
    fn text_that_is_not_headers_is_lossless() {
        for text in [
            "\n",
            "\n\n\n",
            "x:y",
            ": \n:\n: : :\n",
            "date: Sat, 21 Nov 2026 18:20:59 GMT",
            "date: Sun, 21 Nov 2026 18:20:59 GMT\n",
            "date: Saturday, 21-Nov-26 18:20:59 GMT\ndate: Friday, 20-Nov-26 18:20:59 GMT\n",
            "date: sat, 21 Nov 2026 18:20:59 GMT\ndate: Sat, 31 Feb 2026 18:20:59 GMT\n",
            "date: Sat, 21 Nov 2026 18:20:60 GMT\ndate: Sat, 21-Nov-2026 18:20:59 GMT\n",
            "date:  Sat, 21 Nov 26 18:20:59 GMT\ndate: Sat, 21 Nov 2026 18:20:59 gmt\n",
            "date: Thu, 01 Jan 1970 00:00:00 GMT\ndate: Sun, 07 Feb 2106 06:28:15 GMT\n",
            "date: Wed, 31 Dec 1969 23:59:59 GMT\ndate: Sun, 07 Feb 2106 06:28:16 GMT\n",
            "a: 0123456\nb: 01234567\nc: 012345678\nd: ABCDEF0123\n",
            "a: ABCDEFGHIJKLMNOP==\nb: ABCDEFGHIJKLMNO=\nc: ABCDEFGHIJKLMNOPQ==\n",
            "a: ABCDEFGHIJKLMNOPR==\nb: ABCDEFGHIJKLMNOPQR=\nc: ABCDEFGHIJKLMNOP===\n",
            "a: \u{fffd}\u{fffd}é\nb: 0123456789ab…",
        ] {
            is_lossless(text);
        }
        for length in 0..200 {
            for digit in ["0", "A", "…", "\n", "="] {
                is_lossless(&format!("a: {}=\n", digit.repeat(length)));
            }
        }
    }

    fn pieces() -> impl Strategy<Value = String> {
        let seconds = any::<u32>().prop_map(printed);
        let bytes = || prop::collection::vec(any::<u8>(), 0..70);
        prop_oneof![
            any::<String>(),
            "[ -~]{0,80}",
            "[0-9a-f]{0,140}",
            "[0-9A-Za-z+/]{0,140}={0,3}",
            prop::sample::select(&dictionary::LINES[..]).prop_map(str::to_owned),
            bytes().prop_map(hex::encode),
            bytes().prop_map(|bytes| STANDARD.encode(bytes)),
            seconds,
        ]
    }

    proptest! {
        #[test]
        fn any_text_is_lossless(pieces in prop::collection::vec(pieces(), 0..12)) {
            is_lossless(&pieces.concat());
        }

        #[test]
        fn no_content_of_a_file_panics(packed in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = unpack(&packed);
        }
    }
}
