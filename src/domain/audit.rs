//! The audit log: one entry for each change, in a hash chain that makes altered, removed and inserted
//! entries detectable. An entry never contains a secret, at most that one was changed.

use serde_json::{Value, json};

use super::auth::Act;
use crate::domain::digest::sha256;

/// The action of an entry; its name is the filter of lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A source, destination or mapping was created.
    Create,
    /// One was changed.
    Change,
    /// One was removed.
    Remove,
    /// A token was created.
    CreateToken,
    /// A token was revoked.
    RevokeToken,
    /// A redrive job was created.
    Redrive,
    /// A discard job was created.
    Discard,
    /// A backfill job was created.
    Backfill,
    /// A job was cancelled.
    CancelJob,
    /// A job processed all that it selected.
    FinishJob,
    /// Connecting a destination was started.
    BeginConnect,
    /// A destination was connected.
    Connect,
    /// A destination was disconnected.
    Disconnect,
    /// A destination or a mapping was paused.
    Pause,
    /// One was resumed.
    Resume,
    /// A test event was sent.
    TestSend,
    /// An inspector's answer was set.
    SetInspector,
    /// An inspector was removed with its requests.
    ForgetInspector,
    /// A sign-in.
    SignIn,
    /// A sign-out.
    SignOut,
    /// A sign-in was refused.
    RefuseSignIn,
    /// The ledger was corrected by counted deliveries.
    RepairLedger,
    /// Events past an age were removed.
    Prune,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 23] = [
        Self::Create,
        Self::Change,
        Self::Remove,
        Self::CreateToken,
        Self::RevokeToken,
        Self::Redrive,
        Self::Discard,
        Self::Backfill,
        Self::CancelJob,
        Self::FinishJob,
        Self::BeginConnect,
        Self::Connect,
        Self::Disconnect,
        Self::Pause,
        Self::Resume,
        Self::TestSend,
        Self::SetInspector,
        Self::ForgetInspector,
        Self::SignIn,
        Self::SignOut,
        Self::RefuseSignIn,
        Self::RepairLedger,
        Self::Prune,
    ];

    /// The name in tables, URLs and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::Remove => "remove",
            Self::CreateToken => "create_token",
            Self::RevokeToken => "revoke_token",
            Self::Redrive => "redrive",
            Self::Discard => "discard",
            Self::Backfill => "backfill",
            Self::CancelJob => "cancel_job",
            Self::FinishJob => "finish_job",
            Self::BeginConnect => "begin_connect",
            Self::Connect => "connect",
            Self::Disconnect => "disconnect",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::TestSend => "test_send",
            Self::SetInspector => "set_inspector",
            Self::ForgetInspector => "forget_inspector",
            Self::SignIn => "sign_in",
            Self::SignOut => "sign_out",
            Self::RefuseSignIn => "refuse_sign_in",
            Self::RepairLedger => "repair_ledger",
            Self::Prune => "prune",
        }
    }

    /// Parses the name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == word)
    }
}

/// An entry to be appended.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEntry {
    /// The action.
    pub action: Action,
    /// The object: a path in the pipeline, a token's name, a job's id.
    pub subject: String,
    /// The state before; none for a created object.
    pub before: Option<Value>,
    /// The state after; none for a removed object.
    pub after: Option<Value>,
}

/// An entry as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The sequence number, from 1 without gaps.
    pub number: i64,
    /// The actor, the time and the origin.
    pub act: Act,
    /// The action.
    pub done: NewEntry,
    /// SHA-256 of the previous entry's hash and this entry.
    pub hash: [u8; 32],
}

/// The previous hash of the first entry.
pub const CHAIN_START: [u8; 32] = [0; 32];

/// The hash of an entry after the one with the hash `previous`.
#[must_use]
pub fn chained(previous: &[u8; 32], number: i64, act: &Act, done: &NewEntry) -> [u8; 32] {
    let fields = json!([
        number,
        act.at.as_micros(),
        act.actor,
        act.role.map(super::auth::Role::as_str),
        act.from,
        act.request_id,
        act.note,
        done.action.as_str(),
        done.subject,
        done.before,
        done.after,
    ]);
    sha256(&[previous, fields.to_string().as_bytes()])
}
