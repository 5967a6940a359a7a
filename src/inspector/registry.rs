//! The inspectors of a running service: named test receivers that keep their newest requests in memory
//! and answer from a script. Bounded in inspectors, requests and bytes; credentials in headers are
//! masked.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{Method, StatusCode};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use super::answer::Answer;
use super::arrival_counter::ArrivalCounter;
use super::name::InspectorName;
use super::verify::{self, Verdict};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::service_time::ServiceTime;
use crate::live::{Feed, Subscription};
use crate::sender::masked_headers;

/// Inspectors at once; a further one evicts the least recently used.
const MAX_INSPECTORS: usize = 16;
/// Requests kept by each.
const MAX_REQUESTS: usize = 100;
/// Bytes kept of a body.
const BODY_BYTES: usize = 64 * 1024;
/// Bytes kept of a path with its query.
const PATH_BYTES: usize = 2 * 1024;
/// Deliveries in one generation of an inspector's arrival counter.
const COUNTED_DELIVERIES: usize = 1_000;

/// Looks up the shared secrets that requests to an inspector may be signed with.
pub type KnownSecrets = Box<dyn Fn(&InspectorName) -> Vec<KnownSecret> + Send + Sync>;

/// A shared secret of a destination that delivers to an inspector.
#[derive(Clone, Debug)]
pub struct KnownSecret {
    /// The destination's path.
    pub destination: String,
    /// The secret.
    pub secret: SecretString,
}

/// A change of the secret that was set on an inspector.
#[derive(Clone, Debug)]
pub enum SecretChange {
    /// Unchanged.
    Keep,
    /// Replaced by this one.
    Set(SecretString),
    /// Removed.
    Remove,
}

/// A request that an inspector received.
#[derive(Clone, Debug)]
pub struct InspectedRequest {
    /// The inspector.
    pub inspector: InspectorName,
    /// Its number in this inspector, from 1.
    pub number: u64,
    /// When its body was complete.
    pub arrived_at: Timestamp,
    /// POST, PUT or PATCH.
    pub method: Method,
    /// The path with its query, truncated.
    pub path: String,
    /// The headers, one `name: value` per line, credentials masked.
    pub headers: String,
    /// The body as sent, truncated.
    pub body: Bytes,
    /// The full length of the body, in bytes.
    pub body_bytes: usize,
    /// The verdict on `X-Signature`.
    pub signature: Verdict,
    /// The verdict on `webhook-signature` with its id and timestamp.
    pub standard: Verdict,
    /// The `webhook-id`, if there is one in ASCII.
    pub webhook_id: Option<String>,
    /// The ordinal of this arrival of its `webhook-id`, from 1.
    pub tried: u32,
    /// The status of the response.
    pub answered: StatusCode,
}

/// A snapshot of an inspector.
#[derive(Clone, Debug)]
pub struct Inspector {
    /// Its name.
    pub name: InspectorName,
    /// Its response.
    pub answer: Answer,
    /// Paths of the destinations whose shared secrets signatures are checked with.
    pub checked_with: Vec<String>,
    /// Whether a further secret is set on the inspector.
    pub has_secret: bool,
    /// Requests received since it was created.
    pub taken: u64,
    /// The kept requests, newest first.
    pub requests: Vec<Arc<InspectedRequest>>,
}

/// A response and when to send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub body: String,
    /// When to send it.
    pub at: ServiceTime,
}

/// The registry of inspectors.
pub struct Inspectors {
    inspectors: Mutex<HashMap<InspectorName, State>>,
    feed: Feed<InspectedRequest>,
    secrets: KnownSecrets,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Inspectors {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Inspectors").finish_non_exhaustive()
    }
}

struct State {
    answer: Answer,
    /// The secret that was set on it.
    secret: Option<SecretString>,
    counter: ArrivalCounter,
    taken: u64,
    requests: VecDeque<Arc<InspectedRequest>>,
    used_at: Timestamp,
}

impl State {
    fn new() -> Self {
        Self {
            answer: Answer::default(),
            secret: None,
            counter: ArrivalCounter::with_capacity(COUNTED_DELIVERIES),
            taken: 0,
            requests: VecDeque::new(),
            used_at: Timestamp::default(),
        }
    }
}

