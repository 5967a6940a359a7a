//! Authorization of operators: token roles, scopes of destinations, the caller of a request, and its acts
//! in the audit log.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::id::TokenId;
use crate::domain::clock::Timestamp;

/// The role of a token; each role includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads everything but secrets.
    Viewer,
    /// Also redrives, discards, cancels jobs, tests mappings, connects destinations.
    Operator,
    /// Also changes the pipeline and the tokens.
    Admin,
}

impl Role {
    /// Every role, the lowest first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// The name in tables, URLs, logs and settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// Parses the name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }

    /// Whether it includes `needed`.
    #[must_use]
    pub fn covers(self, needed: Self) -> bool {
        self >= needed
    }
}

/// A destination by its path: `source/destination`. Neither name has a slash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DestinationPath {
    /// The source's name.
    pub source: String,
    /// The destination's name.
    pub destination: String,
}

impl fmt::Display for DestinationPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.source, self.destination)
    }
}

/// The text is not `source/destination`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} should be source/destination")]
pub struct PathError(String);

impl FromStr for DestinationPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let parts = text.split_once('/');
        let whole = parts.filter(|(source, destination)| {
            !source.is_empty() && !destination.is_empty() && !destination.contains('/')
        });
        let (source, destination) = whole.ok_or_else(|| PathError(text.to_owned()))?;
        Ok(Self { source: source.to_owned(), destination: destination.to_owned() })
    }
}

/// The scope of a token, for reading and for acting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Every destination, including those created later.
    #[default]
    Everything,
    /// These destinations with their mappings, deliveries and attempts, and the events of their sources.
    Destinations(BTreeSet<DestinationPath>),
}

impl Scope {
    /// Whether it includes a destination.
    #[must_use]
    pub fn covers(&self, source: &str, destination: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Destinations(paths) => {
                paths.iter().any(|it| it.source == source && it.destination == destination)
            }
        }
    }

    /// Whether a source is visible: the scope includes one of its destinations.
    #[must_use]
    pub fn shows(&self, source: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Destinations(paths) => paths.iter().any(|it| it.source == source),
        }
    }

    /// Whether it includes all of `other`.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Everything, _) => true,
            (Self::Destinations(_), Self::Everything) => false,
            (Self::Destinations(mine), Self::Destinations(theirs)) => theirs.is_subset(mine),
        }
    }

    /// The destinations; none when the scope is everything.
    #[must_use]
    pub const fn limits(&self) -> Option<&BTreeSet<DestinationPath>> {
        match self {
            Self::Everything => None,
            Self::Destinations(paths) => Some(paths),
        }
    }
}

/// The authenticated caller of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The token's key.
    pub token_id: TokenId,
    /// The token's name.
    pub name: String,
    /// When the token was created: an earlier one may have had its name.
    pub created_at: Timestamp,
    /// Its role.
    pub role: Role,
    /// Its scope.
    pub scope: Scope,
    /// The client address.
    pub from: String,
    /// The request's id.
    pub request_id: Option<String>,
}

/// The caller's role or scope does not allow it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Forbidden(String);

/// A caller with role operator: may redrive, discard, test, connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator(Caller);

/// A caller with role admin: may change the pipeline and tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin(Caller);

impl Deref for Operator {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.0
    }
}

impl Deref for Admin {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.0
    }
}

impl Caller {
    /// The caller as an operator.
    ///
    /// # Errors
    /// [`Forbidden`] when its role is lower.
    pub fn operator(&self) -> Result<Operator, Forbidden> {
        self.has(Role::Operator).map(|()| Operator(self.clone()))
    }

    /// The caller as an admin.
    ///
    /// # Errors
    /// [`Forbidden`] when its role is lower.
    pub fn admin(&self) -> Result<Admin, Forbidden> {
        self.has(Role::Admin).map(|()| Admin(self.clone()))
    }

    fn has(&self, needed: Role) -> Result<(), Forbidden> {
        if self.role.covers(needed) {
            return Ok(());
        }
        let (needed, held, name) = (needed.as_str(), self.role.as_str(), &self.name);
        Err(Forbidden(format!(
            "this needs a token of role {needed}; the role of token {name} is {held}"
        )))
    }

