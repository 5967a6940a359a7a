//! Live lines as server-sent events: each thing is a message, what was missed is an event of its own.

use std::convert::Infallible;

use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;

use crate::desk::live::{LiveLine, LiveLines};

/// The answer that goes on for as long as there are lines and a reader.
pub(super) fn answer(lines: LiveLines) -> Response {
    // The first line is empty, so that the reader knows at once that it is heard.
    let opened = stream::once(std::future::ready(Event::default().comment("watching")));
    let lines = stream::unfold(lines, |mut lines| async move {
        let line = lines.next().await?;
        Some((event(line), lines))
    });
    let events = futures_util::StreamExt::chain(opened, lines);
    Sse::new(futures_util::StreamExt::map(events, Ok::<_, Infallible>)).into_response()
}

fn event(line: LiveLine) -> Event {
    match line {
        LiveLine::Thing(json) => Event::default().data(json),
        LiveLine::Missed(missed) => {
            Event::default().event("missed").data(format!("{{\"missed\":{missed}}}"))
        }
        LiveLine::Quiet => Event::default().comment(""),
    }
}
