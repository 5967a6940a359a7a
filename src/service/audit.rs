//! The audit log: list, and verification of its hash chain.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::page::Page;
use super::{Condition, Service, ServiceError, filter};
use crate::domain::audit::{Action, Entry, NewEntry};
use crate::domain::auth::{Caller, Role};
use crate::store::StoreError;

/// An audit entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EntryView {
    /// Its number, from 1 without gaps.
    pub number: i64,
    /// When it was recorded.
    pub at: String,
    /// The token; `postrider` for the service itself.
    pub actor: String,
    /// The token's role at that time.
    pub role: Option<String>,
    /// The client address; for the service, the component.
    pub from: String,
    /// The request's id.
    pub request_id: Option<String>,
    /// The actor's note.
    pub note: Option<String>,
    /// The action.
    pub action: String,
    /// The subject: a resource's path, a token's name, a job's id.
    pub subject: String,
    /// The state before.
    pub before: Option<Value>,
    /// The state after.
    pub after: Option<Value>,
    /// SHA-256 over the entry before it and this one, in hex.
    pub hash: String,
}

/// The result of verifying the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerdictView {
    /// Whether the hash chain is intact.
    pub ok: bool,
    /// The number of valid entries from the first on.
    pub count: i64,
    /// The hash of the last valid entry, in hex. Stored elsewhere, it detects later whether entries
    /// were truncated or rewritten.
    pub head: String,
    /// The number of the first entry that was changed or is missing.
    pub broken: Option<i64>,
    /// Whether the entry in `kept` still has its hash; none without `kept`.
    pub kept: Option<bool>,
}

impl EntryView {
    fn of(entry: &Entry) -> Self {
        let (act, done) = (&entry.act, &entry.done);
        Self {
            number: entry.number,
            at: act.at.to_iso(),
            actor: act.actor.clone(),
            role: act.role.map(|role| Role::as_str(role).to_owned()),
            from: act.from.clone(),
            request_id: act.request_id.clone(),
            note: act.note.clone(),
            action: done.action.as_str().to_owned(),
            subject: done.subject.clone(),
            before: done.before.clone(),
            after: done.after.clone(),
            hash: hex::encode(entry.hash),
        }
    }
}

impl Service {
    /// Records an operation that changes nothing else in the store. It is called before the
    /// operation: what cannot be recorded is not done.
    pub(super) async fn note(
        &self,
        caller: &Caller,
        action: Action,
        subject: String,
        (before, after): (Option<Value>, Option<Value>),
    ) -> Result<(), StoreError> {
        let done = NewEntry { action, subject, before, after };
        self.store.append_audit(caller.act(self.clock.now()), done).await
    }

    /// A page of the audit entries that match, newest first. A caller with a destination scope sees
    /// the entries of these destinations.
    ///
    /// # Errors
    /// [`ServiceError`], with each invalid condition.
    pub async fn audit(
        &self,
        caller: &Caller,
        conditions: &[Condition],
    ) -> Result<Page<EntryView>, ServiceError> {
        let conditions = filter::absolute(conditions, self.clock.now());
        let mut query = filter::audit(&conditions)?;
        let limits = caller.scope.limits();
        query.within = limits.map(|paths| paths.iter().map(ToString::to_string).collect());
        let limit = query.limit;
        // One row beyond the limit shows whether there is a next page.
        query.limit += 1;
        let entries = self.store.audit_entries(query).await?;
        Ok(Page::numbered(entries, limit, |it| it.number, EntryView::of))
    }

    /// Verifies the hash chain of the audit log; with `kept`, `NUMBER:HASH`, also that this entry
    /// still has this hash.
    ///
    /// # Errors
    /// [`ServiceError`] for a caller with a destination scope, and for a malformed `kept`.
    pub async fn verify_audit(
        &self,
        caller: &Caller,
        kept: Option<&str>,
    ) -> Result<VerdictView, ServiceError> {
        caller.reaches_everything()?;
        let kept = kept.map(read_kept).transpose()?;
        let verdict = self.store.verify_audit().await?;
        let kept = match kept {
            Some((number, hash)) => Some(self.store.audit_hash(number).await? == Some(hash)),
            None => None,
        };
        Ok(VerdictView {
            ok: verdict.broken.is_none() && kept != Some(false),
            count: verdict.count,
            head: hex::encode(verdict.head),
            broken: verdict.broken,
            kept,
        })
    }
}

fn read_kept(text: &str) -> Result<(i64, [u8; 32]), ServiceError> {
    let read = || {
        let (number, hash) = text.split_once(':')?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(hash, &mut bytes).ok()?;
        Some((number.parse().ok()?, bytes))
    };
    read().ok_or_else(|| ServiceError::at("kept", "should be NUMBER:HASH, as verifying printed it"))
}