impl Inspectors {
    /// An empty registry: an inspector is created by its first request or its first answer.
    #[must_use]
    pub fn new(secrets: KnownSecrets, clock: Arc<dyn Clock>, stopping: CancellationToken) -> Self {
        Self { inspectors: Mutex::default(), feed: Feed::new(stopping), secrets, clock }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<InspectorName, State>> {
        self.inspectors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a request and gives its response.
    pub fn receive(
        &self,
        name: &InspectorName,
        head: &http::request::Parts,
        body: &Bytes,
    ) -> Reply {
        let now = self.clock.now();
        // Outside of the lock: the cost of verification grows with the body.
        let known = (self.secrets)(name).into_iter().map(|it| it.secret);
        let own = self.lock().get(name).and_then(|state| state.secret.clone());
        let secrets: Vec<SecretString> = known.chain(own).collect();
        let signature = verify::x_signature(&secrets, &head.headers, body);
        let standard = verify::standard(&secrets, &head.headers, body, now);
        let webhook_id = verify::webhook_id(&head.headers);
        let mut inspectors = self.lock();
        let state = get_or_create(&mut inspectors, name, now);
        let tried = state.counter.count("", webhook_id.unwrap_or_default());
        state.taken += 1;
        let inspected = InspectedRequest {
            inspector: name.clone(),
            number: state.taken,
            arrived_at: now,
            method: head.method.clone(),
            path: path(head),
            headers: masked_headers(&head.headers, &[]),
            body: truncated(body),
            body_bytes: body.len(),
            signature,
            standard,
            webhook_id: webhook_id.map(str::to_owned),
            tried,
            answered: state.answer.script.status(tried),
        };
        let reply = Reply {
            status: inspected.answered,
            body: state.answer.body.clone(),
            at: self.clock.service_now() + state.answer.delay,
        };
        if self.feed.has_subscribers() {
            self.feed.publish(inspected.clone());
        }
        state.requests.push_front(Arc::new(inspected));
        state.requests.truncate(MAX_REQUESTS);
        reply
    }

    /// Sets an inspector's answer and secret; its script starts over.
    pub fn set(&self, name: &InspectorName, answer: Answer, secret: SecretChange) {
        let mut inspectors = self.lock();
        let state = get_or_create(&mut inspectors, name, self.clock.now());
        state.answer = answer;
        state.counter = ArrivalCounter::with_capacity(COUNTED_DELIVERIES);
        match secret {
            SecretChange::Keep => {}
            SecretChange::Set(secret) => state.secret = Some(secret),
            SecretChange::Remove => state.secret = None,
        }
    }

    /// Removes an inspector with its requests. Whether it existed.
    pub fn remove(&self, name: &InspectorName) -> bool {
        self.lock().remove(name).is_some()
    }

    /// All inspectors in the order of their names, each with its newest request only.
    #[must_use]
    pub fn list(&self) -> Vec<Inspector> {
        let inspectors = self.lock();
        let mut all: Vec<_> =
            inspectors.iter().map(|(name, state)| self.snapshot(name, state, 1)).collect();
        all.sort_unstable_by(|one, other| one.name.as_str().cmp(other.name.as_str()));
        all
    }

    /// One inspector with its requests; empty when it does not exist yet.
    #[must_use]
    pub fn get(&self, name: &InspectorName) -> Inspector {
        let inspectors = self.lock();
        match inspectors.get(name) {
            Some(state) => self.snapshot(name, state, MAX_REQUESTS),
            None => self.snapshot(name, &State::new(), 0),
        }
    }

    fn snapshot(&self, name: &InspectorName, state: &State, requests: usize) -> Inspector {
        let mut checked_with: Vec<_> =
            (self.secrets)(name).into_iter().map(|it| it.destination).collect();
        checked_with.sort_unstable();
        checked_with.dedup();
        Inspector {
            name: name.clone(),
            answer: state.answer.clone(),
            checked_with,
            has_secret: state.secret.is_some(),
            taken: state.taken,
            requests: state.requests.iter().take(requests).cloned().collect(),
        }
    }

    /// Subscribes to the requests of all inspectors from now on; `None` at the limit of subscribers.
    #[must_use]
    pub fn subscribe(&self) -> Option<Subscription<InspectedRequest>> {
        self.feed.subscribe()
    }
}

/// The inspector of this name; at the limit, creating one evicts the least recently used.
fn get_or_create<'a>(
    inspectors: &'a mut HashMap<InspectorName, State>,
    name: &InspectorName,
    now: Timestamp,
) -> &'a mut State {
    if !inspectors.contains_key(name) && inspectors.len() >= MAX_INSPECTORS {
        let idle = inspectors.iter().min_by_key(|(_, state)| state.used_at).map(|it| it.0.clone());
        idle.and_then(|idle| inspectors.remove(&idle));
    }
    let state = inspectors.entry(name.clone()).or_insert_with(State::new);
    state.used_at = now;
    state
}

/// A copy, because a slice would keep the whole request in memory.
fn truncated(body: &Bytes) -> Bytes {
    Bytes::copy_from_slice(body.get(..BODY_BYTES).unwrap_or(body))
}

fn path(head: &http::request::Parts) -> String {
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    // A URI is ASCII: any byte is a character boundary.
    path.get(..PATH_BYTES).unwrap_or(path).to_owned()
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
