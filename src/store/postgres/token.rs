//! API tokens: creation, revocation, last use. The store has digests only.

use sqlx::AssertSqlSafe;
use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::audit;
use super::tx::{Step, Tx, params};
use crate::domain::audit::Action;
use crate::domain::auth::Act;
use crate::domain::clock::Timestamp;
use crate::domain::id::TokenId;
use crate::store::failure::Failure;
use crate::store::row::{TOKEN_COLUMNS, scope_text, token, token_entry};
use crate::store::{NewToken, Revocation, StoreError, Token};
use async_trait::async_trait;

/// The tokens that were not revoked, by name.
pub(super) async fn read(conn: &mut PgConnection) -> Result<Vec<Token>, Failure> {
    let sql = format!("SELECT {TOKEN_COLUMNS} FROM tokens WHERE revoked_at IS NULL ORDER BY name");
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(conn).await?;
    rows.iter().map(token).collect()
}

async fn insert(tx: &mut Tx<'_>, made: &NewToken, act: &Act) -> Result<Token, Failure> {
    let id = tx
        .one(
            "INSERT INTO tokens (name, role, scope, digest, expires_at, created_at, created_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
            params![
                &made.name,
                made.role.as_str(),
                scope_text(&made.scope),
                &made.digest[..],
                made.expires_at.map(Timestamp::as_micros),
                act.at.as_micros(),
                &act.actor
            ],
            |row| Ok(row.try_get(0)?),
        )
        .await?;
    Ok(Token {
        id: TokenId(id),
        made: made.clone(),
        created_at: act.at,
        created_by: act.actor.clone(),
        last_used_at: None,
    })
}

async fn revoke(tx: &mut Tx<'_>, id: i64, now: Timestamp) -> Result<(), Failure> {
    tx.execute("UPDATE tokens SET revoked_at = $1 WHERE id = $2", params![now.as_micros(), id])
        .await?;
    Ok(())
}

/// Appends the audit entry of a token, before and after.
async fn append_audit(
    tx: &mut Tx<'_>,
    act: &Act,
    action: Action,
    change: (Option<&NewToken>, Option<&NewToken>),
) -> Result<(), Failure> {
    match token_entry(action, change) {
        Some(done) => audit::append(tx, act, &done).await,
        None => Ok(()),
    }
}

async fn id_of(tx: &mut Tx<'_>, name: &str) -> Result<Option<i64>, Failure> {
    let id = tx
        .first(
            "SELECT id FROM tokens WHERE name = $1 AND revoked_at IS NULL FOR UPDATE",
            params![name],
            |row| Ok(row.try_get(0)?),
        )
        .await?;
    Ok(id)
}

/// Whether another token is an unlimited admin that never expires.
async fn another_admin(tx: &mut Tx<'_>, id: i64) -> Result<bool, Failure> {
    let found = tx
        .one(
            "SELECT EXISTS (SELECT 1 FROM tokens WHERE id <> $1 AND revoked_at IS NULL
             AND role = 'admin' AND scope IS NULL AND expires_at IS NULL)",
            params![id],
            |row| Ok(row.try_get(0)?),
        )
        .await?;
    Ok(found)
}

/// Creates a token.
#[derive(Debug)]
pub(super) struct CreateToken {
    pub(super) token: NewToken,
    pub(super) act: Act,
}

#[async_trait]
impl Step for CreateToken {
    type Answer = Token;
    const CONTEXT: &'static str = "create a token";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Token, Failure> {
        audit::lock(tx).await?;
        if id_of(tx, &self.token.name).await?.is_some() {
            return Err(StoreError::Conflict.into());
        }
        let made = insert(tx, &self.token, &self.act).await?;
        append_audit(tx, &self.act, Action::CreateToken, (None, Some(&self.token))).await?;
        Ok(made)
    }
}

/// Admits the token of the machine's token file.
#[derive(Debug)]
pub(super) struct AdmitToken {
    pub(super) token: NewToken,
    pub(super) act: Act,
}

#[async_trait]
impl Step for AdmitToken {
    type Answer = Option<Token>;
    const CONTEXT: &'static str = "admit the operator's token";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Token>, Failure> {
        audit::lock(tx).await?;
        let known = tx
            .first(
                "SELECT id, revoked_at FROM tokens WHERE digest = $1",
                params![&self.token.digest[..]],
                |row| Ok((row.try_get(0)?, row.try_get(1)?)),
            )
            .await?;
        if let Some((id, revoked_at)) = known {
            let revoked_at: Option<i64> = revoked_at;
            if revoked_at.is_none() || another_admin(tx, id).await? {
                return Ok(None);
            }
            // No other token could create tokens: the machine's token file is the way back in.
            tx.execute("DELETE FROM tokens WHERE id = $1", params![id]).await?;
        }
        if let Some(id) = id_of(tx, &self.token.name).await? {
            revoke(tx, id, self.act.at).await?;
        }
        let made = insert(tx, &self.token, &self.act).await?;
        append_audit(tx, &self.act, Action::CreateToken, (None, Some(&self.token))).await?;
        Ok(Some(made))
    }
}

/// Revokes a token.
#[derive(Debug)]
pub(super) struct RevokeToken {
    pub(super) name: String,
    pub(super) act: Act,
}

#[async_trait]
impl Step for RevokeToken {
    type Answer = Revocation;
    const CONTEXT: &'static str = "revoke a token";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Revocation, Failure> {
        // Of the last two admins, revoked at once on two nodes, one stays.
        audit::lock(tx).await?;
        let Some(id) = id_of(tx, &self.name).await? else { return Ok(Revocation::Unknown) };
        if !another_admin(tx, id).await? {
            return Ok(Revocation::LastAdmin);
        }
        let sql = format!("SELECT {TOKEN_COLUMNS} FROM tokens WHERE id = $1");
        let revoked = tx.one(AssertSqlSafe(sql), params![id], |row| token(row)).await?.made;
        revoke(tx, id, self.act.at).await?;
        append_audit(tx, &self.act, Action::RevokeToken, (Some(&revoked), None)).await?;
        Ok(Revocation::Revoked)
    }
}

/// Saves when tokens were last used.
#[derive(Debug)]
pub(super) struct NoteUses(pub(super) Vec<(TokenId, Timestamp)>);

#[async_trait]
impl Step for NoteUses {
    type Answer = ();
    const CONTEXT: &'static str = "save the last use of tokens";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        for (id, at) in &self.0 {
            tx.execute(
                "UPDATE tokens SET last_used_at = $1
                 WHERE id = $2 AND coalesce(last_used_at, $1::bigint - 1) < $1",
                params![at.as_micros(), id.0],
            )
            .await?;
        }
        Ok(())
    }
}
