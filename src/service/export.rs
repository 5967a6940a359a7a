//! Exports: every row of a search, newest first, as CSV or as a JSON object a line. An export reads a page at a
//! time, when its client has taken the one before, and ends with the caller's token.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use serde::Serialize;
use serde_json::Value;

use super::export_format::Format;
use super::filter::{self, Condition};
use super::page::Page;
use super::parameters::{self, Parameter};
use super::{Service, ServiceError};
use crate::domain::auth::Caller;
use crate::live::{SessionKey, StreamPlace, Viewer};

/// The rows of a page.
const ROWS: &str = "500";
/// The condition that selects the form.
const FORMAT: &str = "format";

/// Why an export ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The caller's token was revoked or has expired.
    #[error("the token has ended")]
    Ended,
    /// A page cannot be read.
    #[error(transparent)]
    Page(#[from] ServiceError),
    /// A row cannot be printed as JSON.
    #[error("cannot print a row as JSON")]
    Json(#[from] serde_json::Error),
    /// A row cannot be printed as CSV.
    #[error("cannot print a row as CSV")]
    Csv(#[from] csv::Error),
}

/// A list that can be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exported {
    /// Events.
    Events,
    /// Deliveries.
    Deliveries,
    /// Attempts.
    Attempts,
}

impl Exported {
    /// Its name in paths.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Deliveries => "deliveries",
            Self::Attempts => "attempts",
        }
    }

    const fn parameters(self) -> &'static [Parameter] {
        match self {
            Self::Events => parameters::EXPORTED_EVENTS,
            Self::Deliveries => parameters::EXPORTED_DELIVERIES,
            Self::Attempts => parameters::EXPORTED_ATTEMPTS,
        }
    }

    /// The fields that are columns.
    const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Events => &[
                "id",
                "source",
                "type",
                "name",
                "user_id",
                "message_id",
                "received_at",
                "rejection",
                "body",
            ],
            Self::Deliveries => &[
                "id",
                "event_id",
                "event_type",
                "event_name",
                "message_id",
                "destination",
                "mapping",
                "state",
                "reason",
                "attempts",
                "last_outcome",
                "last_status",
                "accepted_at",
                "due_at",
                "deadline_at",
                "settled_at",
            ],
            Self::Attempts => &[
                "id",
                "delivery",
                "number",
                "mapping",
                "outcome",
                "status",
                "error",
                "started_at",
                "duration_us",
                "recorded_at",
                "url",
                "response_body",
            ],
        }
    }
}

/// An export that has begun.
pub struct Export {
    service: Arc<Service>,
    caller: Caller,
    list: Exported,
    format: Format,
    conditions: Vec<Condition>,
    /// Bounds how many clients read at a time.
    _place: StreamPlace,
    /// The page that is sent next.
    next: Option<Rows>,
}

/// The rows of a page, and the cursor of the next one.
struct Rows {
    items: Vec<Result<Value, serde_json::Error>>,
    next: Option<String>,
}

impl Rows {
    fn of<T: Serialize>(page: Page<T>) -> Self {
        let items = page.items.iter().map(serde_json::to_value).collect();
        Self { items, next: page.next }
    }
}

impl Service {
    /// Begins an export of the rows that match.
    ///
    /// # Errors
    /// [`ServiceError`], with each invalid condition; or at the limit of streams.
    pub async fn export(
        self: Arc<Self>,
        (caller, session): (&Caller, Option<SessionKey>),
        list: Exported,
        conditions: &[Condition],
    ) -> Result<Export, ServiceError> {
        filter::each(conditions, list.parameters(), |_, _| Ok(()))?;
        let (chosen, conditions): (Vec<_>, Vec<_>) =
            conditions.iter().cloned().partition(|(name, _)| name == FORMAT);
        let format = format_of(chosen.last().map(|(_, value)| value.as_str()))?;
        let place = self.streams.open(Viewer { token_id: caller.token_id, session })?;
        let caller = caller.clone();
        let mut export =
            Export { service: self, caller, list, format, conditions, _place: place, next: None };
        export.next = Some(export.read(None).await?);
        Ok(export)
    }
}

fn format_of(given: Option<&str>) -> Result<Format, ServiceError> {
    let Some(word) = given else { return Ok(Format::Csv) };
    Format::ALL
        .into_iter()
        .find(|format| format.as_str() == word)
        .ok_or_else(|| ServiceError::at(FORMAT, format!("should be csv or jsonl, not {word:?}")))
}

impl Export {
    /// Its form.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// The name of its file.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}.{}", self.list.as_str(), self.format.as_str())
    }

    /// What it sends. It ends with an error when a page cannot be read, so that a client does not take a part
    /// for the whole.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, ExportError>> + Send {
        let header = (self.format == Format::Csv).then(|| self.header());
        stream::try_unfold((self, header), |(mut export, header)| async move {
            let Some(rows) = export.next.take() else { return Ok(None) };
            let mut bytes = header.unwrap_or_default();
            export.print(rows.items, &mut bytes)?;
            if let Some(cursor) = rows.next {
                if !export.service.authenticator.is_in_force(export.caller.token_id) {
                    return Err(ExportError::Ended);
                }
                export.next = Some(export.read(Some(cursor)).await?);
            }
            Ok(Some((Bytes::from(bytes), (export, None))))
        })
    }

    async fn read(&self, before: Option<String>) -> Result<Rows, ServiceError> {
        let mut conditions = self.conditions.clone();
        if let Some(before) = before {
            conditions.retain(|(name, _)| name != "before");
            conditions.push(("before".to_owned(), before));
        }
        conditions.push(("limit".to_owned(), ROWS.to_owned()));
        let service = &self.service;
        match self.list {
            Exported::Events => Ok(Rows::of(service.events(&self.caller, &conditions).await?)),
            Exported::Deliveries => {
                Ok(Rows::of(service.deliveries(&self.caller, &conditions).await?))
            }
            Exported::Attempts => Ok(Rows::of(service.attempts(&self.caller, &conditions).await?)),
        }
    }

    fn header(&self) -> Vec<u8> {
        let mut line = self.list.columns().join(",").into_bytes();
        line.extend_from_slice(b"\r\n");
        line
    }

    fn print(
        &self,
        items: Vec<Result<Value, serde_json::Error>>,
        bytes: &mut Vec<u8>,
    ) -> Result<(), ExportError> {
        match self.format {
            Format::JsonLines => {
                for item in items {
                    serde_json::to_writer(&mut *bytes, &item?)?;
                    bytes.push(b'\n');
                }
            }
            Format::Csv => {
                let mut csv = csv::WriterBuilder::new();
                let mut csv = csv.terminator(csv::Terminator::CRLF).from_writer(bytes);
                for item in items {
                    let item = item?;
                    csv.write_record(self.list.columns().iter().map(|name| cell(&item[*name])))?;
                }
                csv.flush().map_err(csv::Error::from)?;
            }
        }
        Ok(())
    }
}

/// A value as a cell: text as it is, nothing for null, anything else as JSON.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_has_text_as_it_is_and_documents_as_json() {
        let of = |text: &str| cell(&serde_json::from_str(text).expect("JSON"));
        assert_eq!(of("null"), "");
        assert_eq!(of(r#""a,\"b\"""#), "a,\"b\"");
        assert_eq!((of("503"), of(r#"{"a":[1]}"#)), ("503".to_owned(), r#"{"a":[1]}"#.to_owned()));
    }
}
