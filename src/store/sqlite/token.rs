//! API tokens: creation, revocation, last use. The store has digests only.

use std::collections::BTreeSet;

use rusqlite::params;
use serde_json::json;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;

use super::audit;
use super::writer::step::{Step, Tx};
use crate::domain::audit::{Action, NewEntry};
use crate::domain::auth::{Act, DestinationPath, Role, Scope};
use crate::domain::clock::Timestamp;
use crate::domain::id::TokenId;
use crate::store::failure::Failure;
use crate::store::row::{Columns, Row, foreign, from_json};
use crate::store::{NewToken, Revocation, StoreError, Token};

/// The columns that [`token`] reads.
const COLUMNS: &str =
    "id, name, role, scope, digest, expires_at, created_at, created_by, last_used_at";

fn token<'a>(row: impl Into<Row<'a>>) -> Result<Token, Failure> {
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

fn scope_text(scope: &Scope) -> Option<String> {
    let paths = scope.limits()?.iter().map(ToString::to_string);
    Some(serde_json::Value::from_iter(paths).to_string())
}

/// The tokens that were not revoked, by name.
pub(super) async fn read(conn: &mut SqliteConnection) -> Result<Vec<Token>, Failure> {
    let sql = format!("SELECT {COLUMNS} FROM tokens WHERE revoked_at IS NULL ORDER BY name");
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(conn).await?;
    rows.iter().map(token).collect()
}

fn insert(tx: &mut Tx<'_>, made: &NewToken, act: &Act) -> Result<Token, Failure> {
    let id = tx.sqlite.insert(
        "INSERT INTO tokens (name, role, scope, digest, expires_at, created_at, created_by)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
        params![
            &made.name,
            made.role.as_str(),
            scope_text(&made.scope),
            &made.digest[..],
            made.expires_at.map(Timestamp::as_micros),
            act.at.as_micros(),
            &act.actor
        ],
    )?;
    Ok(Token {
        id: TokenId(id),
        made: made.clone(),
        created_at: act.at,
        created_by: act.actor.clone(),
        last_used_at: None,
    })
}

fn revoke(tx: &mut Tx<'_>, id: i64, now: Timestamp) -> Result<(), Failure> {
    tx.execute("UPDATE tokens SET revoked_at = ? WHERE id = ?", params![now.as_micros(), id])?;
    Ok(())
}

/// Appends the audit entry of a token, before and after.
fn append_audit(
    tx: &mut Tx<'_>,
    act: &Act,
    action: Action,
    (before, after): (Option<&NewToken>, Option<&NewToken>),
) -> Result<(), Failure> {
    let Some(token) = after.or(before) else { return Ok(()) };
    let shown = |token: &NewToken| {
        let destinations = token.scope.limits();
        json!({
            "role": token.role.as_str(),
            "destinations": destinations
                .map(|paths| paths.iter().map(ToString::to_string).collect::<Vec<_>>()),
            "expires_at": token.expires_at.map(Timestamp::to_iso),
        })
    };
    let subject = token.name.clone();
    let done = NewEntry { action, subject, before: before.map(shown), after: after.map(shown) };
    audit::append(tx, act, &done)
}

fn id_of(tx: &mut Tx<'_>, name: &str) -> Result<Option<i64>, Failure> {
    let id = tx.sqlite.first(
        "SELECT id FROM tokens WHERE name = ? AND revoked_at IS NULL",
        params![name],
        |row| row.get(0),
    )?;
    Ok(id)
}

/// Whether another token is an unlimited admin that never expires.
fn another_admin(tx: &mut Tx<'_>, id: i64) -> Result<bool, Failure> {
    let found = tx.sqlite.one(
        "SELECT EXISTS (SELECT 1 FROM tokens WHERE id <> ? AND revoked_at IS NULL
             AND role = 'admin' AND scope IS NULL AND expires_at IS NULL)",
        params![id],
        |row| row.get(0),
    )?;
    Ok(found)
}

/// Creates a token.
#[derive(Debug)]
pub(super) struct CreateToken {
    pub(super) token: NewToken,
    pub(super) act: Act,
}

impl Step for CreateToken {
    type Answer = Token;
    const CONTEXT: &'static str = "create a token";

    fn run(&self, tx: &mut Tx<'_>) -> Result<Token, Failure> {
        if id_of(tx, &self.token.name)?.is_some() {
            return Err(StoreError::Conflict.into());
        }
        let made = insert(tx, &self.token, &self.act)?;
        append_audit(tx, &self.act, Action::CreateToken, (None, Some(&self.token)))?;
        Ok(made)
    }
}

/// Admits the token of the machine's token file.
#[derive(Debug)]
pub(super) struct AdmitToken {
    pub(super) token: NewToken,
    pub(super) act: Act,
}

impl Step for AdmitToken {
    type Answer = Option<Token>;
    const CONTEXT: &'static str = "admit the operator's token";

    fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Token>, Failure> {
        let known = tx.sqlite.first(
            "SELECT id, revoked_at FROM tokens WHERE digest = ?",
            params![&self.token.digest[..]],
            |row| Ok::<_, rusqlite::Error>((row.get(0)?, row.get(1)?)),
        )?;
        if let Some((id, revoked_at)) = known {
            let revoked_at: Option<i64> = revoked_at;
            if revoked_at.is_none() || another_admin(tx, id)? {
                return Ok(None);
            }
            // No other token could create tokens: the machine's token file is the way back in.
            tx.execute("DELETE FROM tokens WHERE id = ?", params![id])?;
        }
        if let Some(id) = id_of(tx, &self.token.name)? {
            revoke(tx, id, self.act.at)?;
        }
        let made = insert(tx, &self.token, &self.act)?;
        append_audit(tx, &self.act, Action::CreateToken, (None, Some(&self.token)))?;
        Ok(Some(made))
    }
}

/// Revokes a token.
#[derive(Debug)]
pub(super) struct RevokeToken {
    pub(super) name: String,
    pub(super) act: Act,
}

impl Step for RevokeToken {
    type Answer = Revocation;
    const CONTEXT: &'static str = "revoke a token";

    fn run(&self, tx: &mut Tx<'_>) -> Result<Revocation, Failure> {
        let Some(id) = id_of(tx, &self.name)? else { return Ok(Revocation::Unknown) };
        if !another_admin(tx, id)? {
            return Ok(Revocation::LastAdmin);
        }
        let sql = format!("SELECT {COLUMNS} FROM tokens WHERE id = ?");
        let revoked = tx.sqlite.one(&sql, params![id], |row| token(row))?.made;
        revoke(tx, id, self.act.at)?;
        append_audit(tx, &self.act, Action::RevokeToken, (Some(&revoked), None))?;
        Ok(Revocation::Revoked)
    }
}

/// Saves when tokens were last used.
#[derive(Debug)]
pub(super) struct NoteUses(pub(super) Vec<(TokenId, Timestamp)>);

impl Step for NoteUses {
    type Answer = ();
    const CONTEXT: &'static str = "save the last use of tokens";

    fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        for (id, at) in &self.0 {
            tx.execute(
                "UPDATE tokens SET last_used_at = ?1
                 WHERE id = ?2 AND coalesce(last_used_at, ?1 - 1) < ?1",
                params![at.as_micros(), id.0],
            )?;
        }
        Ok(())
    }
}
