//! Rows of the audit log, and the chain of their hashes.

use super::{Columns, Row, foreign, from_json};
use crate::domain::audit::{Action, CHAIN_START, Entry, NewEntry, chained};
use crate::domain::auth::{Act, Role};
use crate::store::AuditVerdict;
use crate::store::failure::Failure;

/// The columns that [`audit_entry`] reads.
pub(crate) const AUDIT_COLUMNS: &str = "number, at, actor, role, from_address, request_id, note, action, \
     subject, before, after, hash";

/// A row of [`AUDIT_COLUMNS`].
pub(crate) fn audit_entry<'a>(row: impl Into<Row<'a>>) -> Result<Entry, Failure> {
    let mut from = Columns::from(row, 0);
    let (number, at) = (from.take()?, from.at()?);
    let actor = from.take()?;
    let role = match from.maybe_text()? {
        Some(word) => Some(Role::parse(word).ok_or_else(|| foreign("the role", word))?),
        None => None,
    };
    let act =
        Act { actor, role, from: from.take()?, request_id: from.take()?, note: from.take()?, at };
    let word = from.text()?;
    let action = Action::parse(word).ok_or_else(|| foreign("the action", word))?;
    let subject = from.take()?;
    let value = |text: Option<&str>| text.map(|text| from_json("an audit entry", text)).transpose();
    let (before, after) = (value(from.maybe_text()?)?, value(from.maybe_text()?)?);
    let hash = from.bytes("an audit entry's hash")?;
    Ok(Entry { number, act, done: NewEntry { action, subject, before, after }, hash })
}

/// The verification of the log: each entry is hashed again, from the first on.
#[derive(Debug)]
pub(crate) struct Chain {
    verdict: AuditVerdict,
}

impl Default for Chain {
    fn default() -> Self {
        Self { verdict: AuditVerdict { count: 0, head: CHAIN_START, broken: None } }
    }
}

impl Chain {
    /// How many entries are sound.
    pub(crate) const fn count(&self) -> i64 {
        self.verdict.count
    }

    /// Whether the next row follows those before it. One that cannot be decoded was tampered with, like one that
    /// decodes differently.
    pub(crate) fn follows<'a>(&mut self, row: impl Into<Row<'a>>) -> bool {
        let AuditVerdict { count, head, broken } = &mut self.verdict;
        let number = *count + 1;
        let is_sound =
            |it: &Entry| it.number == number && chained(head, number, &it.act, &it.done) == it.hash;
        match audit_entry(row).ok().filter(is_sound) {
            Some(entry) => (*count, *head) = (number, entry.hash),
            None => *broken = Some(number),
        }
        broken.is_none()
    }

    /// The result.
    pub(crate) fn verdict(self) -> AuditVerdict {
        self.verdict
    }
}
