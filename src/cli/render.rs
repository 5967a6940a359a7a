//! `render`: renders mappings offline. For each JSON line in, one out: whether the mapping matches, and
//! the request. Compiles, matches and renders as the service does; sends nothing.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, BufWriter, Read as _, Write as _};
use std::process::ExitCode;
use std::rc::Rc;

use bytes::Bytes;
use http::header::USER_AGENT;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::failure::{Failure, exit};
use super::globals::Globals;
use crate::domain::error_chain;
use crate::domain::mapping::MappingDefinition;
use crate::json;
use crate::mapping::{CompiledMapping, Fault, RenderError};
use crate::sender::x_signature;
use crate::settings::Settings;

/// The longest line, in bytes.
const MAX_LINE: u64 = 16 * 1024 * 1024;
/// The size of the cache of compiled mappings.
const KEPT: usize = 1_024;
/// The URL of a mapping without one.
const DEFAULT_URL: &str = "https://example.com";

const AFTER_HELP: &str = "\
Each line of stdin is an object:
  {\"mapping\": {\"trigger\": …, \"url\": …, \"method\": …, \"headers\": …, \"data\": …},
   \"event\": {…}, \"shared_secret\": \"…\"}
All fields of the mapping may be left out or null: then it takes every event whole, to https://example.com.
The event is taken as it stands: nothing is added to it. It may be given as text instead, in
\"event_text\". Each line gives one of:
  {\"matched\": true, \"request\": {\"method\": …, \"url\": …, \"headers\": {…}, \"body\": \"…\"}}
  {\"matched\": false}
  {\"error\": {\"path\": …, \"message\": …}}      with \"more\", where there are more faults
The headers have x-signature where there is a secret; webhook-* belong to a delivery and are not shown.
Lines that give an error do not end the run. The exit code is 0, also then, but for --strict: 1.";

/// Render mappings for events; offline.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct RenderArgs {
    /// Exit with code 1 when a line has an error
    #[arg(long)]
    strict: bool,
}

impl RenderArgs {
    /// Runs the verb.
    ///
    /// # Errors
    /// When stdin cannot be read or stdout cannot be written.
    pub fn run(self, _globals: &Globals) -> anyhow::Result<ExitCode> {
        let mut input = BufReader::with_capacity(1 << 16, std::io::stdin().lock());
        let mut output = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
        let mut rendering = Rendering::default();
        let (mut line, mut faulty) = (Vec::new(), false);
        while read_line(&mut input, &mut line)? {
            if line.trim_ascii().is_empty() {
                continue;
            }
            let answer = rendering.line(&line).unwrap_or_else(Answer::Error);
            faulty |= matches!(answer, Answer::Error(_));
            serde_json::to_writer(&mut output, &answer).map_err(std::io::Error::from)?;
            output.write_all(b"\n")?;
            // A client that writes line by line waits for the answer; other input is answered in blocks.
            if input.buffer().is_empty() {
                output.flush()?;
            }
        }
        output.flush()?;
        Ok(if faulty && self.strict { exit::FAILED.into() } else { ExitCode::SUCCESS })
    }
}

/// Reads up to a line break or the end; a line that is too long is cut just beyond the limit.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> anyhow::Result<bool> {
    let failed = |error| Failure::new(exit::FAILED, "stdin cannot be read").because(error);
    line.clear();
    let read = input.by_ref().take(MAX_LINE + 1).read_until(b'\n', line).map_err(failed)?;
    if line.len() as u64 > MAX_LINE && line.last() != Some(&b'\n') {
        input.skip_until(b'\n').map_err(failed)?;
    }
    Ok(read > 0)
}

/// The result of a line.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Unmatched { matched: bool },
    Matched { matched: bool, request: Request },
    Error(LineError),
}

#[derive(Serialize)]
struct Request {
    method: String,
    url: String,
    headers: BTreeMap<String, String>,
    body: String,
}

/// The errors of a line.
#[derive(Clone, Serialize)]
struct LineError {
    error: LineFault,
}

#[derive(Clone, Serialize)]
struct LineFault {
    path: String,
    message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    more: Vec<LineFault>,
}

impl LineError {
    fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        let fault = LineFault { path: path.into(), message: message.into(), more: Vec::new() };
        Self { error: fault }
    }

    fn of_faults(faults: Vec<Fault>) -> Self {
        let mut faults = faults.into_iter().map(|fault| LineFault {
            path: fault.path,
            message: fault.message,
            more: Vec::new(),
        });
        let Some(first) = faults.next() else { return Self::new("", "is not valid") };
        Self { error: LineFault { more: faults.collect(), ..first } }
    }

    fn of_rendering(error: &RenderError) -> Self {
        let (path, mut message) = match error {
            RenderError::Document(_) => ("event".to_owned(), error.to_string()),
            RenderError::Mapping(error) => (error.path(), error.kind.to_string()),
        };
        error_chain::append_causes(&mut message, error);
        Self::new(path, message)
    }
}

/// A line; each part is parsed separately, so that an error names its part.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'l> {
    #[serde(borrow, default)]
    mapping: Option<&'l RawValue>,
    #[serde(borrow, default)]
    event: Option<&'l RawValue>,
    #[serde(borrow, default)]
    event_text: Option<&'l RawValue>,
    #[serde(borrow, default)]
    shared_secret: Option<&'l RawValue>,
}

