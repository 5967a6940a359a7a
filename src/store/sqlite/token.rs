//! API tokens: creation, revocation, last use. The store has digests only.

use rusqlite::params;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;

use super::audit;
use super::writer::step::{Step, Tx};
use crate::domain::audit::Action;
use crate::domain::auth::Act;
use crate::domain::clock::Timestamp;
use crate::domain::id::TokenId;
use crate::store::failure::Failure;
use crate::store::row::{TOKEN_COLUMNS, scope_text, token, token_entry};
use crate::store::{NewToken, Revocation, StoreError, Token};

/// The tokens that were not revoked, by name.
pub(super) async fn read(conn: &mut SqliteConnection) -> Result<Vec<Token>, Failure> {
    let sql = format!("SELECT {TOKEN_COLUMNS} FROM tokens WHERE revoked_at IS NULL ORDER BY name");
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
    change: (Option<&NewToken>, Option<&NewToken>),
) -> Result<(), Failure> {
    match token_entry(action, change) {
        Some(done) => audit::append(tx, act, &done),
        None => Ok(()),
    }
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
        let sql = format!("SELECT {TOKEN_COLUMNS} FROM tokens WHERE id = ?");
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
