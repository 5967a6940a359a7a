//! The errors of a mapping: the faults found when it is compiled, and the error when an event cannot be
//! rendered, with its location in the mapping.

use std::fmt;

use super::location::Location;
use crate::json;

/// A fault of a mapping, with its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field, as in `headers.X-Team`.
    pub path: String,
    /// The fault, and what to do.
    pub message: String,
}

impl Fault {
    pub(super) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

/// The error of an event that cannot be rendered; the delivery is dead with reason `render`.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The document is not JSON; intake stores none such.
    #[error("the event cannot be read")]
    Document(#[source] json::ParseError),
    /// The mapping gives no valid request for it.
    #[error(transparent)]
    Mapping(#[from] MappingError),
}

impl RenderError {
    /// The field of the mapping, as in `data.user.name`; none when the event is not JSON.
    #[must_use]
    pub fn path(&self) -> Option<String> {
        match self {
            Self::Document(_) => None,
            Self::Mapping(error) => Some(error.path()),
        }
    }
}

/// Why a mapping gives no valid request for an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// More than 4,000,000 bytes.
    #[error("gives more than 4 MB")]
    TooLong,
    /// All computed values together take more than 32 MiB.
    #[error("computes more than 32 MiB of values")]
    TooMuch,
    /// Deeper than 512 levels.
    #[error("gives values nested deeper than 512 levels")]
    TooDeep,
    /// A directive that works on text was given something else.
    #[error("{directive} needs a string and was given {given}")]
    NotText {
        /// The directive.
        directive: &'static str,
        /// The type of the value.
        given: &'static str,
    },
    /// `@transform` applies to objects only.
    #[error("@transform needs an object to apply to and was given {0}")]
    NotApplicable(&'static str),
    /// A payload is an object.
    #[error("should give an object and gives {0}")]
    NotAnObject(&'static str),
    /// A form in a batch, which is a JSON array.
    #[error("makes the body a form, which cannot be part of a batch")]
    FormInBatch,
    /// A method is one of three words.
    #[error("should give POST, PUT or PATCH")]
    NotAMethod,
    /// A URL is a string.
    #[error("should give a URL and gives {0}")]
    NotAUrl(&'static str),
    /// The text is not a URL.
    #[error("gives an invalid URL")]
    BadUrl(#[source] url::ParseError),
    /// Control characters in a URL would be dropped silently.
    #[error("gives a URL with a control character")]
    UrlControl,
    /// Longer than 8,192 bytes.
    #[error("gives a URL longer than 8192 bytes")]
    UrlLength,
    /// A scheme other than http and https.
    #[error("gives a URL whose scheme is not http or https")]
    UrlScheme,
    /// Credentials would be recorded in every attempt.
    #[error("gives a URL with a user name or password")]
    UrlCredentials,
    /// A value where the host stands that is no part of a host, or would extend the host.
    #[error("gives a URL whose host is changed by a value of the event")]
    UrlAuthority,
    /// A value that is a dot segment removes parts of the path (RFC 3986, 5.2.4).
    #[error("gives a URL with a path segment . or .. from the event")]
    UrlDotSegment,
    /// The origin is not the one in the mapping.
    #[error("gives a URL with another origin than the mapping has")]
    UrlOrigin,
    /// A header's value is a string.
    #[error("should give text and gives {0}")]
    NotAHeader(&'static str),
    /// Headers are an object.
    #[error("should give an object and gives {0}")]
    NotHeaders(&'static str),
    /// More than 100 headers.
    #[error("gives more than 100 headers")]
    HeaderCount,
    /// Not a token (RFC 9110, 5.1).
    #[error("is not a header name")]
    HeaderName,
    /// A header of the connection or of the signature.
    #[error("is set by Postrider and cannot be overridden")]
    HeaderReserved,
    /// A line break or a character that is not printable ASCII.
    #[error("gives a value that is not printable ASCII")]
    HeaderText,
    /// Longer than 8,192 bytes.
    #[error("gives a value longer than 8192 bytes")]
    HeaderLength,
}

/// An error at a location in the mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingError {
    location: Location,
    /// The error.
    pub kind: ErrorKind,
}

impl From<ErrorKind> for MappingError {
    fn from(kind: ErrorKind) -> Self {
        Self { location: Location::default(), kind }
    }
}

impl fmt::Display for MappingError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.location, self.kind)
    }
}

impl std::error::Error for MappingError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.kind)
    }
}

impl MappingError {
    /// The field, as in `data.user.name`.
    #[must_use]
    pub fn path(&self) -> String {
        self.location.to_string()
    }

    /// The same error, its location below a key.
    pub(super) fn under(mut self, key: &str) -> Self {
        self.location.prepend_key(key);
        self
    }

    /// The same error, its location below an index.
    pub(super) fn under_index(mut self, index: usize) -> Self {
        self.location.prepend_index(index);
        self
    }
}
