//! The forms of an export.

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values with a header (RFC 4180).
    Csv,
    /// A JSON object a line, as the API lists it.
    JsonLines,
}

impl Format {
    /// Every form.
    pub const ALL: [Self; 2] = [Self::Csv, Self::JsonLines];

    /// Its name in a query.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::JsonLines => "jsonl",
        }
    }

    /// Its media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::JsonLines => "application/x-ndjson",
        }
    }
}
