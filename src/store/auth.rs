//! What lets operators in, as the store keeps it, and the steps on it.

use async_trait::async_trait;

use super::{SealedSecret, StoreError};
use crate::domain::audit::{Action, Entry, NewEntry};
use crate::domain::auth::{Act, Role, Scope};
use crate::domain::clock::Timestamp;
use crate::domain::id::TokenId;

/// A token as the store keeps it; one that was revoked is not shown any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The key.
    pub id: TokenId,
    /// What it was made as.
    pub made: NewToken,
    /// When it was made.
    pub created_at: Timestamp,
    /// The name of the token it was made with.
    pub created_by: String,
    /// When it was last used, to the minute or so.
    pub last_used_at: Option<Timestamp>,
}

/// A token to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// What it is called; unique. Shown as the actor of what is done with it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Where it may.
    pub scope: Scope,
    /// SHA-256 of the token.
    pub digest: [u8; 32],
    /// When it ends; none: never.
    pub expires_at: Option<Timestamp>,
}

/// What became of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// It lets nobody in any more.
    Revoked,
    /// There is no such token.
    Unknown,
    /// It is the last one that can make others: nothing was changed.
    LastAdmin,
}

/// The key that a request is done once under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepeatKey {
    /// Whose.
    pub token_id: TokenId,
    /// As it was given.
    pub key: String,
}

/// What is known of a request under its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Nothing: it is to be done, and this is on record now.
    First,
    /// Another request was made under the key.
    Other,
    /// It is being done.
    UnderWay,
    /// It was being done when its process ended.
    Interrupted,
    /// It was done, and answered so.
    Answered(SealedSecret),
}

/// What a list of audit entries is narrowed to; all conditions hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// By this actor.
    pub actor: Option<String>,
    /// Of this action.
    pub action: Option<Action>,
    /// To this, or to what is below it.
    pub subject: Option<String>,
    /// Done at or after.
    pub from: Option<Timestamp>,
    /// Done before.
    pub until: Option<Timestamp>,
    /// Only what is told of these paths and of what is below them.
    pub within: Option<Vec<String>>,
    /// Only numbers below this: the cursor; newest come first.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: u32,
}

/// What verifying the audit log gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditVerdict {
    /// So many entries from the first on are as they were written.
    pub count: i64,
    /// The hash of the last of them.
    pub head: [u8; 32],
    /// The number of the first that is not, or that is missing; none when all are.
    pub broken: Option<i64>,
}

/// The steps on what lets operators in and on what is kept of what they did.
#[async_trait]
pub trait AccessStore: Send + Sync + 'static {
    /// Makes a token: [`StoreError::Conflict`] when its name is taken.
    async fn create_token(&self, token: NewToken, act: Act) -> Result<Token, StoreError>;

    /// Lets in whoever brings the token of the machine's token file: makes it, in place of one with
    /// its name. None when this very token was made before and is in force; one that was revoked is
    /// only let in again when no other could make tokens.
    async fn admit_token(&self, token: NewToken, act: Act) -> Result<Option<Token>, StoreError>;

    /// Revokes a token by name, unless it is the last that could make others: an admin's, without
    /// limits, that does not end.
    async fn revoke_token(&self, name: &str, act: Act) -> Result<Revocation, StoreError>;

    /// The tokens that were not revoked, by name; those that ended included.
    async fn tokens(&self) -> Result<Vec<Token>, StoreError>;

    /// Begins a request under its key, unless one was begun there within a day: `fingerprint` tells
    /// requests apart, `process` the processes that serve them.
    async fn begin_once(
        &self,
        key: RepeatKey,
        fingerprint: [u8; 32],
        process: Timestamp,
        now: Timestamp,
    ) -> Result<Repeat, StoreError>;

    /// Keeps the answer of a request that was begun; none frees its key.
    async fn end_once(
        &self,
        key: RepeatKey,
        answer: Option<SealedSecret>,
    ) -> Result<(), StoreError>;

    /// Writes an audit entry of what changed nothing in the store.
    async fn note(&self, act: Act, done: NewEntry) -> Result<(), StoreError>;

    /// Audit entries, newest first.
    async fn audit(&self, query: AuditQuery) -> Result<Vec<Entry>, StoreError>;

    /// Works out again whether each audit entry is as it was written. Reads them all.
    async fn verify_audit(&self) -> Result<AuditVerdict, StoreError>;

    /// The hash of an audit entry; none when there is no such entry.
    async fn audit_hash(&self, number: i64) -> Result<Option<[u8; 32]>, StoreError>;

    /// Notes when tokens were last used. Never moves one back.
    async fn note_token_uses(&self, uses: Vec<(TokenId, Timestamp)>) -> Result<(), StoreError>;
}
