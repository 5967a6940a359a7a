//! Inspectors: receivers inside a running service, each under a name, that keep the newest requests in
//! memory to be looked at, and answer as they are told to. Bounded in number, in requests and in bytes.
//! Credentials among the headers are masked.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use super::script::Tries;
use super::verify::{self, Verdict};
use super::{Script, arrival};
use crate::domain::clock::{Clock, Timestamp};
use crate::live::{Feed, Watch};
use crate::sender::masked_headers;

/// Inspectors at once; the one not used for the longest time gives way to one more.
const INSPECTORS: usize = 16;
/// Requests that one keeps.
const KEPT: usize = 100;
/// What is kept of a body.
const BODY_BYTES: usize = 64 * 1024;
/// What is kept of a path with its query.
const PATH_BYTES: usize = 2 * 1024;
/// Deliveries that one tells apart, to count their tries; twice as many at most.
const TOLD_APART: usize = 1_000;
const NAME_BYTES: usize = 64;
const ANSWER_BYTES: usize = 4 * 1024;
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// What requests to the inspector with this name may be signed with.
pub type KnownSecrets = Box<dyn Fn(&InspectorName) -> Vec<KnownSecret> + Send + Sync>;

/// A shared secret that somebody who sends to an inspector signs with.
#[derive(Clone, Debug)]
pub struct KnownSecret {
    /// Who: the path of a destination.
    pub sender: String,
    /// The secret.
    pub secret: SecretString,
}

/// What becomes of the secret that an inspector was told to check with.
#[derive(Clone, Debug)]
pub enum ToldSecret {
    /// It stays as it is.
    Kept,
    /// It is this from now on.
    Put(SecretString),
    /// There is none any more.
    Forgotten,
}

/// An inspector's name: small letters, digits, `-` and `_`, at most 64.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InspectorName(Arc<str>);

impl InspectorName {
    /// Reads a name; none when it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let fits = |byte: u8| plain(byte) || byte == b'-' || byte == b'_';
        ((1..=NAME_BYTES).contains(&text.len()) && text.bytes().all(fits))
            .then(|| Self(text.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What an inspector answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The statuses, counted for each `webhook-id` on its own.
    pub script: Script,
    /// How long it takes over each.
    pub delay: Duration,
    /// The body.
    pub body: String,
}

impl Answer {
    /// Each bound that it is beyond.
    #[must_use]
    pub fn faults(&self) -> Vec<AnswerFault> {
        let beyond = [
            (self.delay > LONGEST_DELAY, AnswerFault::Delay),
            (self.body.len() > ANSWER_BYTES, AnswerFault::Body),
        ];
        beyond.into_iter().filter(|(is_beyond, _)| *is_beyond).map(|(_, fault)| fault).collect()
    }
}

/// Why an answer cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerFault {
    /// It would take too long.
    #[error("an answer takes at most 60000 ms")]
    Delay,
    /// Its body is too long.
    #[error("an answer has at most 4096 bytes")]
    Body,
}

/// A request that an inspector took.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// By which.
    pub inspector: InspectorName,
    /// Counts up from 1 in each inspector.
    pub number: u64,
    /// When its body was whole.
    pub arrived_at: Timestamp,
    /// POST, PUT or PATCH.
    pub method: Method,
    /// The path with its query, as far as it is kept.
    pub path: String,
    /// Every header, `name: value` a line, credentials masked.
    pub headers: String,
    /// The body as it was sent, as far as it is kept.
    pub body: Bytes,
    /// How long the body was, in bytes.
    pub body_bytes: usize,
    /// Of `X-Signature`.
    pub signature: Verdict,
    /// Of `webhook-signature`, with its id and time.
    pub standard: Verdict,
    /// The `webhook-id`, when it has a readable one.
    pub webhook_id: Option<String>,
    /// Which arrival of its `webhook-id` it is, from 1.
    pub tried: u32,
    /// The status it was answered.
    pub answered: StatusCode,
}

/// An inspector as it stands.
#[derive(Clone, Debug)]
pub struct Inspector {
    /// Its name.
    pub name: InspectorName,
    /// What it answers.
    pub answer: Answer,
    /// Whose shared secrets signatures are checked with.
    pub checked_with: Vec<String>,
    /// Whether they are checked with a secret that it was told as well.
    pub has_secret: bool,
    /// Requests that it took since it was made.
    pub taken: u64,
    /// Those it keeps, newest first.
    pub requests: Vec<Arc<Inspected>>,
}

/// What is to be answered, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub body: String,
    /// Not before this.
    pub at: Timestamp,
}

/// All inspectors.
pub struct Inspectors {
    rooms: Mutex<HashMap<InspectorName, Room>>,
    feed: Feed<Inspected>,
    secrets: KnownSecrets,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Inspectors {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Inspectors").finish_non_exhaustive()
    }
}

struct Room {
    answer: Answer,
    /// What it was told to check with.
    secret: Option<SecretString>,
    tries: Tries,
    taken: u64,
    requests: VecDeque<Arc<Inspected>>,
    used_at: Timestamp,
}

impl Room {
    fn new() -> Self {
        Self {
            answer: Answer::default(),
            secret: None,
            tries: Tries::of(TOLD_APART),
            taken: 0,
            requests: VecDeque::new(),
            used_at: Timestamp::default(),
        }
    }
}

