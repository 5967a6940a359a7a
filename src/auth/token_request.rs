//! A request for a token and its validation against the rights of the caller.

use std::collections::BTreeSet;

use super::CreateTokenError;
use crate::domain::auth::{Caller, DestinationPath, Role, SERVICE_ACTOR, Scope, UNKNOWN_ACTOR};
use crate::domain::clock::Timestamp;
use crate::store::NewToken;

/// The maximum length of a name, in characters.
const MAX_NAME: usize = 64;
/// The maximum number of destinations in a scope.
const MAX_DESTINATIONS: usize = 100;

/// A request for a token, not yet validated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenSpec {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: String,
    /// The destinations of its scope; none: everything.
    pub destinations: Option<Vec<String>>,
    /// When it expires, RFC 3339; none: never.
    pub expires_at: Option<String>,
}

/// A validation error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFieldError {
    /// The field, as in the API and in forms.
    pub field: String,
    /// What is wrong, and what is expected.
    pub message: String,
}

/// A validated request.
pub(super) struct ValidatedToken {
    name: String,
    role: Role,
    scope: Scope,
    expires_at: Option<Timestamp>,
}

impl ValidatedToken {
    pub(super) fn token(self, digest: [u8; 32]) -> NewToken {
        let Self { name, role, scope, expires_at } = self;
        NewToken { name, role, scope, digest, expires_at }
    }
}

impl TokenSpec {
    pub(super) fn check(
        &self,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<ValidatedToken, CreateTokenError> {
        let mut faults = Vec::new();
        let mut fault = |field: &str, message: String| {
            faults.push(TokenFieldError { field: field.to_owned(), message });
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
            return Err(CreateTokenError::Invalid(faults));
        };
        caller.check_grant(role, &scope).map_err(CreateTokenError::Forbidden)?;
        Ok(ValidatedToken { name: self.name.clone(), role, scope, expires_at })
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

/// Checks that a name is safe in URLs, log lines and tables.
fn name_fault(name: &str) -> Option<String> {
    let is_taken = |actor: &&str| name.eq_ignore_ascii_case(actor);
    if [SERVICE_ACTOR, UNKNOWN_ACTOR].iter().any(is_taken) {
        return Some(format!("{name:?} is an actor of the audit log that is no token"));
    }
    let fits = |one: char| one.is_ascii_alphanumeric() || matches!(one, '-' | '_' | '.');
    let starts_well = name.starts_with(|one: char| one.is_ascii_alphanumeric());
    (!starts_well || name.len() > MAX_NAME || !name.chars().all(fits)).then(|| {
        format!(
            "should be 1 to {MAX_NAME} ASCII letters, digits, dots, dashes and underscores, \
             the first a letter or digit"
        )
    })
}
