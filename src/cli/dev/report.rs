//! `dev`'s report: the deliveries of each sample, and commands to try next.

use std::net::SocketAddr;
use std::path::Path;

use serde::Serialize;
use tempfile::TempDir;

use super::arrivals::Arrivals;
use super::heading;
use super::samples::{Sample, Setup};
use crate::cli::output::Output;
use crate::domain::attempt::{Attempt, Outcome};
use crate::domain::delivery::State;
use crate::domain::id::{Noun, PublicId};
use crate::server::App;
use crate::settings::Settings;
use crate::store::DeliveryRow;

/// The deliveries of the samples.
#[derive(Serialize)]
pub(super) struct Report {
    events: Vec<EventReport>,
    delivered: usize,
    of: usize,
}

#[derive(Serialize)]
struct EventReport {
    #[serde(rename = "type")]
    kind: String,
    message_id: String,
    deliveries: Vec<DeliveryReport>,
}

#[derive(Serialize)]
struct DeliveryReport {
    id: String,
    destination: &'static str,
    state: &'static str,
    attempts: Vec<String>,
    took_ms: u128,
    arrivals: usize,
    verified: bool,
}

impl Report {
    /// Joins the store's records and the receiver's requests.
    pub(super) async fn make(
        app: &App,
        samples: &[Sample],
        rows: &[DeliveryRow],
        arrivals: &Arrivals,
    ) -> anyhow::Result<Self> {
        let mut report = Self { events: Vec::new(), delivered: 0, of: rows.len() };
        for sample in samples {
            let mut deliveries = Vec::new();
            for row in rows.iter().filter(|row| row.message_id == sample.message_id) {
                let attempts = app.store.attempts_of(row.delivery.id).await?;
                deliveries.push(delivery_report(row, &attempts, arrivals));
            }
            let well = |it: &&DeliveryReport| it.verified && it.state == State::Delivered.as_str();
            report.delivered += deliveries.iter().filter(well).count();
            report.events.push(EventReport {
                kind: sample.kind.clone(),
                message_id: sample.message_id.clone(),
                deliveries,
            });
        }
        Ok(report)
    }

    /// Whether every delivery arrived with valid signatures.
    pub(super) const fn all_well(&self) -> bool {
        self.delivered == self.of && self.of > 0
    }

    /// Prints it.
    pub(super) fn print(&self, out: &mut Output, settings: &Settings) -> std::io::Result<()> {
        if out.is_json() {
            return out.json(self);
        }
        heading(
            out,
            "Postrider took one event of each type and delivered it to two destinations.",
        )?;
        out.line(format!("(a temporary database, {})", settings.database.shown()))?;
        for event in &self.events {
            out.line("")?;
            heading(out, &event.kind)?;
            out.line(format!(
                "  accepted   {}: on disk before the sender got its 200",
                event.message_id
            ))?;
            for delivery in &event.deliveries {
                out.line(format!(
                    "  {:10} {} to {}: {} in {} ms, {}",
                    delivery.state,
                    delivery.id,
                    delivery.destination,
                    delivery.attempts.join(", then "),
                    delivery.took_ms,
                    if delivery.verified { "signature verified" } else { "signature NOT verified" },
                ))?;
            }
        }
        out.line("")?;
        heading(out, &format!("{} of {} delivered and verified.", self.delivered, self.of))
    }
}

fn delivery_report(row: &DeliveryRow, attempts: &[Attempt], arrivals: &Arrivals) -> DeliveryReport {
    let delivery = &row.delivery;
    let id = PublicId::new(Noun::Delivery, delivery.accepted_at, delivery.id.0).to_string();
    let (verified, count) = arrivals.of(&id);
    let flaky = attempts.iter().any(|it| it.result.url.ends_with(super::FLAKY_PATH));
    let settled_at = delivery.settled_at.unwrap_or(delivery.accepted_at);
    DeliveryReport {
        id,
        destination: if flaky { "flaky" } else { "steady" },
        state: delivery.state.as_str(),
        attempts: attempts.iter().map(attempt_words).collect(),
        took_ms: settled_at.since(delivery.accepted_at).as_millis(),
        arrivals: count,
        verified,
    }
}

fn attempt_words(attempt: &Attempt) -> String {
    match (attempt.result.outcome, attempt.result.status) {
        (Outcome::Delivered, Some(status)) => format!("{status}"),
        (outcome, Some(status)) => format!("{status} ({})", outcome.as_str()),
        (outcome, None) => outcome.as_str().to_owned(),
    }
}

/// Prints commands to try while the service runs.
pub(super) fn invite(
    out: &mut Output,
    dir: &TempDir,
    setup: &Setup,
    address: SocketAddr,
    first: Option<&DeliveryRow>,
) -> std::io::Result<()> {
    if out.is_json() {
        return Ok(());
    }
    let program = std::env::args().next().unwrap_or_else(|| "postrider".to_owned());
    let config = dir.path().join("postrider.toml");
    let this = |words: &str| format!("  {} --config {} {words}", quoted(&program), shown(&config));
    out.line("")?;
    heading(out, &format!("It runs at http://{address} until Ctrl-C. Try in another terminal:"))?;
    let write_key = setup.write_key();
    out.line(format!(
        "  curl -u {write_key}: -H 'Content-Type: application/json' \
         -d '{{\"event\":\"Signed Up\",\"userId\":\"u1\"}}' http://{address}/v1/track"
    ))?;
    out.line(this(&format!("send track --event 'Signed Up' --write-key {write_key}")))?;
    out.line(this("deliveries"))?;
    if let Some(row) = first {
        let delivery = &row.delivery;
        let id = PublicId::new(Noun::Delivery, delivery.accepted_at, delivery.id.0);
        out.line(this(&format!("deliveries {id}")))?;
    }
    out.line(format!("  curl -d '{{\"hello\":\"inspector\"}}' http://{address}/inspect/try"))?;
    out.line(this("inspect try"))?;
    out.line(this("dead"))?;
    out.line(this("doctor"))?;
    out.line(format!("  curl http://{address}/metrics"))?;
    out.line("")?;
    heading(out, "What arrives at the built-in receiver is shown here:")
}

fn shown(path: &Path) -> String {
    quoted(&path.display().to_string())
}

/// Quoted for a shell.
fn quoted(word: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "/._-+".contains(char);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
