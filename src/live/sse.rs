//! Server-sent events: encodes a live stream as a `text/event-stream` response. Items are messages with an id;
//! what was missed and the end of the authorization are events of their own. What comes within a moment is sent in
//! one write.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use tokio::time::Instant;

use super::position::Position;
use super::published::{Published, Rendering};
use super::ring::{FeedItem, Missed};
use super::stream::{LiveStream, StreamItem};

/// Disables response buffering in reverse proxies.
const UNBUFFERED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
const EVENT_STREAM: (HeaderName, HeaderValue) =
    (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
const UNCACHED: (HeaderName, HeaderValue) =
    (header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
/// The id of the last item that a returning client got.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The client's reconnection delay, in milliseconds.
const RETRY_MS: u32 = 1_000;
/// The least time between two writes to one client.
const PACE: Duration = Duration::from_millis(50);
/// Bytes of a write, about.
const CHUNK_BYTES: usize = 128 * 1024;

/// The id that a returning client sends.
#[must_use]
pub fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    // An id that is no text is none of ours, and none is empty.
    let id = headers.get(LAST_EVENT_ID)?;
    id.to_str().map_or(Some("?"), |id| (!id.is_empty()).then_some(id))
}

/// The streaming response; `render` gives the data of each item, which depends on nothing but the item.
pub fn response<T: FeedItem>(
    live: LiveStream<T>,
    form: Rendering,
    render: fn(&T) -> String,
) -> Response {
    let sending = Sending { live, form, render, not_before: None };
    let chunks = stream::unfold(sending, |mut sending| async move {
        let chunk = sending.next().await?;
        Some((Ok::<_, Infallible>(chunk), sending))
    });
    ([EVENT_STREAM, UNCACHED, UNBUFFERED], Body::from_stream(chunks)).into_response()
}

struct Sending<T: FeedItem> {
    live: LiveStream<T>,
    form: Rendering,
    render: fn(&T) -> String,
    /// When the next chunk may be sent; none before the first.
    not_before: Option<Instant>,
}

impl<T: FeedItem> Sending<T> {
    /// The next bytes; none at the end.
    async fn next(&mut self) -> Option<Bytes> {
        let Some(not_before) = self.not_before else {
            self.not_before = Some(Instant::now());
            // First, so that the client sees the open stream before the first item.
            let id = id_line(self.live.position());
            return Some(Bytes::from(format!(": watching\nretry: {RETRY_MS}\n{id}\n")));
        };
        let first = self.live.next().await?;
        tokio::time::sleep_until(not_before).await;
        let mut chunk = BytesMut::new();
        let mut next = Some(first);
        while let Some(item) = next {
            chunk.extend_from_slice(&self.frame(item));
            next = if chunk.len() < CHUNK_BYTES { self.live.ready() } else { None };
        }
        self.not_before = Some(Instant::now() + PACE);
        Some(chunk.freeze())
    }

    fn frame(&self, item: StreamItem<T>) -> Bytes {
        match item {
            StreamItem::Item(item) => item.rendered(self.form, |item| message(item, self.render)),
            StreamItem::Missed(missed) => {
                let missed = match missed {
                    Missed::Count(count) => count.to_string(),
                    Missed::Unknown => "\"unknown\"".to_owned(),
                };
                let id = id_line(self.live.position());
                Bytes::from(format!("event: missed\n{id}data: {{\"missed\":{missed}}}\n\n"))
            }
            // With where the stream is: a filter may have let nothing through for long.
            StreamItem::KeepAlive => Bytes::from(format!(":\n{}\n", id_line(self.live.position()))),
            StreamItem::Unauthorized => Bytes::from_static(
                b"event: ended\ndata: {\"because\":\"the token is not in force\"}\n\n",
            ),
        }
    }
}

fn id_line(position: Option<Position>) -> String {
    position.map(|it| format!("id: {it}\n")).unwrap_or_default()
}

/// An item as a message.
fn message<T>(item: &Published<T>, render: fn(&T) -> String) -> Bytes {
    let data = render(&item.item);
    let mut text = String::with_capacity(data.len() + 64);
    // Writing to a String does not fail.
    let _ = writeln!(text, "id: {}", item.position);
    for line in data.split(['\r', '\n']) {
        let _ = writeln!(text, "data: {line}");
    }
    text.push('\n');
    Bytes::from(text)
}

/// An item as JSON on one line.
#[must_use]
pub fn json<T: serde::Serialize>(item: &T) -> String {
    // Views always serialize. Unescaped line breaks only occur between tokens of a raw JSON body,
    // where a space is equivalent.
    serde_json::to_string(item).unwrap_or_default().replace(['\r', '\n'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_one_line_whatever_stands_between_its_tokens() {
        let sent = "{\r\n\"a\":\"x\\r\"\n}".to_owned();
        let raw = serde_json::value::RawValue::from_string(sent).expect("JSON");
        assert_eq!(json(&raw), r#"{  "a":"x\r" }"#);
    }

    #[test]
    fn each_line_of_a_message_is_a_line_of_its_data() {
        let position = Position { epoch: 1, recording: 2, number: 3 };
        let item = Published::new(position, "one\ntwo\rthree\n\nid: 7");
        let bytes = message(&item, |text| (*text).to_owned());
        let expected = "id: 0000000000000001-2-3\ndata: one\ndata: two\ndata: three\ndata: \n\
                        data: id: 7\n\n";
        assert_eq!(bytes, expected);
    }
}
