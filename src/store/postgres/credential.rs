//! Credentials, which an operator sets for a destination's requests, and connections, which hold the tokens
//! granted to it. Both are sealed outside the store.

use serde_json::json;
use sqlx::Row as _;

use super::audit;
use super::rows::NewRows;
use super::tx::{Step, Tx, params};
use crate::domain::audit::{Action, NewEntry};
use crate::domain::auth::Act;
use crate::domain::clock::Timestamp;
use crate::domain::secret::SealedSecret;
use crate::store::failure::Failure;
use crate::store::row::slot_columns;
use crate::store::{ConnectionChange, ConnectionState, CredentialSlot, StoreError};
use async_trait::async_trait;

/// Sets or removes credentials: of a destination the one of a slot.
pub(super) async fn put(
    tx: &mut Tx<'_>,
    given: Vec<(i64, (&CredentialSlot, Option<&SealedSecret>))>,
) -> Result<(), Failure> {
    let (mut ids, mut slots, mut headers) = (Vec::new(), Vec::new(), Vec::new());
    let mut rows = NewRows::default();
    for (id, (slot, secret)) in given {
        let (slot, header) = slot_columns(slot);
        if let Some(secret) = secret {
            sealed(rows.row().int(id).text(slot).text(&header), secret);
        }
        ids.push(id);
        slots.push(slot);
        headers.push(header.into_owned());
    }
    tx.execute(
        "DELETE FROM credentials AS c USING unnest($1::bigint[], $2::text[], $3::text[])
            AS g (destination_id, slot, header)
         WHERE c.destination_id = g.destination_id AND c.slot = g.slot AND c.header = g.header",
        params![ids, slots, headers],
    )
    .await?;
    rows.insert(
        tx.conn,
        "credentials (destination_id, slot, header, sealed_id, key_id, sealed, created_at)",
    )
    .await
}

/// Adds the columns of a sealed secret to a row.
pub(super) fn sealed<'a>(row: &'a mut NewRows, secret: &SealedSecret) -> &'a mut NewRows {
    row.bytes(&secret.id)
        .text(&secret.key_id)
        .bytes(&secret.sealed)
        .int(secret.created_at.as_micros())
}

/// Ends connections. The number of a destination without one is raised too, so that a grant in progress does not
/// become a connection.
pub(super) async fn disconnect(
    tx: &mut Tx<'_>,
    destination_ids: &[i64],
    faults: &[&str],
) -> Result<(), Failure> {
    tx.execute(
        "INSERT INTO connections AS c (destination_id, number, fault)
         SELECT g.id, 1, g.fault FROM unnest($1::bigint[], $2::text[]) AS g (id, fault)
         ON CONFLICT (destination_id) DO UPDATE SET number = c.number + 1, fault = excluded.fault,
            expires_at = NULL, sealed_id = NULL, key_id = NULL, sealed = NULL, created_at = NULL",
        params![destination_ids, faults],
    )
    .await?;
    Ok(())
}

/// A change of a connection by the running service.
#[derive(Debug)]
pub(super) struct PutConnection {
    pub(super) change: ConnectionChange,
    pub(super) act: Act,
}

#[async_trait]
impl Step for PutConnection {
    type Answer = i64;
    const CONTEXT: &'static str = "change a connection";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<i64, Failure> {
        let id = self.change.destination_id.0;
        let found: Option<(i64, bool, String)> = tx
            .first(
                "SELECT coalesce(c.number, 0), c.sealed IS NOT NULL, s.name || '/' || d.name
             FROM destinations AS d JOIN sources AS s ON s.id = d.source_id
             LEFT JOIN connections AS c ON c.destination_id = d.id
             WHERE d.id = $1 AND d.removed_at IS NULL FOR UPDATE OF d",
                params![id],
                |row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)),
            )
            .await?;
        let found = found.filter(|(number, _, _)| *number == self.change.expected_number);
        let Some((_, connected, path)) = found else {
            return Err(StoreError::Conflict.into());
        };
        match &self.change.state {
            ConnectionState::Connected { tokens, expires_at } => {
                self.connect(tx, tokens, *expires_at).await?;
                if !connected {
                    self.resume(tx).await?;
                }
            }
            ConnectionState::Lost { fault } => disconnect(tx, &[id], &[fault]).await?,
        }
        if let Some(done) = self.entry(connected, path) {
            audit::append(tx, &self.act, &done).await?;
        }
        Ok(self.change.expected_number + 1)
    }
}

impl PutConnection {
    /// Its audit entry: connecting and disconnecting have one, a refresh has none.
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

    /// New tokens of a connection keep its `connected_at`.
    async fn connect(
        &self,
        tx: &mut Tx<'_>,
        tokens: &SealedSecret,
        expires_at: Option<Timestamp>,
    ) -> Result<(), Failure> {
        tx.execute(
            "INSERT INTO connections AS c (destination_id, number, connected_at, expires_at,
                sealed_id, key_id, sealed, created_at)
             VALUES ($1, 1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (destination_id) DO UPDATE SET number = c.number + 1, fault = NULL,
                connected_at = CASE WHEN c.sealed IS NULL THEN $2 ELSE c.connected_at END,
                expires_at = $3, sealed_id = $4, key_id = $5, sealed = $6, created_at = $7",
            params![
                self.change.destination_id.0,
                self.act.at.as_micros(),
                expires_at.map(Timestamp::as_micros),
                &tokens.id[..],
                &tokens.key_id,
                &tokens.sealed,
                tokens.created_at.as_micros()
            ],
        )
        .await?;
        Ok(())
    }

    /// Deliveries that were held until now get a fresh window.
    async fn resume(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        let now = tx.clock.service_now().as_micros();
        tx.execute(
            "UPDATE destinations SET resumed_at = $1 WHERE id = $2",
            params![now, self.change.destination_id.0],
        )
        .await?;
        Ok(())
    }
}
