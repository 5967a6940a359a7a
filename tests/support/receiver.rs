//! The test receiver: a raw TCP server on loopback with scripted behaviour (responses, hangs, slow or
//! malformed responses, resets) that records every request exactly. `wire` has the protocol.

mod wire;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// Timeout of a wait; exceeding it fails the test.
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

/// What the receiver does with a request that it has read.
#[derive(Clone, Debug)]
pub(crate) enum Behaviour {
    /// Answers, and keeps the connection open unless a header says `close`.
    Answer(Answer),
    /// Writes these bytes as they are, then closes.
    Raw(Vec<u8>),
    /// Writes these bytes as they are, and keeps the connection open for the next request.
    RawThenReadOn(Vec<u8>),
    /// Writes these bytes as they are, then hangs.
    RawThenHang(Vec<u8>),
    /// Writes these bytes as they are, then resets the connection.
    RawThenReset(Vec<u8>),
    /// Writes these bytes, then spaces for ever, one at a time.
    Dribble(Vec<u8>),
    /// Writes the first bytes, then the second ones for ever, as fast as they are taken.
    Flood(Vec<u8>, Vec<u8>),
    /// Answers 200 with a body of so many bytes.
    BigBody(usize),
    /// Answers once the number of its gate has been reached.
    AtGate(watch::Receiver<usize>, usize, Answer),
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Behaviour {
    /// Answers with this status and an empty body.
    pub(crate) fn status(status: u16) -> Self {
        Self::Answer(Answer { status, headers: Vec::new(), body: Vec::new() })
    }

    /// Answers 200.
    pub(crate) fn ok() -> Self {
        Self::status(200)
    }

    /// Reads the request and never answers.
    pub(crate) fn hang() -> Self {
        Self::RawThenHang(Vec::new())
    }

    /// Answers only once `gate` has reached this number.
    pub(crate) fn at_gate(self, gate: &watch::Sender<usize>, number: usize) -> Self {
        let Self::Answer(answer) = self else { panic!("only an answer waits at a gate") };
        Self::AtGate(gate.subscribe(), number, answer)
    }

    /// Reads the request and closes the connection.
    pub(crate) fn close() -> Self {
        Self::Raw(Vec::new())
    }

    /// Reads the request and resets the connection.
    pub(crate) fn reset() -> Self {
        Self::RawThenReset(Vec::new())
    }

    /// Adds a header to an answer.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.answer_mut().headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives an answer a body.
    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.answer_mut().body = body.into();
        self
    }

    fn answer_mut(&mut self) -> &mut Answer {
        let Self::Answer(answer) = self else { panic!("only an answer has headers and a body") };
        answer
    }
}

/// What the receiver does with a connection before it reads a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// Makes the TLS handshake, if there is to be one, and reads.
    #[default]
    Read,
    /// Accepts and never reads: over TLS, this hangs the handshake.
    NeverRead,
    /// Resets at once.
    Reset,
    /// Closes at once.
    Close,
    /// Writes this response without reading, then ends its side of the connection.
    EarlyResponse(&'static [u8]),
}

/// Chooses the behaviour for a request, given its number from 0 and the request.
pub(crate) type Script = Arc<dyn Fn(usize, &Received) -> Behaviour + Send + Sync>;

/// The same behaviour for every request.
pub(crate) fn always(behaviour: Behaviour) -> Script {
    Arc::new(move |_, _| behaviour.clone())
}

/// One behaviour per request, in order; the last one repeats.
pub(crate) fn in_turn(behaviours: Vec<Behaviour>) -> Script {
    assert!(!behaviours.is_empty(), "a script needs at least one behaviour");
    Arc::new(move |number, _| behaviours[number.min(behaviours.len() - 1)].clone())
}

/// A behaviour chosen by the request.
pub(crate) fn by_request(
    decide: impl Fn(&Received) -> Behaviour + Send + Sync + 'static,
) -> Script {
    Arc::new(move |_, request| decide(request))
}

impl From<Behaviour> for ScriptSource {
    fn from(behaviour: Behaviour) -> Self {
        Self(always(behaviour))
    }
}

