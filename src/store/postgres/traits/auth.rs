//! Tokens, idempotency keys and the audit log on PostgreSQL.

use async_trait::async_trait;

use super::super::error::to_store;
use super::super::{PostgresStore, audit, idempotency, token};
use crate::domain::audit::{Entry, NewEntry};
use crate::domain::auth::Act;
use crate::domain::clock::Timestamp;
use crate::domain::id::TokenId;
use crate::domain::secret::SealedSecret;
use crate::domain::service_time::ServiceTime;
use crate::store::{
    AuditLog, AuditQuery, AuditVerdict, IdempotencyKey, IdempotencyKeys, IdempotencyState,
    NewToken, Revocation, StoreError, Token, Tokens,
};

#[async_trait]
impl Tokens for PostgresStore {
    async fn create_token(&self, token: NewToken, act: Act) -> Result<Token, StoreError> {
        self.step(token::CreateToken { token, act }).await
    }

    async fn admit_token(&self, token: NewToken, act: Act) -> Result<Option<Token>, StoreError> {
        self.step(token::AdmitToken { token, act }).await
    }

    async fn revoke_token(&self, name: &str, act: Act) -> Result<Revocation, StoreError> {
        self.step(token::RevokeToken { name: name.to_owned(), act }).await
    }

    async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        const CONTEXT: &str = "read the tokens";
        let mut conn = self.reader(CONTEXT).await?;
        token::read(&mut conn).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn record_token_uses(&self, uses: Vec<(TokenId, Timestamp)>) -> Result<(), StoreError> {
        if uses.is_empty() { Ok(()) } else { self.step(token::NoteUses(uses)).await }
    }
}

#[async_trait]
impl IdempotencyKeys for PostgresStore {
    async fn begin_request(
        &self,
        key: IdempotencyKey,
        fingerprint: [u8; 32],
        process: Timestamp,
        now: ServiceTime,
    ) -> Result<IdempotencyState, StoreError> {
        self.step(idempotency::Begin { key, fingerprint, process, now }).await
    }

    async fn complete_request(
        &self,
        key: IdempotencyKey,
        response: Option<SealedSecret>,
    ) -> Result<(), StoreError> {
        self.step(idempotency::End { key, answer: response }).await
    }
}

#[async_trait]
impl AuditLog for PostgresStore {
    async fn append_audit(&self, act: Act, done: NewEntry) -> Result<(), StoreError> {
        self.step(audit::Note { act, done }).await
    }

    async fn audit_entries(&self, query: AuditQuery) -> Result<Vec<Entry>, StoreError> {
        const CONTEXT: &str = "list audit entries";
        let mut conn = self.reader(CONTEXT).await?;
        audit::list(&mut conn, &query).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn verify_audit(&self) -> Result<AuditVerdict, StoreError> {
        const CONTEXT: &str = "verify the audit log";
        let mut conn = self.reader(CONTEXT).await?;
        audit::verify(&mut conn).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn audit_hash(&self, number: i64) -> Result<Option<[u8; 32]>, StoreError> {
        const CONTEXT: &str = "read an audit entry";
        let mut conn = self.reader(CONTEXT).await?;
        audit::hash_of(&mut conn, number).await.map_err(|error| to_store(CONTEXT, error))
    }
}
