//! Rows of API tokens. The store has their digests only.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Columns, Row, foreign, from_json};
use crate::domain::audit::{Action, NewEntry};
use crate::domain::auth::{DestinationPath, Role, Scope};
use crate::domain::clock::Timestamp;
use crate::domain::id::TokenId;
use crate::store::failure::Failure;
use crate::store::{NewToken, Token};

/// The columns that [`token`] reads.
pub(crate) const TOKEN_COLUMNS: &str =
    "id, name, role, scope, digest, expires_at, created_at, created_by, last_used_at";

/// A row of [`TOKEN_COLUMNS`].
pub(crate) fn token<'a>(row: impl Into<Row<'a>>) -> Result<Token, Failure> {
    let mut from = Columns::from(row, 0);
    let id = TokenId(from.take()?);
    let name = from.take()?;
    let word = from.text()?;
    let made = NewToken {
        name,
        role: Role::parse(word).ok_or_else(|| foreign("the role", word))?,
        scope: from.maybe_text()?.map_or(Ok(Scope::Everything), scope)?,
        digest: from.bytes("a token's digest")?,
        expires_at: from.maybe_at()?,
    };
    let (created_at, created_by) = (from.at()?, from.take()?);
    Ok(Token { id, made, created_at, created_by, last_used_at: from.maybe_at()? })
}

fn scope(text: &str) -> Result<Scope, Failure> {
    let paths: BTreeSet<String> = from_json("a token's scope", text)?;
    let paths = paths.iter().map(|path| {
        path.parse::<DestinationPath>()
            .map_err(|error| foreign("a token's scope", &error.to_string()))
    });
    paths.collect::<Result<_, _>>().map(Scope::Destinations)
}

/// The column `scope`.
pub(crate) fn scope_text(scope: &Scope) -> Option<String> {
    let paths = scope.limits()?.iter().map(ToString::to_string);
    Some(serde_json::Value::from_iter(paths).to_string())
}

/// The audit entry of a token's change, before and after; none where it is neither.
pub(crate) fn token_entry(
    action: Action,
    (before, after): (Option<&NewToken>, Option<&NewToken>),
) -> Option<NewEntry> {
    let subject = after.or(before)?.name.clone();
    let (before, after) = (before.map(shown), after.map(shown));
    Some(NewEntry { action, subject, before, after })
}

fn shown(token: &NewToken) -> Value {
    let destinations = token.scope.limits();
    json!({
        "role": token.role.as_str(),
        "destinations": destinations
            .map(|paths| paths.iter().map(ToString::to_string).collect::<Vec<_>>()),
        "expires_at": token.expires_at.map(Timestamp::to_iso),
    })
}