impl Inspectors {
    /// No inspectors yet: each is made when it is first sent to or told what to answer.
    #[must_use]
    pub fn new(secrets: KnownSecrets, clock: Arc<dyn Clock>, stopping: CancellationToken) -> Self {
        Self { rooms: Mutex::default(), feed: Feed::new(stopping), secrets, clock }
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<InspectorName, Room>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a request whose body is whole.
    pub fn take(&self, name: &InspectorName, head: &http::request::Parts, body: &Bytes) -> Reply {
        let now = self.clock.now();
        // Outside of the lock: verifying costs as much as the body is long.
        let known = (self.secrets)(name).into_iter().map(|it| it.secret);
        let told = self.rooms().get(name).and_then(|room| room.secret.clone());
        let secrets: Vec<SecretString> = known.chain(told).collect();
        let signature = verify::x_signature(&secrets, &head.headers, body);
        let standard = verify::standard(&secrets, &head.headers, body, now);
        let webhook_id = arrival::webhook_id(&head.headers);
        let mut rooms = self.rooms();
        let room = enter(&mut rooms, name, now);
        let tried = room.tries.count("", webhook_id.unwrap_or_default());
        room.taken += 1;
        let inspected = Inspected {
            inspector: name.clone(),
            number: room.taken,
            arrived_at: now,
            method: head.method.clone(),
            path: path(head),
            headers: lines(&head.headers),
            body: kept(body),
            body_bytes: body.len(),
            signature,
            standard,
            webhook_id: webhook_id.map(str::to_owned),
            tried,
            answered: room.answer.script.answer(tried),
        };
        let reply = Reply {
            status: inspected.answered,
            body: room.answer.body.clone(),
            at: now + room.answer.delay,
        };
        if self.feed.is_watched() {
            self.feed.tell(inspected.clone());
        }
        room.requests.push_front(Arc::new(inspected));
        room.requests.truncate(KEPT);
        reply
    }

    /// Sets what an inspector answers from now on, and what it checks with; what it counted begins
    /// anew.
    pub fn set(&self, name: &InspectorName, answer: Answer, secret: ToldSecret) {
        let mut rooms = self.rooms();
        let room = enter(&mut rooms, name, self.clock.now());
        (room.answer, room.tries) = (answer, Tries::of(TOLD_APART));
        match secret {
            ToldSecret::Kept => {}
            ToldSecret::Put(secret) => room.secret = Some(secret),
            ToldSecret::Forgotten => room.secret = None,
        }
    }

    /// Forgets an inspector with all it kept. Whether there was one.
    pub fn forget(&self, name: &InspectorName) -> bool {
        self.rooms().remove(name).is_some()
    }

    /// Every inspector by name, each with its newest request only.
    #[must_use]
    pub fn list(&self) -> Vec<Inspector> {
        let rooms = self.rooms();
        let mut all: Vec<_> = rooms.iter().map(|(name, room)| self.view(name, room, 1)).collect();
        all.sort_unstable_by(|one, other| one.name.as_str().cmp(other.name.as_str()));
        all
    }

    /// One inspector with all it keeps; one that nobody has sent to yet keeps nothing.
    #[must_use]
    pub fn show(&self, name: &InspectorName) -> Inspector {
        let rooms = self.rooms();
        match rooms.get(name) {
            Some(room) => self.view(name, room, KEPT),
            None => self.view(name, &Room::new(), 0),
        }
    }

    fn view(&self, name: &InspectorName, room: &Room, requests: usize) -> Inspector {
        let mut checked_with: Vec<_> =
            (self.secrets)(name).into_iter().map(|it| it.sender).collect();
        checked_with.sort_unstable();
        checked_with.dedup();
        Inspector {
            name: name.clone(),
            answer: room.answer.clone(),
            checked_with,
            has_secret: room.secret.is_some(),
            taken: room.taken,
            requests: room.requests.iter().take(requests).cloned().collect(),
        }
    }

    /// Watches what arrives at any of them from now on; none when too many do already.
    #[must_use]
    pub fn watch(&self) -> Option<Watch<Inspected>> {
        self.feed.watch()
    }
}

/// The room of this name, made where there is none.
fn enter<'a>(
    rooms: &'a mut HashMap<InspectorName, Room>,
    name: &InspectorName,
    now: Timestamp,
) -> &'a mut Room {
    if !rooms.contains_key(name) && rooms.len() >= INSPECTORS {
        let idle = rooms.iter().min_by_key(|(_, room)| room.used_at).map(|it| it.0.clone());
        idle.and_then(|idle| rooms.remove(&idle));
    }
    let room = rooms.entry(name.clone()).or_insert_with(Room::new);
    room.used_at = now;
    room
}

fn lines(headers: &HeaderMap) -> String {
    masked_headers(headers, &[])
}

/// A copy, so that a small part does not keep a large request in memory.
fn kept(body: &Bytes) -> Bytes {
    Bytes::copy_from_slice(body.get(..BODY_BYTES).unwrap_or(body))
}

fn path(head: &http::request::Parts) -> String {
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    // A URI is ASCII.
    path.get(..PATH_BYTES).unwrap_or(path).to_owned()
}

#[cfg(test)]
#[path = "inspector_tests.rs"]
mod tests;
