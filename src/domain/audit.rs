//! What is kept of what was done: one entry for each change, chained to the one before it, so that
//! an entry that was changed, taken out or put in shows. Secrets are never in one: of a secret it
//! tells at most that it was changed.

use serde_json::{Value, json};

use super::auth::Act;
use crate::domain::digest::sha256;

/// What was done; the word is what lists are narrowed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A source, destination or mapping was made.
    Create,
    /// One was changed.
    Change,
    /// One was removed.
    Remove,
    /// A token was made.
    CreateToken,
    /// A token was revoked.
    RevokeToken,
    /// A redrive was asked for.
    Redrive,
    /// A discard was asked for.
    Discard,
    /// A job was stopped.
    CancelJob,
    /// A job went through all that it selected.
    FinishJob,
    /// A way to connect a destination was given out.
    BeginConnect,
    /// A destination was connected.
    Connect,
    /// A destination's connection ended.
    Disconnect,
    /// A mapping was tried by sending.
    TestSend,
    /// An inspector was told what to answer.
    SetInspector,
    /// An inspector was forgotten, with what had arrived there.
    ForgetInspector,
    /// Somebody signed in.
    SignIn,
    /// Somebody signed out.
    SignOut,
    /// Somebody was not let in.
    RefuseSignIn,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 18] = [
        Self::Create,
        Self::Change,
        Self::Remove,
        Self::CreateToken,
        Self::RevokeToken,
        Self::Redrive,
        Self::Discard,
        Self::CancelJob,
        Self::FinishJob,
        Self::BeginConnect,
        Self::Connect,
        Self::Disconnect,
        Self::TestSend,
        Self::SetInspector,
        Self::ForgetInspector,
        Self::SignIn,
        Self::SignOut,
        Self::RefuseSignIn,
    ];

    /// The word in tables, URLs and logs.
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
            Self::CancelJob => "cancel_job",
            Self::FinishJob => "finish_job",
            Self::BeginConnect => "begin_connect",
            Self::Connect => "connect",
            Self::Disconnect => "disconnect",
            Self::TestSend => "test_send",
            Self::SetInspector => "set_inspector",
            Self::ForgetInspector => "forget_inspector",
            Self::SignIn => "sign_in",
            Self::SignOut => "sign_out",
            Self::RefuseSignIn => "refuse_sign_in",
        }
    }

    /// The action of this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == word)
    }
}

/// An entry to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEntry {
    /// What was done.
    pub action: Action,
    /// To what: the path of what is set up, a token's name, a job's id.
    pub subject: String,
    /// What it was; none for what was not there.
    pub before: Option<Value>,
    /// What it is; none for what is not there any more.
    pub after: Option<Value>,
}

/// An entry as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Counts up from 1 without a gap.
    pub number: i64,
    /// Who did it, when and from where.
    pub act: Act,
    /// What was done.
    pub done: NewEntry,
    /// SHA-256 over the entry before it and this one.
    pub hash: [u8; 32],
}

/// What the first entry is chained to.
pub const CHAIN_START: [u8; 32] = [0; 32];

/// The hash of an entry that follows the one with the hash `previous`.
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
