//! The steps on what lets operators in, handed to the writer and to readers.

use async_trait::async_trait;

use super::error::to_store;
use super::{SqliteStore, audit, idempotency, token};
use crate::domain::audit::{Entry, NewEntry};
use crate::domain::auth::Act;
use crate::domain::clock::Timestamp;
use crate::domain::id::TokenId;
use crate::store::{
    AccessStore, AuditQuery, AuditVerdict, NewToken, Repeat, RepeatKey, Revocation, SealedSecret,
    StoreError, Token,
};

#[async_trait]
impl AccessStore for SqliteStore {
    async fn create_token(&self, token: NewToken, act: Act) -> Result<Token, StoreError> {
        self.queue.step(token::CreateToken { token, act }).await
    }

    async fn admit_token(&self, token: NewToken, act: Act) -> Result<Option<Token>, StoreError> {
        self.queue.step(token::AdmitToken { token, act }).await
    }

    async fn revoke_token(&self, name: &str, act: Act) -> Result<Revocation, StoreError> {
        self.queue.step(token::RevokeToken { name: name.to_owned(), act }).await
    }

    async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        const CONTEXT: &str = "read the tokens";
        let mut conn = self.reader(CONTEXT).await?;
        token::read(&mut conn).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn begin_once(
        &self,
        key: RepeatKey,
        fingerprint: [u8; 32],
        process: Timestamp,
        now: Timestamp,
    ) -> Result<Repeat, StoreError> {
        self.queue.step(idempotency::Begin { key, fingerprint, process, now }).await
    }

    async fn end_once(
        &self,
        key: RepeatKey,
        answer: Option<SealedSecret>,
    ) -> Result<(), StoreError> {
        self.queue.step(idempotency::End { key, answer }).await
    }

    async fn note(&self, act: Act, done: NewEntry) -> Result<(), StoreError> {
        self.queue.step(audit::Note { act, done }).await
    }

    async fn audit(&self, query: AuditQuery) -> Result<Vec<Entry>, StoreError> {
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

    async fn note_token_uses(&self, uses: Vec<(TokenId, Timestamp)>) -> Result<(), StoreError> {
        if uses.is_empty() { Ok(()) } else { self.queue.step(token::NoteUses(uses)).await }
    }
}
