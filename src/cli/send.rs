//! `send`: sends events to intake with a source's write key.

use std::io::{BufRead, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};

use super::client::base_url;
use super::failure::{Failure, exit};
use super::globals::Globals;
use crate::domain::event::EventType;
use crate::json::{self, RawJson};
use crate::sender::{ApiClient, ApiClientError};
use crate::settings::SettingFlags;

/// Maximum messages of a request.
const BATCH_MESSAGES: usize = 250;
/// Maximum bytes of messages of a request.
const BATCH_BYTES: usize = 400 * 1024;

/// Send events to intake.
#[derive(Debug, clap::Args)]
pub struct SendArgs {
    /// The event's type: track, identify, page, screen, group, alias or delete
    #[arg(default_value = "track", value_parser = event_type)]
    kind: EventType,
    /// The source's write key
    #[arg(long, env = "POSTRIDER_WRITE_KEY", hide_env_values = true)]
    write_key: String,
    /// The event's name, for track; the page's or screen's
    #[arg(long, short, default_value = "Test Event")]
    event: String,
    /// The user's id
    #[arg(long, default_value = "test-user")]
    user_id: String,
    /// Properties as a JSON object; traits, for identify and group
    #[arg(long, value_name = "JSON", value_parser = object)]
    properties: Option<RawJson>,
    /// For group: the group's id
    #[arg(long, default_value = "test-group")]
    group_id: String,
    /// For alias: the previous id
    #[arg(long, default_value = "test-previous")]
    previous_id: String,
    /// Send it this many times
    #[arg(long, default_value_t = 1, conflicts_with = "file")]
    count: u64,
    /// Send the messages of a file instead, a JSON object a line; - for stdin
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

fn event_type(word: &str) -> Result<EventType, String> {
    EventType::parse(word).ok_or_else(|| {
        format!("should be one of {}", EventType::ALL.map(EventType::as_str).join(", "))
    })
}

fn object(text: &str) -> Result<RawJson, String> {
    let raw = RawJson::of(text).map_err(|error| format!("should be a JSON object: {error}"))?;
    if raw.value().as_object().is_none() {
        return Err("should be a JSON object".to_owned());
    }
    Ok(raw)
}

impl SendArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When a message is not JSON, or intake cannot be reached or refuses.
    pub async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let settings = globals.settings(&SettingFlags::default())?.settings;
        let base = base_url(globals, &settings);
        let mut intake = Intake::new(&base, &self.write_key)?;
        let sent = match &self.file {
            Some(path) => intake.file(path).await?,
            None => intake.repeat(&serde_json::to_string(&self.message())?, self.count).await?,
        };
        let mut out = globals.output();
        if out.is_json() {
            out.json(&json!({ "sent": sent }))?;
        } else {
            out.line(format!("{sent} accepted by {base}"))?;
            out.remark("see what became of them: postrider deliveries")?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn message(&self) -> Message<'_> {
        let mut message =
            Message { kind: self.kind.as_str(), user_id: &self.user_id, ..Message::default() };
        message.properties = self.properties.as_ref();
        match self.kind {
            EventType::Track => message.event = Some(&self.event),
            EventType::Page | EventType::Screen => message.name = Some(&self.event),
            EventType::Group => {
                message.group_id = Some(&self.group_id);
                message.traits = message.properties.take();
            }
            EventType::Identify => message.traits = message.properties.take(),
            EventType::Alias => message.previous_id = Some(&self.previous_id),
            EventType::Delete => {}
        }
        message
    }
}

/// A message of the tracking API.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    user_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<&'a RawJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traits: Option<&'a RawJson>,
}

/// Sends batches to intake.
struct Intake {
    client: ApiClient,
    headers: HeaderMap,
    batch: Vec<String>,
    bytes: usize,
    sent: u64,
    bar: ProgressBar,
}

