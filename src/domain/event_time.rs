//! When an event happened: the times of a message in the forms in which senders write them, corrected for the skew
//! of the sender's clock.

use std::borrow::Cow;

use jiff::civil;
use jiff::fmt::{rfc2822, strtime};
use jiff::tz::TimeZone;

use crate::domain::clock::Timestamp;
use crate::json::{self, Object, Value};

const NANOSECOND_DIGITS: usize = 9;
const SECOND: i64 = 1_000_000;
const DAY: i64 = 24 * 60 * 60 * SECOND;
/// A sender's clock that is off by less is taken for right.
const MAX_SKEW: i64 = DAY;
/// How long before `sentAt` an event may have happened by a clock that is wrong, or after it.
const MAX_AGE: i64 = 366 * DAY;
/// Times before the year 2 are the zero times of languages, and mean that no time was set.
const YEAR_2: Timestamp = Timestamp::from_micros(-62_104_060_800 * SECOND);
/// Numbers below are no times: as seconds they are before March 1973.
const MIN_EPOCH: f64 = 1e8;
/// From each of these on, a number counts a unit a thousand times smaller than the one before.
const UNITS: [(f64, f64); 4] = [(1e11, 1e6), (1e14, 1e3), (1e17, 1.0), (1e20, 1e-3)];

/// When an event happened.
#[derive(Clone, Debug, PartialEq)]
pub struct EventTime<'d> {
    /// By this service's clock.
    pub corrected: Timestamp,
    /// What was not as it should be.
    pub fault: Option<TimeFault<'d>>,
}

/// Why a time was not used as the sender gave it.
#[derive(Clone, Debug, PartialEq)]
pub enum TimeFault<'d> {
    /// The message's time is in no known form, or is a zero time: the event happened when it was received.
    Timestamp(&'d Value<'d>),
    /// `sentAt` is in no known form: the sender's clock is trusted.
    SentAt(&'d Value<'d>),
    /// By `sentAt` the sender's clock is off, and the event happened long before or after it: it happened when it was
    /// received.
    Skew(&'d Value<'d>),
}

impl std::fmt::Display for TimeFault<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Timestamp(given) => write!(
                out,
                "its timestamp {} is no time that can be read: the time of receipt is used",
                json::to_string(given)
            ),
            Self::SentAt(given) => write!(
                out,
                "its sentAt {} is no time that can be read: its timestamp is not corrected for clock skew",
                json::to_string(given)
            ),
            Self::Skew(given) => write!(
                out,
                "its sentAt {} implies an implausible clock skew: the time of receipt is used",
                json::to_string(given)
            ),
        }
    }
}

impl<'d> EventTime<'d> {
    /// Of a message with this time (`timestamp`, or `originalTimestamp` where it has none) and its `sentAt`.
    #[must_use]
    pub fn of(
        original: Option<&'d Value<'d>>,
        sent_at: Option<&'d Value<'d>>,
        received_at: Timestamp,
    ) -> Self {
        let receipt = |fault| Self { corrected: received_at, fault };
        let Some(original) = original else { return receipt(None) };
        let Some(happened_at) = read_time(original).filter(|at| !is_zero(*at)) else {
            return receipt(Some(TimeFault::Timestamp(original)));
        };
        let Some(given) = sent_at else { return Self { corrected: happened_at, fault: None } };
        match read_time(given) {
            None => Self { corrected: happened_at, fault: Some(TimeFault::SentAt(given)) },
            Some(sent_at) => match correct(happened_at, sent_at, received_at) {
                Some(corrected) => Self { corrected, fault: None },
                None => receipt(Some(TimeFault::Skew(given))),
            },
        }
    }

    /// Of a composed document, which has `originalTimestamp`.
    #[must_use]
    pub fn of_document(document: &'d Object<'d>, received_at: Timestamp) -> Self {
        let given = |key| document.get(key).filter(|value| !value.is_null());
        Self::of(given("originalTimestamp"), given("sentAt"), received_at)
    }
}