impl From<Script> for ScriptSource {
    fn from(script: Script) -> Self {
        Self(script)
    }
}

/// A behaviour or a script.
pub(crate) struct ScriptSource(Script);

/// A received request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// Counts connections from 1: equal for requests that shared one.
    pub(crate) connection: u64,
    /// The method.
    pub(crate) method: String,
    /// The path with its query.
    pub(crate) path: String,
    /// The headers in their order and spelling.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// The first header of this name, whatever its case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

struct Shared {
    script: Mutex<(Script, usize)>,
    greeting: Mutex<Greeting>,
    connections: AtomicU64,
    requests: watch::Sender<Vec<Received>>,
    cut_off: watch::Sender<usize>,
    /// How many connections are open.
    open: watch::Sender<usize>,
    /// How often all connections were closed.
    closings: watch::Sender<usize>,
}

/// A running receiver; it stops when dropped.
pub(crate) struct Receiver {
    address: SocketAddr,
    tls: bool,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Receiver {
    /// Starts one that speaks plain HTTP on a free port.
    pub(crate) async fn start(script: impl Into<ScriptSource>) -> Self {
        Self::start_with(script.into(), None).await
    }

    /// Starts one that speaks TLS on a free port.
    pub(crate) async fn start_tls(script: impl Into<ScriptSource>, tls: Arc<ServerConfig>) -> Self {
        Self::start_with(script.into(), Some(tls)).await
    }

    async fn start_with(script: ScriptSource, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Mutex::new((script.0, 0)),
            greeting: Mutex::new(Greeting::Read),
            connections: AtomicU64::new(0),
            requests: watch::Sender::new(Vec::new()),
            cut_off: watch::Sender::new(0),
            open: watch::Sender::new(0),
            closings: watch::Sender::new(0),
        });
        let acceptor = tls.map(TlsAcceptor::from);
        let tls = acceptor.is_some();
        let accepting = tokio::spawn(wire::accept(listener, acceptor, Arc::clone(&shared)));
        Self { address, tls, shared, accepting }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path on it, by address.
    pub(crate) fn url(&self, path: &str) -> String {
        self.url_at("127.0.0.1", path)
    }

    /// The URL of a path on it, by another host name.
    pub(crate) fn url_at(&self, host: &str, path: &str) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{host}:{}{path}", self.address.port())
    }

    /// Replaces the script and resets its request count.
    pub(crate) fn set_script(&self, script: impl Into<ScriptSource>) {
        *self.shared.script.lock().unwrap() = (script.into().0, 0);
    }

    /// Sets the greeting of new connections.
    pub(crate) fn set_greeting(&self, greeting: Greeting) {
        *self.shared.greeting.lock().unwrap() = greeting;
    }

    /// Closes every connection, as a server does whose keep-alive timeout expired.
    pub(crate) async fn close_connections(&self) {
        self.shared.closings.send_modify(|closings| *closings += 1);
        let mut open = self.shared.open.subscribe();
        let waiting = open.wait_for(|open| *open == 0);
        assert!(
            tokio::time::timeout(WAIT_TIMEOUT, waiting).await.is_ok(),
            "a connection stays open"
        );
    }

    /// Every request so far, in the order of arrival.
    pub(crate) fn requests(&self) -> Vec<Received> {
        self.shared.requests.borrow().clone()
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Returns all requests once at least this many have arrived.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Received> {
        let mut requests = self.shared.requests.subscribe();
        let waiting = requests.wait_for(|requests| requests.len() >= count);
        match tokio::time::timeout(WAIT_TIMEOUT, waiting).await {
            Ok(requests) => requests.unwrap().clone(),
            Err(_) => panic!("{} of {count} requests came", self.requests().len()),
        }
    }

    /// Returns once this many responses could not be written completely.
    pub(crate) async fn wait_for_cut_off(&self, count: usize) {
        let mut cut_off = self.shared.cut_off.subscribe();
        let waiting = cut_off.wait_for(|cut_off| *cut_off >= count);
        assert!(
            tokio::time::timeout(WAIT_TIMEOUT, waiting).await.is_ok(),
            "fewer than {count} answers were cut off"
        );
    }
}
