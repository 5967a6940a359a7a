//! Integer keys and public ids. A public id is a prefix and a UUIDv7 (RFC 9562) that encodes the row's
//! creation time and key: a lookup needs no index of its own, and an id from another database does not
//! match.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::clock::Timestamp;

/// The noun that an id names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Noun {
    /// A source, `src_`.
    Source,
    /// An event, `evt_`.
    Event,
    /// A destination, `dst_`.
    Destination,
    /// A mapping, `map_`.
    Mapping,
    /// A delivery, `dlv_`.
    Delivery,
    /// An attempt, `att_`.
    Attempt,
    /// A redrive or discard job, `job_`.
    Job,
    /// An access token, `tok_`.
    Token,
    /// An audit entry, `aud_`.
    Audit,
    /// A request to the admin API, `req_`.
    Request,
}

impl Noun {
    const ALL: [Self; 10] = [
        Self::Source,
        Self::Event,
        Self::Destination,
        Self::Mapping,
        Self::Delivery,
        Self::Attempt,
        Self::Job,
        Self::Token,
        Self::Audit,
        Self::Request,
    ];

    /// The prefix, underscore included.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Source => "src_",
            Self::Event => "evt_",
            Self::Destination => "dst_",
            Self::Mapping => "map_",
            Self::Delivery => "dlv_",
            Self::Attempt => "att_",
            Self::Job => "job_",
            Self::Token => "tok_",
            Self::Audit => "aud_",
            Self::Request => "req_",
        }
    }
}

/// A public id, as shown to operators and receivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PublicId {
    /// Its noun.
    pub noun: Noun,
    /// When the row was created.
    pub created_at: Timestamp,
    /// The row's integer key.
    pub key: i64,
}

/// Why a text is not a public id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// No known prefix.
    #[error(
        "{0:?} is not an id: it should start with one of src_ evt_ dst_ map_ dlv_ att_ job_ tok_ aud_ req_"
    )]
    Prefix(String),
    /// The part after the prefix is not a UUID version 7.
    #[error("{0:?} is not an id: after the prefix comes a UUID of version 7")]
    Uuid(String),
    /// It names another noun than expected.
    #[error("{text:?} does not name a {wanted:?}: its prefix should be {prefix:?}", prefix = wanted.prefix())]
    Noun {
        /// The text.
        text: String,
        /// The expected noun.
        wanted: Noun,
    },
}

const KEY_BITS: u128 = (1 << 62) - 1;

impl PublicId {
    /// The id of the row `key` created at `created_at`.
    #[must_use]
    pub const fn new(noun: Noun, created_at: Timestamp, key: i64) -> Self {
        Self { noun, created_at, key }
    }

    /// Parses the id of a `wanted`.
    ///
    /// # Errors
    /// [`IdError`] when it does not parse or names another noun.
    pub fn parse_as(text: &str, wanted: Noun) -> Result<Self, IdError> {
        let id: Self = text.parse()?;
        if id.noun == wanted {
            Ok(id)
        } else {
            Err(IdError::Noun { text: text.to_owned(), wanted })
        }
    }

    fn to_uuid(self) -> uuid::Uuid {
        // 48 bits of milliseconds, version, the microseconds within the millisecond, variant, key.
        let micros = u128::from(self.created_at.as_micros().unsigned_abs());
        let key = u128::from(self.key.unsigned_abs()) & KEY_BITS;
        let millis = (micros / 1_000) & 0xFFFF_FFFF_FFFF;
        uuid::Uuid::from_u128(
            (millis << 80) | (0x7 << 76) | ((micros % 1_000) << 64) | (0b10 << 62) | key,
        )
    }
}

impl fmt::Display for PublicId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", self.noun.prefix(), self.to_uuid().simple())
    }
}

impl FromStr for PublicId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (noun, rest) = Noun::ALL
            .into_iter()
            .find_map(|noun| Some((noun, text.strip_prefix(noun.prefix())?)))
            .ok_or_else(|| IdError::Prefix(text.to_owned()))?;
        let uuid = uuid::Uuid::try_parse(rest)
            .ok()
            .filter(|uuid| uuid.get_version_num() == 7)
            .ok_or_else(|| IdError::Uuid(text.to_owned()))?;
        let bits = uuid.as_u128();
        let narrow = |wide: u128| i64::try_from(wide).unwrap_or(i64::MAX);
        let micros = narrow(bits >> 80) * 1_000 + narrow((bits >> 64) & 0xFFF);
        Ok(Self { noun, created_at: Timestamp::from_micros(micros), key: narrow(bits & KEY_BITS) })
    }
}

impl Serialize for PublicId {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicId {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A source's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub i64);
/// An event's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub i64);
/// A destination's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DestinationId(pub i64);
/// A mapping's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MappingId(pub i64);
/// A mapping revision's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RevisionId(pub i64);
/// A delivery's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId(pub i64);
/// An attempt's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptId(pub i64);
/// A redrive or discard job's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub i64);
/// A token's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(pub i64);
/// The key of a node: one running process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub i64);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_public_id_round_trips(micros in 0i64..4_000_000_000_000_000, key in 1i64..(1 << 62)) {
            let id = PublicId::new(Noun::Delivery, Timestamp::from_micros(micros), key);
            prop_assert_eq!(id.to_string().parse::<PublicId>(), Ok(id));
        }
    }

    #[test]
    fn invalid_ids_are_refused() {
        assert!(matches!("abc".parse::<PublicId>(), Err(IdError::Prefix(_))));
        assert!(matches!("evt_zz".parse::<PublicId>(), Err(IdError::Uuid(_))));
        let event = PublicId::new(Noun::Event, Timestamp::from_micros(1), 1).to_string();
        assert!(matches!(PublicId::parse_as(&event, Noun::Delivery), Err(IdError::Noun { .. })));
    }
}
