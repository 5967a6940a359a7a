//! Server-sent events: encodes a live stream as a `text/event-stream` response. Items are messages;
//! lagging and the end of the authorization are events of their own.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};

use super::stream::{LiveStream, StreamItem};

/// Disables response buffering in reverse proxies.
const UNBUFFERED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

/// The client's reconnection delay.
const RETRY: Duration = Duration::from_secs(1);

/// The streaming response; `render` gives the data of each item.
pub fn response<T: 'static>(
    live: LiveStream<T>,
    render: impl Fn(&T) -> String + Clone + Send + 'static,
) -> Response {
    // A comment first, so that the client sees the open stream before the first item.
    let first = Event::default().comment("watching").retry(RETRY);
    let opened = stream::once(std::future::ready(first));
    let items = stream::unfold((live, render), |(mut live, render)| async move {
        let item = live.next().await?;
        Some((event(item, &render), (live, render)))
    });
    let events = opened.chain(items).map(Ok::<_, Infallible>);
    ([UNBUFFERED], Sse::new(events)).into_response()
}

fn event<T>(item: StreamItem<T>, render: impl Fn(&T) -> String) -> Event {
    match item {
        StreamItem::Item(item) => Event::default().data(render(&item)),
        StreamItem::Lagged(missed) => {
            Event::default().event("missed").data(format!("{{\"missed\":{missed}}}"))
        }
        StreamItem::KeepAlive => Event::default().comment(""),
        StreamItem::Unauthorized => {
            Event::default().event("ended").data(r#"{"because":"the token is not in force"}"#)
        }
    }
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
    #[test]
    fn json_is_one_line_whatever_stands_between_its_tokens() {
        let sent = "{\r\n\"a\":\"x\\r\"\n}".to_owned();
        let raw = serde_json::value::RawValue::from_string(sent).expect("JSON");
        assert_eq!(super::json(&raw), r#"{  "a":"x\r" }"#);
    }
}
