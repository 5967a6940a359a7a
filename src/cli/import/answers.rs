//! Answers of another service's API, as files hold them: JSON texts one after the other. An answer that is an
//! error is refused: what it should have held would be missing without a word.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::failure::Failure;

/// The largest file, in bytes.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The JSON texts in these files, in order.
pub(super) fn read(files: &[PathBuf]) -> anyhow::Result<Vec<Value>> {
    let mut answers = Vec::new();
    for path in files {
        let (name, text) = text(path)?;
        for value in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
            let value = value
                .map_err(|error| Failure::usage(format!("{name} is not JSON")).because(error))?;
            if let Some(error) = error_of(&value) {
                let failure = Failure::usage(format!("{name} holds an error answer: {error}"));
                return Err(failure
                    .hint("ask the API again, and give the file with its data")
                    .into());
            }
            answers.push(value);
        }
    }
    Ok(answers)
}

/// The message of an answer that is an error.
fn error_of(answer: &Value) -> Option<String> {
    if let Some(errors) = answer.get("errors").and_then(Value::as_array) {
        let text = |error: &Value| {
            let found = ["message", "type"].into_iter().find_map(|it| error.get(it)?.as_str());
            found.map_or_else(|| error.to_string(), ToOwned::to_owned)
        };
        return Some(errors.iter().map(text).collect::<Vec<_>>().join("; "));
    }
    let data = answer.get("data").filter(|data| !data.is_null());
    let message =
        || ["message", "detail", "error"].into_iter().find_map(|it| answer.get(it)?.as_str());
    let is_error = answer.get("status") == Some(&Value::Bool(false))
        || answer.get("code").is_some_and(Value::is_string) && message().is_some();
    if data.is_none() && is_error {
        return Some(message().unwrap_or("without a message").to_owned());
    }
    None
}

fn text(path: &Path) -> anyhow::Result<(String, String)> {
    let is_stdin = path == Path::new("-");
    let name = if is_stdin { "stdin".to_owned() } else { path.display().to_string() };
    let failed = |error| Failure::usage(format!("{name} cannot be read")).because(error);
    let mut text = String::new();
    let read = if is_stdin {
        std::io::stdin().take(MAX_BYTES + 1).read_to_string(&mut text)
    } else {
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(MAX_BYTES + 1).read_to_string(&mut text)
    };
    if read.map_err(failed)? as u64 > MAX_BYTES {
        return Err(Failure::usage(format!("{name} is larger than 64 MiB")).into());
    }
    Ok((name, text))
}
