//! Why an event does not fit its mapping, and where in the mapping; and the bounds that keep an
//! event and a mapping, each within its own limits, from becoming more than the memory holds.

use std::fmt;

use super::place::Place;

/// The longest body, in bytes: as much as a batch may have.
pub(super) const MAX_BODY: usize = 4_000_000;
/// What may be made on the way to it, in bytes.
const MAX_WORK: usize = 32 * 1024 * 1024;
/// How deep values may stand in each other: what is deeper cannot be read again.
pub(super) const MAX_DEPTH: usize = crate::json::MAX_DEPTH;

/// Why an event does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// More than 4,000,000 bytes.
    #[error("gives more than 4 MB")]
    TooLong,
    /// More than 32 MiB on the way.
    #[error("makes more than 32 MiB of values on the way")]
    TooMuch,
    /// Deeper than 512 levels.
    #[error("gives values nested deeper than 512 levels")]
    TooDeep,
    /// A directive that works on text was given something else.
    #[error("{directive} needs a string and was given {given}")]
    NotText {
        /// The directive.
        directive: &'static str,
        /// What it was given.
        given: &'static str,
    },
    /// `@transform` applies to objects only.
    #[error("@transform needs an object to apply to and was given {0}")]
    NotApplicable(&'static str),
    /// A payload is an object.
    #[error("should give an object and gives {0}")]
    NotAnObject(&'static str),
    /// A URL is a string.
    #[error("should give a URL and gives {0}")]
    NotAUrl(&'static str),
    /// The text is no URL.
    #[error("gives what is no URL")]
    BadUrl(#[source] url::ParseError),
    /// A control character in a URL is a mistake, or an attack.
    #[error("gives a URL with a control character")]
    UrlControl,
    /// Longer than 8,192 bytes.
    #[error("gives a URL longer than 8192 bytes")]
    UrlLength,
    /// Another scheme than http and https.
    #[error("gives a URL whose scheme is not http or https")]
    UrlScheme,
    /// Credentials would be on record in every attempt.
    #[error("gives a URL with a user name or password")]
    UrlCredentials,
    /// A header's value is a string.
    #[error("should give text and gives {0}")]
    NotAHeader(&'static str),
    /// A line break or a character that is not printable ASCII.
    #[error("gives a value that is not printable ASCII")]
    HeaderText,
    /// Longer than 8,192 bytes.
    #[error("gives a value longer than 8192 bytes")]
    HeaderLength,
}

/// Why, and where in the mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    place: Place,
    /// Why.
    pub why: Why,
}

impl From<Why> for Misfit {
    fn from(why: Why) -> Self {
        Self { place: Place::default(), why }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.place, self.why)
    }
}

impl std::error::Error for Misfit {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.why)
    }
}

impl Misfit {
    /// The field, as in `data.user.name`.
    #[must_use]
    pub fn path(&self) -> String {
        self.place.to_string()
    }

    /// The same, seen from around it.
    pub(super) fn under(mut self, key: &str) -> Self {
        self.place.surround_key(key);
        self
    }

    /// The same, seen from around it.
    pub(super) fn under_index(mut self, index: usize) -> Self {
        self.place.surround_index(index);
        self
    }
}

/// What may still be made for one request.
#[derive(Debug)]
pub(super) struct Allowance {
    left: usize,
}

impl Allowance {
    pub(super) const fn new() -> Self {
        Self { left: MAX_WORK }
    }

    /// Takes bytes from it.
    pub(super) const fn take(&mut self, bytes: usize) -> Result<(), Why> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Why::TooMuch),
        }
    }
}
