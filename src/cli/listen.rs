//! `listen`: a receiver that prints requests, verifies their signatures, and answers with scripted
//! statuses to exercise retries.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anstyle::Style;
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use super::failure::Failure;
use super::globals::Globals;
use super::output::{Output, plain};
use crate::domain::clock::SystemClock;
use crate::inspector::{Arrival, ListenError, Receiver, ReceiverOptions, Script, Verdict};
use crate::json;

/// Longer bodies are cut.
const SHOWN_BYTES: usize = 16 * 1024;

/// Receive deliveries, verify their signatures and show them; --answer simulates failures
#[derive(Debug, clap::Args)]
pub struct ListenArgs {
    /// Address to listen on; port 0 takes any free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9000")]
    listen: String,
    /// Port to listen on, at 127.0.0.1
    #[arg(long, value_name = "PORT", conflicts_with = "listen")]
    port: Option<u16>,
    /// Shared secret to verify signatures with; other users of the machine can see it: prefer
    /// --secret-env
    #[arg(long, value_name = "SECRET", conflicts_with = "secret_env")]
    secret: Vec<String>,
    /// Variable that holds the shared secret; give it twice while a secret is being rotated
    #[arg(long, value_name = "NAME")]
    secret_env: Vec<String>,
    /// Statuses to answer in turn, then the last one: 503,503,200
    #[arg(long, value_name = "STATUS,…", default_value = "200")]
    answer: Script,
    /// Delay of each answer, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    delay_ms: u64,
    /// Stop after this many requests
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
    /// Show headers
    #[arg(long)]
    headers: bool,
}

impl ListenArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When the address cannot be listened on or a secret is missing.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let listen = self.port.map_or(self.listen.clone(), |port| format!("127.0.0.1:{port}"));
        let options = ReceiverOptions {
            secrets: self.secrets()?,
            script: self.answer.clone(),
            delay: Duration::from_millis(self.delay_ms),
            ..ReceiverOptions::default()
        };
        let checks = !options.secrets.is_empty();
        let clock = Arc::new(SystemClock::new());
        let mut receiver = Receiver::start(&listen, options, clock).await.map_err(in_use)?;
        let mut shown = View::new(globals, self.headers);
        shown.opening(&receiver, checks)?;
        let mut left = self.count.unwrap_or(u64::MAX);
        while left > 0 {
            let arrival = tokio::select! {
                arrival = receiver.next() => arrival,
                stop = tokio::signal::ctrl_c() => { stop?; None }
            };
            let Some(arrival) = arrival else { break };
            shown.arrival(&arrival)?;
            left -= 1;
        }
        receiver.stop().await;
        Ok(ExitCode::SUCCESS)
    }

    fn secrets(&self) -> anyhow::Result<Vec<SecretString>> {
        let from_environment = self.secret_env.iter().map(|name| {
            std::env::var(name).ok().filter(|value| !value.is_empty()).ok_or_else(|| {
                Failure::usage(format!("--secret-env: the variable {name} is not set"))
                    .hint(format!("export {name}=… before the command"))
            })
        });
        let mut secrets: Vec<String> = from_environment.collect::<Result<_, _>>()?;
        secrets.extend(self.secret.iter().cloned());
        Ok(secrets.into_iter().map(SecretString::from).collect())
    }
}

fn in_use(error: ListenError) -> Failure {
    Failure::usage(error.to_string())
        .hint("choose another with --port; port 0 takes any free one")
        .because(error)
}

/// Requests as text, or with `--json` one object a line.
struct View {
    output: Output,
    for_people: bool,
    headers: bool,
}

impl View {
    fn new(globals: &Globals, headers: bool) -> Self {
        let output = globals.output();
        let for_people = output.is_terminal() && !output.is_json();
        Self { output, for_people, headers }
    }

    fn opening(&mut self, receiver: &Receiver, checks: bool) -> std::io::Result<()> {
        let address = receiver.address();
        if !self.for_people {
            let opening = json!({ "listening": format!("http://{address}") });
            return self.output.line(opening.to_string());
        }
        let checked = if checks { "" } else { "; signatures are not checked without a --secret" };
        self.output.line(format!("listening on http://{address}{checked}; stop with Ctrl-C"))
    }

    fn arrival(&mut self, arrival: &Arrival) -> std::io::Result<()> {
        if self.for_people {
            let text = described(arrival, self.headers);
            self.output.line(text)
        } else {
            self.output.line(to_json(arrival).to_string())
        }
    }
}

fn described(arrival: &Arrival, headers: bool) -> String {
    let faint = Style::new().dimmed();
    let id = arrival.webhook_id().unwrap_or("no webhook-id");
    let batch = arrival.batch_size().map(|it| format!(" with {it} events")).unwrap_or_default();
    let mut text = format!(
        "\n{faint}{}{faint:#} {} {}  {}{batch}, arrival {}, answered {}\n  X-Signature {}  webhook-signature {}\n",
        arrival.arrived_at,
        arrival.method,
        plain(&arrival.path),
        plain(id),
        arrival.tried,
        arrival.answered.as_u16(),
        verdict(arrival.signature),
        verdict(arrival.standard),
    );
    if headers {
        for (name, value) in &arrival.headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            // Writing to a String does not fail.
            let _ = writeln!(text, "  {faint}{name}: {}{faint:#}", plain(&value));
        }
    }
    for line in pretty(&arrival.body).lines() {
        let _ = writeln!(text, "  {}", plain(line));
    }
    text
}

fn verdict(verdict: Verdict) -> String {
    use anstyle::AnsiColor::{Green, Red, Yellow};
    let colour = match verdict {
        Verdict::Verified => Some(Green),
        Verdict::Wrong => Some(Red),
        Verdict::Stale => Some(Yellow),
        Verdict::Absent | Verdict::Unchecked => None,
    };
    let style = Style::new().fg_color(colour.map(Into::into));
    format!("{style}{}{style:#}", verdict.as_str())
}

fn pretty(body: &[u8]) -> String {
    let text = match json::parse(body) {
        Ok(value) => json::to_string_indented(&value),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    match text.char_indices().map(|(at, _)| at).find(|at| *at >= SHOWN_BYTES) {
        Some(end) => {
            format!("{}\n… {} bytes in all", text.get(..end).unwrap_or_default(), body.len())
        }
        None => text,
    }
}

fn to_json(arrival: &Arrival) -> Value {
    let headers: Map<String, Value> = arrival
        .headers
        .iter()
        .map(|(name, value)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned().into())
        })
        .collect();
    json!({
        "arrived_at": arrival.arrived_at.to_iso(),
        "method": arrival.method.as_str(),
        "path": arrival.path,
        "webhook_id": arrival.webhook_id(),
        "tried": arrival.tried,
        "answered": arrival.answered.as_u16(),
        "signature": arrival.signature.as_str(),
        "standard": arrival.standard.as_str(),
        "verified": arrival.is_verified(),
        "batch_size": arrival.batch_size(),
        "headers": headers,
        // As text: the exact bytes that were signed.
        "body": String::from_utf8_lossy(&arrival.body),
    })
}
