//! The endpoints of the tracking API by path; a trailing slash is allowed.

use crate::domain::event::EventType;

/// An endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// One message of this type.
    Single(EventType),
    /// Several messages, each with its own type.
    Batch,
}

impl Endpoint {
    /// The endpoint at this path.
    pub(super) fn at(path: &str) -> Option<Self> {
        let word = path.strip_prefix("/v1/")?;
        match word.strip_suffix('/').unwrap_or(word) {
            "t" => Some(Self::Single(EventType::Track)),
            "i" => Some(Self::Single(EventType::Identify)),
            "p" => Some(Self::Single(EventType::Page)),
            "s" => Some(Self::Single(EventType::Screen)),
            "g" => Some(Self::Single(EventType::Group)),
            "a" => Some(Self::Single(EventType::Alias)),
            "b" | "batch" | "import" => Some(Self::Batch),
            word => EventType::parse(word).map(Self::Single),
        }
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
            }
        }
        assert_eq!(Endpoint::at("/v1/delete"), Some(Endpoint::Single(EventType::Delete)));
        for path in ["/v1/b", "/v1/batch", "/v1/batch/", "/v1/import"] {
            assert_eq!(Endpoint::at(path), Some(Endpoint::Batch));
        }
        for path in ["/v1/", "/v1", "/v1/d", "/v1/track//", "/v1/Track", "/v2/track", "/track"] {
            assert_eq!(Endpoint::at(path), None, "{path}");
        }
    }
}
