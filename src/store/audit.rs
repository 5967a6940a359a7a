//! The audit log: append-only, each entry chained to the one before by its hash.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::audit::{Action, Entry, NewEntry};
use crate::domain::auth::Act;
use crate::domain::clock::Timestamp;

/// Filter of a list of audit entries; all conditions apply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// By this actor.
    pub actor: Option<String>,
    /// With this action.
    pub action: Option<Action>,
    /// About this subject, or one below it.
    pub subject: Option<String>,
    /// At or after.
    pub from: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// Only subjects at or below these paths.
    pub within: Option<Vec<String>>,
    /// Below this entry number: the cursor of keyset pagination, newest first. Entries are numbered
    /// without gaps, on every engine.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: u32,
}

/// The result of verifying the hash chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditVerdict {
    /// How many entries from the first on are unchanged.
    pub count: i64,
    /// The hash of the last of them.
    pub head: [u8; 32],
    /// The number of the first entry that was changed or is missing.
    pub broken: Option<i64>,
}

/// The audit log. Steps that change the store append their entries in the same commit.
#[async_trait]
pub trait AuditLog: Send + Sync + 'static {
    /// Appends an entry about something that changes nothing else in the store.
    async fn append_audit(&self, act: Act, done: NewEntry) -> Result<(), StoreError>;

    /// Entries that match, newest first.
    async fn audit_entries(&self, query: AuditQuery) -> Result<Vec<Entry>, StoreError>;

    /// Verifies the whole hash chain. Reads every entry.
    async fn verify_audit(&self) -> Result<AuditVerdict, StoreError>;

    /// An entry's hash; none when there is no such entry.
    async fn audit_hash(&self, number: i64) -> Result<Option<[u8; 32]>, StoreError>;
}