type Compiled = Rc<Result<CompiledMapping, LineError>>;

/// Renders lines; compiled mappings are cached.
#[derive(Default)]
struct Rendering {
    compiled: HashMap<String, Compiled>,
}

impl Rendering {
    fn line(&mut self, line: &[u8]) -> Result<Answer, LineError> {
        if line.len() as u64 > MAX_LINE {
            return Err(LineError::new("", format!("the line is longer than {MAX_LINE} bytes")));
        }
        let line: Line<'_> = serde_json::from_slice(line)
            .map_err(|error| LineError::new("", format!("not such an object: {error}")))?;
        let secret = line.shared_secret.map(secret).transpose()?.flatten();
        let compiled = self.mapping(line.mapping.map_or("{}", RawValue::get));
        let compiled = compiled.as_ref().as_ref().map_err(LineError::clone)?;
        let (path, text) = event_text(&line)?;
        let event = json::parse(text.as_bytes())
            .map_err(|error| LineError::new(path, format!("not JSON: {error}")))?;
        if event.as_object().is_none() {
            return Err(LineError::new(path, "should be a JSON object"));
        }
        if !compiled.matches(&event) {
            return Ok(Answer::Unmatched { matched: false });
        }
        let document = Bytes::from(json::to_string(&event));
        let request = request(compiled, &document, secret.as_ref())
            .map_err(|error| LineError::of_rendering(&error))?;
        Ok(Answer::Matched { matched: true, request })
    }

    fn mapping(&mut self, text: &str) -> Compiled {
        if let Some(compiled) = self.compiled.get(text) {
            return Rc::clone(compiled);
        }
        if self.compiled.len() == KEPT {
            self.compiled.clear();
        }
        let compiled: Compiled = Rc::new(compile(text));
        self.compiled.insert(text.to_owned(), Rc::clone(&compiled));
        compiled
    }
}

fn secret(text: &RawValue) -> Result<Option<SecretString>, LineError> {
    let secret: Option<String> = serde_json::from_str(text.get())
        .map_err(|_not_text| LineError::new("shared_secret", "should be text"))?;
    if secret.as_deref() == Some("") {
        return Err(LineError::new("shared_secret", "is empty: leave it out to sign nothing"));
    }
    Ok(secret.map(SecretString::from))
}

/// The event's JSON text and its field.
fn event_text<'l>(line: &Line<'l>) -> Result<(&'static str, Cow<'l, str>), LineError> {
    match (line.event, line.event_text) {
        (Some(event), None) => Ok(("event", Cow::Borrowed(event.get()))),
        (None, Some(text)) => {
            let value = json::parse(text.get().as_bytes())
                .map_err(|error| LineError::new("event_text", error.to_string()))?;
            let text = value.as_str().map(Cow::into_owned);
            let text = text.ok_or_else(|| LineError::new("event_text", "should be text"))?;
            Ok(("event_text", Cow::Owned(text)))
        }
        (Some(_), Some(_)) => Err(LineError::new("event_text", "stands beside event: give one")),
        (None, None) => Err(LineError::new("event", "is needed, or event_text")),
    }
}

fn compile(text: &str) -> Result<CompiledMapping, LineError> {
    let given: Option<Map<String, Value>> = serde_json::from_str(text)
        .map_err(|error| LineError::new("mapping", format!("should be an object: {error}")))?;
    let mut given = given.unwrap_or_default();
    given.retain(|_, field| !field.is_null());
    if given.contains_key("function") {
        let message = "insert functions are not run here: leave it out, and give the event as the \
                       function returns it";
        return Err(LineError::new("function", message));
    }
    let definition = definition(given.clone()).map_err(|error| misread(given, &error))?;
    CompiledMapping::compile(&definition).map_err(LineError::of_faults)
}

fn definition(mut given: Map<String, Value>) -> Result<MappingDefinition, serde_json::Error> {
    given.entry("url").or_insert_with(|| json!(DEFAULT_URL));
    serde_json::from_value(Value::Object(given))
}

/// The field that cannot be parsed: the first that fails on its own.
fn misread(given: Map<String, Value>, error: &serde_json::Error) -> LineError {
    let alone = |(key, value): (String, Value)| {
        let error = definition(Map::from_iter([(key.clone(), value)])).err()?;
        Some(LineError::new(key, error.to_string()))
    };
    let found = given.into_iter().find_map(alone);
    found.unwrap_or_else(|| LineError::new("mapping", error.to_string()))
}

fn request(
    mapping: &CompiledMapping,
    document: &Bytes,
    secret: Option<&SecretString>,
) -> Result<Request, RenderError> {
    let rendered = mapping.render(document)?;
    let mut headers: BTreeMap<String, String> = rendered
        .headers
        .iter()
        .map(|(name, value)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    let of_profile = mapping.rules().user_agent.map(ToOwned::to_owned);
    headers
        .entry(USER_AGENT.to_string())
        .or_insert_with(|| of_profile.unwrap_or_else(|| Settings::default().user_agent));
    if let (Some(secret), Some(signed)) = (secret, &rendered.signed) {
        headers.entry("x-signature".to_owned()).or_insert_with(|| x_signature(secret, signed));
    }
    Ok(Request {
        method: rendered.method.to_string(),
        url: rendered.url.to_string(),
        headers,
        body: String::from_utf8_lossy(&rendered.body).into_owned(),
    })
}
