//! The steps on what lets operators in, handed to the writer and to readers.

use async_trait::async_trait;

use super::failure::to_store;
use super::{SqliteStore, token};
use crate::clock::Timestamp;
use crate::domain::access::Act;
use crate::domain::id::TokenId;
use crate::store::{AccessStore, NewToken, Revocation, StoreError, Token};

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

    async fn note_token_uses(&self, uses: Vec<(TokenId, Timestamp)>) -> Result<(), StoreError> {
        if uses.is_empty() { Ok(()) } else { self.queue.step(token::NoteUses(uses)).await }
    }
}
