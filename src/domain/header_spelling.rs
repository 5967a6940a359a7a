//! How header names are written in a request. Names are the same in any case of letters (RFC 9110, 5.1), but
//! receivers exist that compare the letters: a name is sent as it was written.

use std::sync::Arc;

/// Names of our own, as their documentation writes them. Those of Standard Webhooks and of W3C Trace Context are in
/// lower case.
const OURS: [&str; 6] =
    ["Authorization", "Content-Length", "Content-Type", "Host", "User-Agent", "X-Signature"];

/// Names as they were written. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderSpellings(Option<Arc<[Box<str>]>>);

impl HeaderSpellings {
    /// The names as they are written here.
    pub fn of<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let names: Vec<Box<str>> = names.into_iter().map(Box::from).collect();
        Self((!names.is_empty()).then(|| names.into()))
    }

    /// These, and others for the names that are not among them.
    #[must_use]
    pub fn and(&self, others: &Self) -> Self {
        match (&self.0, &others.0) {
            (_, None) => self.clone(),
            (None, Some(_)) => others.clone(),
            (Some(one), Some(other)) => {
                Self(Some(one.iter().chain(other.iter()).cloned().collect()))
            }
        }
    }

    /// How a name is written; as it stands, where it is not among these.
    #[must_use]
    pub fn spell<'s>(&'s self, name: &'s str) -> &'s str {
        let written = self.0.as_deref().unwrap_or_default().iter().map(|it| &**it);
        written.chain(OURS).find(|it| it.eq_ignore_ascii_case(name)).unwrap_or(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_spelled_as_it_was_written() {
        let mapping = HeaderSpellings::of(["X-API-key", "content-type"]);
        let both = mapping.and(&HeaderSpellings::of(["x-api-key", "X-Team"]));
        for (name, spelled) in [
            ("x-api-key", "X-API-key"),
            ("content-type", "content-type"),
            ("x-team", "X-Team"),
            ("x-signature", "X-Signature"),
            ("webhook-id", "webhook-id"),
        ] {
            assert_eq!(both.spell(name), spelled);
        }
        assert_eq!(HeaderSpellings::default().and(&mapping), mapping);
    }
}