    /// Checks that its scope includes a destination.
    ///
    /// # Errors
    /// [`Forbidden`] when it does not.
    pub fn check_scope(&self, source: &str, destination: &str) -> Result<(), Forbidden> {
        if self.scope.covers(source, destination) {
            return Ok(());
        }
        let name = &self.name;
        Err(Forbidden(format!(
            "token {name} is limited to other destinations than {source}/{destination}"
        )))
    }

    /// Checks that it may create a token of this role and scope.
    ///
    /// # Errors
    /// [`Forbidden`] when that token would have more rights than the caller.
    pub fn check_grant(&self, role: Role, scope: &Scope) -> Result<(), Forbidden> {
        if !self.role.covers(role) {
            let (mine, wanted) = (self.role.as_str(), role.as_str());
            return Err(Forbidden(format!("a token of role {mine} makes none of role {wanted}")));
        }
        if !self.scope.contains(scope) {
            let name = &self.name;
            return Err(Forbidden(format!(
                "token {name} is limited to destinations and makes none that reaches others"
            )));
        }
        Ok(())
    }

    /// Checks that its scope is every destination.
    ///
    /// # Errors
    /// [`Forbidden`] when it is limited.
    pub fn reaches_everything(&self) -> Result<(), Forbidden> {
        if self.scope.limits().is_none() {
            return Ok(());
        }
        let name = &self.name;
        Err(Forbidden(format!(
            "this concerns every destination, and token {name} is limited to some"
        )))
    }

    /// An act of this caller, for the audit log.
    #[must_use]
    pub fn act(&self, at: Timestamp) -> Act {
        Act {
            actor: self.name.clone(),
            role: Some(self.role),
            from: self.from.clone(),
            request_id: self.request_id.clone(),
            note: None,
            at,
        }
    }
}

/// The actor of what the service itself does.
pub const SERVICE_ACTOR: &str = "postrider";
/// The actor of refused sign-ins.
pub const UNKNOWN_ACTOR: &str = "unknown";

/// An act for the audit log: the actor, the time and the origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// The token's name; `postrider` for the service itself.
    pub actor: String,
    /// The token's role at that time; none for the service itself.
    pub role: Option<Role>,
    /// The client address; for the service itself, its part that acted.
    pub from: String,
    /// The request's id.
    pub request_id: Option<String>,
    /// The actor's note.
    pub note: Option<String>,
    /// When.
    pub at: Timestamp,
}

impl Act {
    /// An act of the service itself, by its `part`.
    #[must_use]
    pub fn of_the_service(part: &str, at: Timestamp) -> Self {
        Self {
            actor: SERVICE_ACTOR.to_owned(),
            role: None,
            from: part.to_owned(),
            request_id: None,
            note: None,
            at,
        }
    }

    /// The same act with a note.
    #[must_use]
    pub fn noted(self, note: Option<String>) -> Self {
        Self { note, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(paths: &[&str]) -> Scope {
        Scope::Destinations(paths.iter().map(|path| path.parse().unwrap()).collect())
    }

    #[test]
    fn each_role_includes_the_lower_ones() {
        assert!(Role::Admin.covers(Role::Operator) && Role::Operator.covers(Role::Viewer));
        assert!(!Role::Viewer.covers(Role::Operator) && !Role::Operator.covers(Role::Admin));
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
    }

    #[test]
    fn a_destination_path_is_source_slash_destination() {
        for text in ["", "web", "/", "web/", "/crm", "web/crm/a"] {
            assert!(text.parse::<DestinationPath>().is_err(), "{text:?}");
        }
        assert_eq!("web/crm".parse::<DestinationPath>().unwrap().to_string(), "web/crm");
    }

    #[test]
    fn a_scope_includes_only_its_destinations() {
        let one = scope(&["web/crm"]);
        assert!(one.covers("web", "crm") && one.shows("web"));
        assert!(!one.covers("web", "erp") && !one.covers("app", "crm") && !one.shows("app"));
        assert!(Scope::Everything.covers("web", "crm") && Scope::Everything.contains(&one));
        assert!(scope(&["web/crm", "web/erp"]).contains(&one));
        assert!(
            !one.contains(&scope(&["web/crm", "web/erp"])) && !one.contains(&Scope::Everything)
        );
        assert!(!scope(&[]).covers("web", "crm"));
    }
}
