//! Live lines as server-sent events, for whichever door they go out of: each thing is a message; what
//! was missed and the end of what let the reader in are events of their own.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};

use crate::service::live::{LiveLine, LiveLines};

/// Tells a proxy between not to wait until there is more.
const UNBUFFERED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

/// How long a reader that was cut off waits before it asks again.
const RETRY: Duration = Duration::from_secs(1);

/// The answer that goes on for as long as there are lines and a reader, each thing in this form.
pub fn answer<T: 'static>(
    lines: LiveLines<T>,
    show: impl Fn(&T) -> String + Clone + Send + 'static,
) -> Response {
    // The first line says nothing, so that the reader knows at once that it is heard.
    let first = Event::default().comment("watching").retry(RETRY);
    let opened = stream::once(std::future::ready(first));
    let lines = stream::unfold((lines, show), |(mut lines, show)| async move {
        let line = lines.next().await?;
        Some((event(line, &show), (lines, show)))
    });
    let events = opened.chain(lines).map(Ok::<_, Infallible>);
    ([UNBUFFERED], Sse::new(events)).into_response()
}

fn event<T>(line: LiveLine<T>, show: impl Fn(&T) -> String) -> Event {
    match line {
        LiveLine::Thing(thing) => Event::default().data(show(&thing)),
        LiveLine::Missed(missed) => {
            Event::default().event("missed").data(format!("{{\"missed\":{missed}}}"))
        }
        LiveLine::Quiet => Event::default().comment(""),
        LiveLine::Ended => {
            Event::default().event("ended").data(r#"{"because":"the token is not in force"}"#)
        }
    }
}

/// A thing as JSON, in one line.
#[must_use]
pub fn json<T: serde::Serialize>(thing: &T) -> String {
    // Nothing in it can fail to be written. Line ends that are not escaped stand between the tokens
    // of what was sent, where a blank says the same.
    serde_json::to_string(thing).unwrap_or_default().replace(['\r', '\n'], " ")
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
