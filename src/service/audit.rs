//! The audit log: who did what, when and from where, and whether what is kept of it is as it was
//! written.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::deliveries::Page;
use super::{Condition, Refusal, Service, filter};
use crate::domain::audit::{Action, Entry, NewEntry};
use crate::domain::auth::{Caller, Role};
use crate::store::StoreError;

/// An audit entry as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EntryView {
    /// Counts up from 1 without a gap.
    pub number: i64,
    /// When it was done.
    pub at: String,
    /// The token that it was done with; `postrider` for what the service did by itself.
    pub actor: String,
    /// The token's role at that time.
    pub role: Option<String>,
    /// The address that it came from; for the service, what in it acted.
    pub from: String,
    /// The request's id.
    pub request_id: Option<String>,
    /// Why, in the actor's words.
    pub note: Option<String>,
    /// What was done.
    pub action: String,
    /// To what: the path of what is set up, a token's name, a job's id.
    pub subject: String,
    /// What it was.
    pub before: Option<Value>,
    /// What it is.
    pub after: Option<Value>,
    /// SHA-256 over the entry before it and this one, in hex.
    pub hash: String,
}

/// What verifying the audit log gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerdictView {
    /// Whether every entry is as it was written.
    pub ok: bool,
    /// So many entries from the first on are.
    pub count: i64,
    /// The hash of the last of them, in hex: kept elsewhere, it tells later whether entries were
    /// taken from the end or all were written anew.
    pub head: String,
    /// The number of the first that was changed or is missing.
    pub broken: Option<i64>,
    /// Whether the entry asked about still has the hash that was kept; none when none was given.
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
    /// Keeps on record what changes nothing in the store. To be done before the act: what cannot be
    /// kept is not done.
    pub(super) async fn note(
        &self,
        caller: &Caller,
        action: Action,
        subject: String,
        (before, after): (Option<Value>, Option<Value>),
    ) -> Result<(), StoreError> {
        let done = NewEntry { action, subject, before, after };
        self.store.note(caller.act(self.clock.now()), done).await
    }

    /// A page of the audit entries that meet the conditions, newest first. A caller that is limited
    /// to destinations sees what is told of them.
    ///
    /// # Errors
    /// [`Refusal`], with each condition that is not right.
    pub async fn audit(
        &self,
        caller: &Caller,
        conditions: &[Condition],
    ) -> Result<Page<EntryView>, Refusal> {
        let mut query = filter::audit(conditions)?;
        let limits = caller.scope.limits();
        query.within = limits.map(|paths| paths.iter().map(ToString::to_string).collect());
        let limit = query.limit as usize;
        query.limit += 1;
        let entries = self.store.audit(query).await?;
        let more = entries.len() > limit;
        let items: Vec<_> = entries.iter().take(limit).map(EntryView::of).collect();
        let next = items.last().filter(|_| more).map(|last| last.number.to_string());
        Ok(Page { items, next, looked_to: None })
    }

    /// Whether every audit entry is as it was written; with `kept`, `NUMBER:HASH`, whether that
    /// entry still has that hash.
    ///
    /// # Errors
    /// [`Refusal`] for a caller that is limited, and for a `kept` that is not one.
    pub async fn verify_audit(
        &self,
        caller: &Caller,
        kept: Option<&str>,
    ) -> Result<VerdictView, Refusal> {
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

fn read_kept(text: &str) -> Result<(i64, [u8; 32]), Refusal> {
    let read = || {
        let (number, hash) = text.split_once(':')?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(hash, &mut bytes).ok()?;
        Some((number.parse().ok()?, bytes))
    };
    read().ok_or_else(|| Refusal::at("kept", "should be NUMBER:HASH, as verifying printed it"))
}
