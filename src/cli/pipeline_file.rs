//! Reads `pipeline.yaml`: YAML or JSON, errors with line and column, secrets resolved from environment
//! variables and files.

use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde_saphyr::{Error as YamlError, MessageFormatter as _, UserMessageFormatter};
use zeroize::Zeroizing;

use super::failure::Failure;
use crate::domain::unquoted::{bare, unquoted};
use crate::pipeline::{Document, GivenFunction, GivenSecret, Hidden};
use crate::settings::nearest;

/// A file larger than this is not a pipeline, in bytes.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// A pipeline file, its secrets resolved.
#[derive(Debug)]
pub(super) struct PipelineFile {
    /// Its name in messages.
    pub(super) name: String,
    /// Its content.
    pub(super) document: Document,
}

/// Reads a pipeline from a file, or from stdin for `-`.
pub(super) fn read(path: &Path) -> anyhow::Result<PipelineFile> {
    let (name, text) = text_of(path)?;
    let mut document = parse(&name, &text)?;
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    resolve(&mut document, folder, &|variable| std::env::var(variable).ok())?;
    Ok(PipelineFile { name, document })
}

fn text_of(path: &Path) -> anyhow::Result<(String, Zeroizing<String>)> {
    use std::io::Read as _;
    let name = if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() };
    let failed = |error| Failure::usage(format!("{name} cannot be read")).because(error);
    let mut text = Zeroizing::new(String::new());
    let mut input: Box<dyn std::io::Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(failed)?)
    };
    let read = input.by_ref().take(MAX_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if read as u64 > MAX_BYTES {
        return Err(Failure::usage(format!("{name} is larger than 4 MiB")).into());
    }
    Ok((name, text))
}

/// Reads a document; the failure names file, line, column and what was expected.
pub(super) fn parse(name: &str, text: &str) -> Result<Document, Failure> {
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let place = error.location().map_or_else(
            || name.to_owned(),
            |location| format!("{name}:{}:{}", location.line(), location.column()),
        );
        Failure::usage(format!("{place}: {}", words(&error)))
            .hint("postrider apply --help shows what a pipeline file looks like")
    })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the reader's own words do for the rest")]
fn words(error: &YamlError) -> String {
    match error.without_snippet() {
        YamlError::SerdeUnknownField { field, expected, .. } => {
            format!(
                "there is no field {field}{} (there are {})",
                guess(field, expected),
                expected.join(", ")
            )
        }
        YamlError::SerdeUnknownVariant { variant, expected, .. } => {
            let guess = guess(variant, expected);
            // A misspelt word is named; any other text may be a secret.
            let given = if guess.is_empty() { "the value" } else { variant };
            format!("{given} should be one of {}{guess}", expected.join(", "))
        }
        YamlError::SerdeMissingField { field, .. } => format!("the field {field} is missing here"),
        YamlError::SerdeInvalidType { unexpected, expected, .. }
        | YamlError::SerdeInvalidValue { unexpected, expected, .. } => {
            format!("{expected} is expected here, not {}", bare(&unexpected.to_string()))
        }
        YamlError::InvalidScalar { ty, .. } => format!("{} is expected here", thing(ty)),
        YamlError::Unexpected { expected, .. } => format!("{} is expected here", thing(expected)),
        other => unquoted(&UserMessageFormatter.format_message(other)).replace('\n', "; "),
    }
}

/// The parser's expectation in the terms of the file format.
fn thing(word: &'static str) -> &'static str {
    match word {
        "u8" | "u16" | "u32" | "u64" => "a whole number",
        "bool" | "boolean" => "true or false",
        "sequence start" => "a list",
        "mapping start" => "fields with their values",
        "string scalar" | "scalar" => "a text",
        other => other,
    }
}

fn guess(given: &str, known: &[&'static str]) -> String {
    nearest(given, known.iter().copied())
        .map(|name| format!("; did you mean {name}?"))
        .unwrap_or_default()
}

/// Resolves secrets and functions from variables and files to their values.
pub(super) fn resolve(
    document: &mut Document,
    folder: &Path,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<(), Failure> {
    for source in &mut document.sources {
        let path = format!("source {}: write_key", source.name);
        take(&path, source.write_key.as_mut(), folder, variable)?;
        for destination in &mut source.destinations {
            let path = format!("destination {}/{}: shared_secret", source.name, destination.name);
            take(&path, destination.shared_secret.as_mut(), folder, variable)?;
            let path =
                |field: &str| format!("destination {}/{}: {field}", source.name, destination.name);
            if let Some(auth) = &mut destination.auth {
                take(&path("auth.token"), auth.token.as_mut(), folder, variable)?;
                let secret = auth.client_secret.as_mut();
                take(&path("auth.client_secret"), secret, folder, variable)?;
            }
            for (name, value) in destination.secret_headers.iter_mut().flatten() {
                take(&path(&format!("secret_headers.{name}")), Some(value), folder, variable)?;
            }
            for (name, value) in destination.secret_parameters.iter_mut().flatten() {
                take(&path(&format!("secret_parameters.{name}")), Some(value), folder, variable)?;
            }
            for mapping in &mut destination.mappings {
                let Some(function) = &mut mapping.function else { continue };
                let path = format!(
                    "mapping {}/{}/{}: function",
                    source.name, destination.name, mapping.name
                );
                read_function(&path, function, folder)?;
            }
        }
    }
    Ok(())
}

fn take(
    path: &str,
    given: Option<&mut GivenSecret>,
    folder: &Path,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<(), Failure> {
    let Some(given) = given else { return Ok(()) };
    let value = match given {
        GivenSecret::Value(_) | GivenSecret::Kept => return Ok(()),
        GivenSecret::Env(name) => {
            variable(name).filter(|value| !value.is_empty()).ok_or_else(|| {
                Failure::usage(format!("{path}: the variable {name} is not set"))
                    .hint(format!("{name}=… postrider apply …"))
            })?
        }
        GivenSecret::File(file) => secret_file(path, &folder.join(file))?,
    };
    *given = GivenSecret::Value(Hidden(SecretString::from(value)));
    Ok(())
}

fn read_function(path: &str, given: &mut GivenFunction, folder: &Path) -> Result<(), Failure> {
    let Some(file) = given.file.take() else { return Ok(()) };
    if given.source.is_some() {
        return Err(Failure::usage(format!("{path}: should have a source or a file, not both")));
    }
    let file = folder.join(file);
    let source = std::fs::read_to_string(&file).map_err(|error| {
        Failure::usage(format!("{path}: {} cannot be read", file.display())).because(error)
    })?;
    given.source = Some(source);
    Ok(())
}

fn secret_file(path: &str, file: &PathBuf) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::usage(format!("{path}: {} cannot be read", file.display())).because(error)
    })?;
    let text = Zeroizing::new(text);
    let value = text.strip_suffix('\n').unwrap_or(&text);
    let value = value.strip_suffix('\r').unwrap_or(value);
    if value.is_empty() {
        return Err(Failure::usage(format!("{path}: {} is empty", file.display())));
    }
    Ok(value.to_owned())
}
