//! Operator tokens at rest: only their digests.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::auth::{Act, Role, Scope};
use crate::domain::clock::Timestamp;
use crate::domain::id::TokenId;

/// A stored token. Revoked ones are not listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The key.
    pub id: TokenId,
    /// As it was created.
    pub made: NewToken,
    /// When it was created.
    pub created_at: Timestamp,
    /// The name of the token that created it.
    pub created_by: String,
    /// When it was last used, to about a minute.
    pub last_used_at: Option<Timestamp>,
}

/// A token to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// Its unique name; the actor in audit entries.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// The sources and destinations that it is limited to.
    pub scope: Scope,
    /// SHA-256 of the token.
    pub digest: [u8; 32],
    /// When it expires; none: never.
    pub expires_at: Option<Timestamp>,
}

/// The result of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// Committed: the token no longer authenticates.
    Revoked,
    /// There is no such token.
    Unknown,
    /// It is the last token that can create others: nothing changed.
    LastAdmin,
}

/// Stored tokens. Rooms cache them; with several nodes a revocation reaches the others' caches within
/// a second.
#[async_trait]
pub trait Tokens: Send + Sync + 'static {
    /// Creates a token: [`StoreError::Conflict`] when its name is taken.
    async fn create_token(&self, token: NewToken, act: Act) -> Result<Token, StoreError>;

    /// Creates the token of the node's token file, in place of one with its name. None when the same
    /// token was created before and is in force. A revoked one is reinstated only when no other token
    /// could create tokens.
    async fn admit_token(&self, token: NewToken, act: Act) -> Result<Option<Token>, StoreError>;

    /// Revokes a token by name, unless it is the last admin token without scope limits and expiry.
    async fn revoke_token(&self, name: &str, act: Act) -> Result<Revocation, StoreError>;

    /// The tokens that are not revoked, by name; expired ones included.
    async fn tokens(&self) -> Result<Vec<Token>, StoreError>;

    /// Records when tokens were last used. Never moves a time back.
    async fn record_token_uses(&self, uses: Vec<(TokenId, Timestamp)>) -> Result<(), StoreError>;
}