/// Corrects an event's time for clock skew: `received_at - (sent_at - happened_at)`. None where that is implausible.
#[must_use]
pub fn correct(
    happened_at: Timestamp,
    sent_at: Timestamp,
    received_at: Timestamp,
) -> Option<Timestamp> {
    let age = sent_at.as_micros().saturating_sub(happened_at.as_micros());
    let skew = received_at.as_micros().saturating_sub(sent_at.as_micros());
    if skew.saturating_abs() > MAX_SKEW && age.saturating_abs() > MAX_AGE {
        return None;
    }
    let corrected = received_at.shifted(age.saturating_neg());
    // Within the range of printable times.
    jiff::Timestamp::from_microsecond(corrected.as_micros()).is_ok().then_some(corrected)
}

fn is_zero(at: Timestamp) -> bool {
    at < YEAR_2 || at.as_micros() == 0
}

fn read_time(value: &Value<'_>) -> Option<Timestamp> {
    match value {
        Value::String(text) => parse_time(&text.plain()),
        Value::Number(number) => of_epoch(*number),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A time since 1970 in seconds, milliseconds, microseconds or nanoseconds, told by its size.
fn of_epoch(number: f64) -> Option<Timestamp> {
    if number < MIN_EPOCH {
        return None;
    }
    let (_, micros) = UNITS.into_iter().find(|(below, _)| number < *below)?;
    #[expect(clippy::cast_possible_truncation, reason = "at most 1e17, and rounded")]
    Some(Timestamp::from_micros((number * micros).round() as i64))
}

/// Parses a time: ISO 8601 and RFC 3339 with any fraction, RFC 2822, HTTP dates, the text forms of Go, Ruby, Python,
/// Java and JavaScript, or a number of seconds or less since 1970. Without an offset it is UTC; a date alone is its
/// midnight.
#[must_use]
pub fn parse_time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    of_iso(text)
        .or_else(|| of_words(text))
        .or_else(|| text.parse().ok().and_then(of_epoch))
        .or_else(|| of_internet(text))
        .or_else(|| of_day_names(text))
}

fn of_iso(text: &str) -> Option<Timestamp> {
    let text = &*with_nanoseconds(text);
    Timestamp::parse_iso(text).or_else(|| {
        let civil = text.parse::<civil::DateTime>().ok()?;
        of_jiff(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
    })
}

/// A text without the digits of its fraction beyond nanoseconds.
fn with_nanoseconds(text: &str) -> Cow<'_, str> {
    let Some((whole, rest)) = text.split_once('.') else { return Cow::Borrowed(text) };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    if digits <= NANOSECOND_DIGITS {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{whole}.{}{}", &rest[..NANOSECOND_DIGITS], &rest[digits..]))
}

/// Date, time and offset between spaces, as Go and Ruby print them: `2024-03-05 10:00:00.5 +0000 UTC m=+0.1`.
fn of_words(text: &str) -> Option<Timestamp> {
    let mut words = text.split_whitespace();
    let (date, time, offset) = (words.next()?, words.next()?, words.next()?);
    let offset = if matches!(offset, "UTC" | "GMT" | "Z") { "+00:00" } else { offset };
    of_iso(&format!("{}T{time}{offset}", date.replace('/', "-")))
}

/// RFC 2822, and the three dates of HTTP.
fn of_internet(text: &str) -> Option<Timestamp> {
    const PARSER: rfc2822::DateTimeParser = rfc2822::DateTimeParser::new().relaxed_weekday(true);
    if let Ok(at) = PARSER.parse_timestamp(text) {
        return of_jiff(at);
    }
    let since = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp::from_micros(i64::try_from(since.as_micros()).ok()?))
}

/// What begins with the name of a day: JavaScript's and Java's dates, and that of the command `date`.
fn of_day_names(text: &str) -> Option<Timestamp> {
    let text = text.split(" (").next().unwrap_or(text).replace("UTC", "GMT");
    let with_offset = strtime::parse("%a %b %d %Y %H:%M:%S GMT%z", &text);
    if let Ok(at) = with_offset.and_then(|it| it.to_timestamp()) {
        return of_jiff(at);
    }
    let utc = strtime::parse("%a %b %e %H:%M:%S GMT %Y", &text).and_then(|it| it.to_datetime());
    of_jiff(utc.ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

fn of_jiff(at: jiff::Timestamp) -> Option<Timestamp> {
    Some(Timestamp::from_micros(at.as_microsecond()))
}
