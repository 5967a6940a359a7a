//! Credentials and connections: what the operator gave for a destination's requests, and the tokens
//! that were granted to it. Sealed when they come here and sealed when they leave.

use serde_json::json;
use sqlx::sqlite::SqliteRow;

use super::audit;
use super::failure::Failure;
use super::pipeline::sealed;
use super::row::{Columns, foreign};
use super::writer::{Step, Tx};
use crate::domain::audit::{Action, NewEntry};
use crate::domain::auth::Act;
use crate::domain::clock::Timestamp;
use crate::domain::id::DestinationId;
use crate::store::{
    Connection, ConnectionChange, ConnectionState, Credential, CredentialSlot, SealedSecret,
    StoreError,
};

/// What [`credential`] reads.
pub(super) const SELECT: &str = "
    SELECT destination_id, slot, header, sealed_id, key_id, sealed, created_at, NULL
    FROM credentials ORDER BY destination_id, slot, header";

/// What [`connection`] reads.
pub(super) const SELECT_CONNECTIONS: &str = "
    SELECT destination_id, number, connected_at, expires_at, fault,
        sealed_id, key_id, sealed, created_at, NULL
    FROM connections ORDER BY destination_id";

fn columns(slot: &CredentialSlot) -> (&'static str, &str) {
    match slot {
        CredentialSlot::BearerToken => ("bearer_token", ""),
        CredentialSlot::ClientSecret => ("client_secret", ""),
        CredentialSlot::Header(name) => ("header", name),
    }
}

pub(super) fn credential(row: &SqliteRow) -> Result<Credential, Failure> {
    let mut from = Columns::from(row, 0);
    let destination_id = DestinationId(from.take()?);
    let (word, header): (&str, String) = (from.take()?, from.take()?);
    let slot = match word {
        "bearer_token" => CredentialSlot::BearerToken,
        "client_secret" => CredentialSlot::ClientSecret,
        "header" => CredentialSlot::Header(header),
        other => return Err(foreign("the credential", other)),
    };
    Ok(Credential { destination_id, slot, secret: sealed(&mut from)? })
}

pub(super) fn connection(row: &SqliteRow) -> Result<Connection, Failure> {
    let mut from = Columns::from(row, 0);
    let destination_id = DestinationId(from.take()?);
    let (number, connected_at) = (from.take()?, from.maybe_at()?);
    let expires_at = from.maybe_at()?;
    let state = match from.take::<Option<String>>()? {
        Some(fault) => ConnectionState::Lost { fault },
        None => ConnectionState::Connected { tokens: sealed(&mut from)?, expires_at },
    };
    Ok(Connection { destination_id, number, connected_at, state })
}

/// Puts a credential into its slot, or takes it out.
pub(super) async fn put(
    tx: &mut Tx<'_>,
    destination_id: i64,
    slot: &CredentialSlot,
    secret: Option<&SealedSecret>,
) -> Result<(), Failure> {
    let (word, header) = columns(slot);
    sqlx::query("DELETE FROM credentials WHERE destination_id = ? AND slot = ? AND header = ?")
        .bind(destination_id)
        .bind(word)
        .bind(header)
        .execute(&mut *tx.conn)
        .await?;
    let Some(secret) = secret else { return Ok(()) };
    sqlx::query(
        "INSERT INTO credentials
            (destination_id, slot, header, sealed_id, key_id, sealed, created_at)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(destination_id)
    .bind(word)
    .bind(header)
    .bind(&secret.id[..])
    .bind(&secret.key_id)
    .bind(&secret.sealed)
    .bind(secret.created_at.as_micros())
    .execute(&mut *tx.conn)
    .await?;
    Ok(())
}

/// Ends a connection. A destination that has none gets its number raised all the same: a grant that
/// is under way must not become one.
pub(super) async fn disconnect(
    tx: &mut Tx<'_>,
    destination_id: i64,
    fault: &str,
) -> Result<(), Failure> {
    sqlx::query(
        "INSERT INTO connections (destination_id, number, fault) VALUES (?1, 1, ?2)
         ON CONFLICT (destination_id) DO UPDATE SET number = number + 1, fault = ?2,
            expires_at = NULL, sealed_id = NULL, key_id = NULL, sealed = NULL, created_at = NULL",
    )
    .bind(destination_id)
    .bind(fault)
    .execute(&mut *tx.conn)
    .await?;
    Ok(())
}

/// One change of a connection while the service runs.
#[derive(Debug)]
pub(super) struct PutConnection {
    pub(super) change: ConnectionChange,
    pub(super) act: Act,
}

#[async_trait::async_trait]
impl Step for PutConnection {
    type Answer = i64;
    const CONTEXT: &'static str = "change a connection";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<i64, Failure> {
        let id = self.change.destination_id.0;
        let found: Option<(i64, bool, String)> = sqlx::query_as(
            "SELECT coalesce(c.number, 0), c.sealed IS NOT NULL, s.name || '/' || d.name
             FROM destinations AS d JOIN sources AS s ON s.id = d.source_id
             LEFT JOIN connections AS c ON c.destination_id = d.id
             WHERE d.id = ? AND d.removed_at IS NULL",
        )
        .bind(id)
        .fetch_optional(&mut *tx.conn)
        .await?;
        let found = found.filter(|(number, _, _)| *number == self.change.expected_number);
        let Some((_, connected, path)) = found else {
            return Err(StoreError::Conflict.into());
        };
        match &self.change.state {
            ConnectionState::Connected { tokens, expires_at } => {
                self.connect(tx, tokens, *expires_at).await?;
            }
            ConnectionState::Lost { fault } => disconnect(tx, id, fault).await?,
        }
        if let Some(done) = self.entry(connected, path) {
            audit::append(tx, &self.act, &done).await?;
        }
        Ok(self.change.expected_number + 1)
    }
}

impl PutConnection {
    /// What the audit log tells: that it was connected or is not any more, not that it was refreshed.
    fn entry(&self, connected: bool, path: String) -> Option<NewEntry> {
        let (action, after) = match &self.change.state {
            ConnectionState::Connected { .. } if connected => return None,
            ConnectionState::Connected { .. } => (Action::Connect, json!({"connected": true})),
            ConnectionState::Lost { fault } => {
                (Action::Disconnect, json!({"connected": false, "because": fault}))
            }
        };
        let before = Some(json!({"connected": connected}));
        Some(NewEntry { action, subject: path, before, after: Some(after) })
    }

    /// Tokens that replace others keep the time since when it is connected.
    async fn connect(
        &self,
        tx: &mut Tx<'_>,
        tokens: &SealedSecret,
        expires_at: Option<Timestamp>,
    ) -> Result<(), Failure> {
        sqlx::query(
            "INSERT INTO connections (destination_id, number, connected_at, expires_at,
                sealed_id, key_id, sealed, created_at)
             VALUES (?1, 1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (destination_id) DO UPDATE SET number = number + 1, fault = NULL,
                connected_at = CASE WHEN sealed IS NULL THEN ?2 ELSE connected_at END,
                expires_at = ?3, sealed_id = ?4, key_id = ?5, sealed = ?6, created_at = ?7",
        )
        .bind(self.change.destination_id.0)
        .bind(self.act.at.as_micros())
        .bind(expires_at.map(Timestamp::as_micros))
        .bind(&tokens.id[..])
        .bind(&tokens.key_id)
        .bind(&tokens.sealed)
        .bind(tokens.created_at.as_micros())
        .execute(&mut *tx.conn)
        .await?;
        Ok(())
    }
}
