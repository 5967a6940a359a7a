//! `events --follow`: events as they are accepted. After a lost connection it continues where it was, and says what
//! it missed.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use super::client::Client;
use super::failure::{Failure, exit};
use super::output::{Output, or_dash, plain};
use super::server_sent_events::{EventReader, ServerSentEvent};
use crate::service::event_view::EventView;

/// The pause before a new connection.
const RECONNECT: Duration = Duration::from_secs(1);

/// Shows events until Ctrl-C.
pub(super) async fn follow(
    client: &Client,
    out: &mut Output,
    source: Option<&str>,
) -> anyhow::Result<()> {
    let following = run(client, out, source);
    tokio::select! {
        ended = following => ended,
        stop = tokio::signal::ctrl_c() => Ok(stop?),
    }
}

async fn run(client: &Client, out: &mut Output, source: Option<&str>) -> anyhow::Result<()> {
    let mut reader = EventReader::default();
    let mut is_first = true;
    loop {
        let last_id = reader.end().map(str::to_owned);
        match client.events(source, last_id.as_deref()).await {
            Ok(mut stream) => {
                is_first = false;
                while let Ok(Some(bytes)) = stream.next().await {
                    for event in reader.read(&bytes) {
                        show(out, &event)?;
                    }
                }
            }
            Err(error) if is_first || !is_passing(&error) => return Err(error),
            Err(_unreachable) => {}
        }
        out.remark("disconnected: connecting again")?;
        tokio::time::sleep(RECONNECT).await;
    }
}

/// Whether a new connection may get through: the service is down or starts.
fn is_passing(error: &anyhow::Error) -> bool {
    let refused = error.downcast_ref::<super::client::Refused>();
    refused.is_none_or(|refused| refused.0.status == StatusCode::SERVICE_UNAVAILABLE.as_u16())
}

fn show(out: &mut Output, event: &ServerSentEvent) -> anyhow::Result<()> {
    match event.kind.as_str() {
        "missed" if !out.is_json() => {
            let data: Value = serde_json::from_str(&event.data)?;
            Ok(out.line(match data["missed"].as_u64() {
                Some(missed) => format!("missed {missed} events"),
                None => "some events may be missed: postrider events lists them".to_owned(),
            })?)
        }
        "ended" => {
            let data: Value = serde_json::from_str(&event.data)?;
            let why = data["because"].as_str().unwrap_or("the stream has ended");
            Err(Failure::new(exit::FAILED, why).into())
        }
        _ if out.is_json() => Ok(out.line(&event.data)?),
        _ => {
            let view: EventView = serde_json::from_str(&event.data)?;
            let rejected = view.rejection.map(|why| format!("  rejected: {why}"));
            let line = format!(
                "{}  {}  {}  {}  {}  {}{}",
                view.received_at,
                view.id,
                or_dash(view.source),
                or_dash(view.kind),
                or_dash(view.name),
                or_dash(view.user_id),
                rejected.unwrap_or_default()
            );
            Ok(out.line(plain(&line))?)
        }
    }
}
