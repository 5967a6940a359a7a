//! A token as it is asked for, held against what is possible and what the asker may give.

use std::collections::BTreeSet;

use super::MakeError;
use crate::domain::auth::{Caller, DestinationPath, Role, Scope};
use crate::domain::clock::Timestamp;
use crate::store::NewToken;

/// The longest name of a token, in characters.
const MAX_NAME: usize = 64;
/// Destinations that a token can be limited to.
const MAX_DESTINATIONS: usize = 100;

/// A token that is asked for, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AskedToken {
    /// What it should be called.
    pub name: String,
    /// The word of its role.
    pub role: String,
    /// The destinations that it should be limited to; none: no limits.
    pub destinations: Option<Vec<String>>,
    /// When it should end, as RFC 3339; none: never.
    pub expires_at: Option<String>,
}

/// One thing that is wrong with what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFault {
    /// The field, as in the API and in forms.
    pub field: String,
    /// What is wrong, and what it should be.
    pub message: String,
}

/// What a token will be made as.
pub(super) struct Terms {
    name: String,
    role: Role,
    scope: Scope,
    expires_at: Option<Timestamp>,
}

impl Terms {
    pub(super) fn token(self, digest: [u8; 32]) -> NewToken {
        let Self { name, role, scope, expires_at } = self;
        NewToken { name, role, scope, digest, expires_at }
    }
}

impl AskedToken {
    pub(super) fn check(&self, caller: &Caller, now: Timestamp) -> Result<Terms, MakeError> {
        let mut faults = Vec::new();
        let mut fault = |field: &str, message: String| {
            faults.push(TokenFault { field: field.to_owned(), message });
        };
        if let Some(message) = name_fault(&self.name) {
            fault("name", message);
        }
        let role = Role::parse(&self.role);
        if role.is_none() {
            let words = Role::ALL.map(Role::as_str).join(", ");
            fault("role", format!("should be one of {words}, not {:?}", self.role));
        }
        let scope = self.scope(&mut fault);
        let expires_at = self.expires_at.as_deref().and_then(Timestamp::parse_iso);
        match (&self.expires_at, expires_at) {
            (Some(text), None) => fault(
                "expires_at",
                format!("should be a time such as 2030-01-31T00:00:00Z, not {text:?}"),
            ),
            (Some(_), Some(at)) if at <= now => {
                fault("expires_at", "should be in the future".to_owned());
            }
            (Some(_), Some(_)) | (None, _) => {}
        }
        let (Some(role), true) = (role, faults.is_empty()) else {
            return Err(MakeError::Asked(faults));
        };
        caller.may_give(role, &scope).map_err(MakeError::Beyond)?;
        Ok(Terms { name: self.name.clone(), role, scope, expires_at })
    }

    fn scope(&self, fault: &mut impl FnMut(&str, String)) -> Scope {
        let Some(destinations) = &self.destinations else { return Scope::Everything };
        if destinations.is_empty() {
            fault(
                "destinations",
                "should name a destination; leave it out for no limits".to_owned(),
            );
        }
        if destinations.len() > MAX_DESTINATIONS {
            fault("destinations", format!("should be at most {MAX_DESTINATIONS}"));
        }
        let mut paths = BTreeSet::new();
        for (index, text) in destinations.iter().enumerate().take(MAX_DESTINATIONS) {
            match text.parse::<DestinationPath>() {
                Ok(path) => {
                    paths.insert(path);
                }
                Err(error) => fault(&format!("destinations[{index}]"), error.to_string()),
            }
        }
        Scope::Destinations(paths)
    }
}

/// A name that can stand in a URL, a log line and a table as it is.
fn name_fault(name: &str) -> Option<String> {
    let fits = |one: char| one.is_ascii_alphanumeric() || matches!(one, '-' | '_' | '.');
    let starts_well = name.starts_with(|one: char| one.is_ascii_alphanumeric());
    (!starts_well || name.len() > MAX_NAME || !name.chars().all(fits)).then(|| {
        format!(
            "should be 1 to {MAX_NAME} ASCII letters, digits, dots, dashes and underscores, \
             the first a letter or digit"
        )
    })
}