impl Intake {
    fn new(base: &str, write_key: &str) -> anyhow::Result<Self> {
        let client = ApiClient::new(base, None)
            .map_err(|error| Failure::usage(error.to_string()).because(error))?;
        let credentials = STANDARD.encode(format!("{write_key}:"));
        let mut authorization = HeaderValue::try_from(format!("Basic {credentials}"))?;
        authorization.set_sensitive(true);
        let headers = HeaderMap::from_iter([
            (AUTHORIZATION, authorization),
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        ]);
        let bar = ProgressBar::no_length();
        if let Ok(style) = ProgressStyle::with_template("sending {pos} {per_sec}") {
            bar.set_style(style);
        }
        Ok(Self { client, headers, batch: Vec::new(), bytes: 0, sent: 0, bar })
    }

    async fn repeat(&mut self, message: &str, count: u64) -> anyhow::Result<u64> {
        for _ in 0..count {
            self.add(message.to_owned()).await?;
        }
        self.finish().await
    }

    async fn file(&mut self, path: &Path) -> anyhow::Result<u64> {
        let stdin = path == Path::new("-");
        let name = if stdin { "stdin".to_owned() } else { path.display().to_string() };
        let failed = |error| Failure::usage(format!("{name} cannot be read")).because(error);
        let input: Box<dyn std::io::Read> = if stdin {
            Box::new(std::io::stdin())
        } else {
            Box::new(std::fs::File::open(path).map_err(failed)?)
        };
        let mut lines = std::io::BufReader::new(input);
        let mut number = 0u64;
        loop {
            let mut line = String::new();
            // A line longer than a batch cannot be sent, and must not fill the memory.
            let read =
                lines.by_ref().take(BATCH_BYTES as u64 + 1).read_line(&mut line).map_err(failed)?;
            if read == 0 {
                break;
            }
            number += 1;
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let wrong = || {
                Failure::usage(format!("{name}:{number}: not a JSON object"))
                    .hint(format!("{} messages before it were accepted", self.sent))
            };
            let message = json::parse(line.as_bytes()).map_err(|error| wrong().because(error))?;
            if message.as_object().is_none() {
                return Err(wrong().into());
            }
            self.add(line.to_owned()).await?;
        }
        self.finish().await
    }

    async fn add(&mut self, message: String) -> anyhow::Result<()> {
        if self.batch.len() == BATCH_MESSAGES || self.bytes + message.len() > BATCH_BYTES {
            self.flush().await?;
        }
        self.bytes += message.len() + 1;
        self.batch.push(message);
        Ok(())
    }

    async fn finish(&mut self) -> anyhow::Result<u64> {
        self.flush().await?;
        self.bar.finish_and_clear();
        Ok(self.sent)
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let body = format!("{{\"batch\":[{}]}}", self.batch.join(","));
        let answer = self
            .client
            .post_bytes("/v1/batch", self.headers.clone(), Bytes::from(body))
            .await
            .map_err(|error| self.unreachable(error))?;
        if answer.status != StatusCode::OK {
            return Err(self.refused(answer.status, &answer.json()).into());
        }
        self.sent += self.batch.len() as u64;
        self.bar.set_position(self.sent);
        self.batch.clear();
        self.bytes = 0;
        Ok(())
    }

    fn unreachable(&self, error: ApiClientError) -> Failure {
        let hint = "start it with: postrider serve; or name another address with --url";
        Failure::new(exit::UNREACHABLE, error.to_string()).because(error).hint(if self.sent == 0 {
            hint.to_owned()
        } else {
            format!("{} were accepted before", self.sent)
        })
    }

    fn refused(&self, status: StatusCode, body: &Value) -> Failure {
        let why = body.get("message").and_then(Value::as_str).unwrap_or_default();
        let hint = match status.as_u16() {
            401 => "the write key is no source's: postrider apply sets it".to_owned(),
            429 | 503 | 507 => {
                format!("{} were accepted; send the rest later", self.sent)
            }
            _ => format!("{} were accepted before", self.sent),
        };
        let code =
            if status == StatusCode::UNAUTHORIZED { exit::UNREACHABLE } else { exit::FAILED };
        Failure::new(code, format!("intake answers {status}: {why}")).hint(hint)
    }
}
