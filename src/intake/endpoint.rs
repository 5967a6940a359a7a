//! The endpoints of the tracking API by path; a trailing slash is allowed.

use http::Method;

use crate::domain::event::EventType;

/// An endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// One message of this type.
    Single(EventType),
    /// One message of this type, in the query of an image's URL.
    Pixel(EventType),
    /// Several messages, each with its own type.
    Batch,
}

impl Endpoint {
    /// The endpoint at this path.
    pub(super) fn at(path: &str) -> Option<Self> {
        let word = path.strip_prefix("/v1/")?;
        let word = word.strip_suffix('/').unwrap_or(word);
        match word.strip_prefix("pixel/") {
            Some(word) => event_type(word).map(Self::Pixel),
            None if matches!(word, "b" | "batch" | "import") => Some(Self::Batch),
            None => event_type(word).map(Self::Single),
        }
    }

    /// The method that it accepts.
    pub(super) const fn method(self) -> Method {
        match self {
            Self::Single(_) | Self::Batch => Method::POST,
            Self::Pixel(_) => Method::GET,
        }
    }
}

/// An event type by its name or its letter.
fn event_type(word: &str) -> Option<EventType> {
    match word {
        "t" => Some(EventType::Track),
        "i" => Some(EventType::Identify),
        "p" => Some(EventType::Page),
        "s" => Some(EventType::Screen),
        "g" => Some(EventType::Group),
        "a" => Some(EventType::Alias),
        word => EventType::parse(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_its_endpoint() {
        for (short, kind) in [
            ("t", EventType::Track),
            ("i", EventType::Identify),
            ("p", EventType::Page),
            ("s", EventType::Screen),
            ("g", EventType::Group),
            ("a", EventType::Alias),
        ] {
            for path in [format!("/v1/{short}"), format!("/v1/{}", kind.as_str())] {
                assert_eq!(Endpoint::at(&path), Some(Endpoint::Single(kind)));
                assert_eq!(Endpoint::at(&format!("{path}/")), Some(Endpoint::Single(kind)));
                let pixel = path.replace("/v1/", "/v1/pixel/");
                assert_eq!(Endpoint::at(&pixel), Some(Endpoint::Pixel(kind)));
            }
        }
        assert_eq!(Endpoint::at("/v1/delete"), Some(Endpoint::Single(EventType::Delete)));
        for path in ["/v1/b", "/v1/batch", "/v1/batch/", "/v1/import"] {
            assert_eq!(Endpoint::at(path), Some(Endpoint::Batch));
        }
        for path in [
            "/v1/",
            "/v1",
            "/v1/d",
            "/v1/track//",
            "/v1/Track",
            "/v2/track",
            "/track",
            "/v1/pixel/batch",
        ] {
            assert_eq!(Endpoint::at(path), None, "{path}");
        }
    }
}
