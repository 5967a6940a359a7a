//! Tokens: made, revoked, noted as used. Only their digests come here.

use std::collections::BTreeSet;

use serde_json::json;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::audit;
use super::failure::Failure;
use super::pipeline::{self, bytes};
use super::row::{Columns, foreign};
use super::writer::{Step, Tx};
use crate::domain::audit::{Action, NewEntry};
use crate::domain::auth::{Act, DestinationPath, Role, Scope};
use crate::domain::clock::Timestamp;
use crate::domain::id::TokenId;
use crate::store::{NewToken, Revocation, StoreError, Token};

fn token(row: &SqliteRow) -> Result<Token, Failure> {
    let mut from = Columns::from(row, 0);
    let id = TokenId(from.take()?);
    let name = from.take()?;
    let word: &str = from.take()?;
    let made = NewToken {
        name,
        role: Role::parse(word).ok_or_else(|| foreign("the role", word))?,
        scope: from.take::<Option<&str>>()?.map_or(Ok(Scope::Everything), scope)?,
        digest: bytes(&mut from, "a token's digest")?,
        expires_at: from.maybe_at()?,
    };
    let (created_at, created_by) = (from.at()?, from.take()?);
    Ok(Token { id, made, created_at, created_by, last_used_at: from.maybe_at()? })
}

fn scope(text: &str) -> Result<Scope, Failure> {
    let paths: BTreeSet<String> = pipeline::json("a token's scope", text)?;
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
    let rows = sqlx::query(
        "SELECT id, name, role, scope, digest, expires_at, created_at, created_by, last_used_at
         FROM tokens WHERE revoked_at IS NULL ORDER BY name",
    )
    .fetch_all(conn)
    .await?;
    rows.iter().map(token).collect()
}

async fn insert(tx: &mut Tx<'_>, made: &NewToken, act: &Act) -> Result<Token, Failure> {
    let done = sqlx::query(
        "INSERT INTO tokens (name, role, scope, digest, expires_at, created_at, created_by)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&made.name)
    .bind(made.role.as_str())
    .bind(scope_text(&made.scope))
    .bind(&made.digest[..])
    .bind(made.expires_at.map(Timestamp::as_micros))
    .bind(act.at.as_micros())
    .bind(&act.actor)
    .execute(&mut *tx.conn)
    .await?;
    Ok(Token {
        id: TokenId(done.last_insert_rowid()),
        made: made.clone(),
        created_at: act.at,
        created_by: act.actor.clone(),
        last_used_at: None,
    })
}

async fn revoke(tx: &mut Tx<'_>, id: i64, now: Timestamp) -> Result<(), Failure> {
    sqlx::query("UPDATE tokens SET revoked_at = ? WHERE id = ?")
        .bind(now.as_micros())
        .bind(id)
        .execute(&mut *tx.conn)
        .await?;
    Ok(())
}

/// Writes an audit entry of a token, as it was and as it is.
async fn tell(
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
    audit::append(tx, act, &done).await
}

async fn id_of(tx: &mut Tx<'_>, name: &str) -> Result<Option<i64>, Failure> {
    let id = sqlx::query_scalar("SELECT id FROM tokens WHERE name = ? AND revoked_at IS NULL")
        .bind(name)
        .fetch_optional(&mut *tx.conn)
        .await?;
    Ok(id)
}

/// Whether some token but this one can make others for good.
async fn another_admin(tx: &mut Tx<'_>, id: i64) -> Result<bool, Failure> {
    let found = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM tokens WHERE id <> ? AND revoked_at IS NULL
             AND role = 'admin' AND scope IS NULL AND expires_at IS NULL)",
    )
    .bind(id)
    .fetch_one(&mut *tx.conn)
    .await?;
    Ok(found)
}

/// Makes a token.
#[derive(Debug)]
pub(super) struct CreateToken {
    pub(super) token: NewToken,
    pub(super) act: Act,
}

#[async_trait::async_trait]
impl Step for CreateToken {
    type Answer = Token;
    const CONTEXT: &'static str = "make a token";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Token, Failure> {
        if id_of(tx, &self.token.name).await?.is_some() {
            return Err(StoreError::Conflict.into());
        }
        let made = insert(tx, &self.token, &self.act).await?;
        tell(tx, &self.act, Action::CreateToken, (None, Some(&self.token))).await?;
        Ok(made)
    }
}

/// Lets in the token of the machine's token file.
#[derive(Debug)]
pub(super) struct AdmitToken {
    pub(super) token: NewToken,
    pub(super) act: Act,
}

#[async_trait::async_trait]
impl Step for AdmitToken {
    type Answer = Option<Token>;
    const CONTEXT: &'static str = "let the operator's token in";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Token>, Failure> {
        let known = sqlx::query("SELECT id, revoked_at FROM tokens WHERE digest = ?")
            .bind(&self.token.digest[..])
            .fetch_optional(&mut *tx.conn)
            .await?;
        if let Some(row) = known {
            let mut from = Columns::from(&row, 0);
            let (id, revoked_at): (i64, Option<i64>) = (from.take()?, from.take()?);
            if revoked_at.is_none() || another_admin(tx, id).await? {
                return Ok(None);
            }
            // Nobody else could make tokens: whoever has the machine's file is let in again.
            sqlx::query("DELETE FROM tokens WHERE id = ?").bind(id).execute(&mut *tx.conn).await?;
        }
        if let Some(id) = id_of(tx, &self.token.name).await? {
            revoke(tx, id, self.act.at).await?;
        }
        let made = insert(tx, &self.token, &self.act).await?;
        tell(tx, &self.act, Action::CreateToken, (None, Some(&self.token))).await?;
        Ok(Some(made))
    }
}

/// Revokes a token.
#[derive(Debug)]
pub(super) struct RevokeToken {
    pub(super) name: String,
    pub(super) act: Act,
}

#[async_trait::async_trait]
impl Step for RevokeToken {
    type Answer = Revocation;
    const CONTEXT: &'static str = "revoke a token";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Revocation, Failure> {
        let Some(id) = id_of(tx, &self.name).await? else { return Ok(Revocation::Unknown) };
        if !another_admin(tx, id).await? {
            return Ok(Revocation::LastAdmin);
        }
        let tokens = read(tx.conn).await?;
        let revoked = tokens.iter().find(|it| it.id.0 == id).map(|it| &it.made);
        revoke(tx, id, self.act.at).await?;
        tell(tx, &self.act, Action::RevokeToken, (revoked, None)).await?;
        Ok(Revocation::Revoked)
    }
}

/// Notes when tokens were last used.
#[derive(Debug)]
pub(super) struct NoteUses(pub(super) Vec<(TokenId, Timestamp)>);

#[async_trait::async_trait]
impl Step for NoteUses {
    type Answer = ();
    const CONTEXT: &'static str = "note the use of tokens";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        for (id, at) in &self.0 {
            sqlx::query(
                "UPDATE tokens SET last_used_at = ?1
                 WHERE id = ?2 AND coalesce(last_used_at, ?1 - 1) < ?1",
            )
            .bind(at.as_micros())
            .bind(id.0)
            .execute(&mut *tx.conn)
            .await?;
        }
        Ok(())
    }
}
