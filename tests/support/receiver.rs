//! The hostile receiver: a raw TCP server on loopback that answers, hangs, dribbles, resets and
//! lies as it is told, and records every request exactly. Bodies come by `Content-Length` only.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A wait that takes longer than this fails its test.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a dribbling receiver leaves between two bytes.
const DRIBBLE: Duration = Duration::from_millis(5);

/// What the receiver does with a request that it has read.
#[derive(Clone, Debug)]
pub(crate) enum Behaviour {
    /// Answers, and keeps the connection open unless a header says `close`.
    Answer(Answer),
    /// Writes these bytes as they are, then closes.
    Raw(Vec<u8>),
    /// Writes these bytes as they are, then hangs.
    RawThenHang(Vec<u8>),
    /// Writes these bytes as they are, then resets the connection.
    RawThenReset(Vec<u8>),
    /// Writes these bytes, then spaces for ever, one at a time.
    Dribble(Vec<u8>),
    /// Answers 200 with a body of so many bytes.
    BigBody(usize),
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
}

/// Decides what to do with each request, by its number from 0 and by what it is.
pub(crate) type Script = Arc<dyn Fn(usize, &Received) -> Behaviour + Send + Sync>;

/// Always the same.
pub(crate) fn always(behaviour: Behaviour) -> Script {
    Arc::new(move |_, _| behaviour.clone())
}

/// One after the other; the last one goes on for ever.
pub(crate) fn in_turn(behaviours: Vec<Behaviour>) -> Script {
    assert!(!behaviours.is_empty(), "a script needs at least one behaviour");
    Arc::new(move |number, _| behaviours[number.min(behaviours.len() - 1)].clone())
}

/// By the request itself.
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

/// Whatever a script can be made from: one behaviour, or a script.
pub(crate) struct ScriptSource(Script);

/// A request as it came.
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
        });
        let acceptor = tls.map(TlsAcceptor::from);
        let tls = acceptor.is_some();
        let accepting = tokio::spawn(accept(listener, acceptor, Arc::clone(&shared)));
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

    /// Changes what it does with requests from now on; the count begins anew.
    pub(crate) fn set_script(&self, script: impl Into<ScriptSource>) {
        *self.shared.script.lock().unwrap() = (script.into().0, 0);
    }

    /// Changes what it does with connections from now on.
    pub(crate) fn set_greeting(&self, greeting: Greeting) {
        *self.shared.greeting.lock().unwrap() = greeting;
    }

    /// Every request so far, in the order of arrival.
    pub(crate) fn requests(&self) -> Vec<Received> {
        self.shared.requests.borrow().clone()
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Returns once so many requests have come, with all that have.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Received> {
        let mut requests = self.shared.requests.subscribe();
        let waiting = requests.wait_for(|requests| requests.len() >= count);
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(requests) => requests.unwrap().clone(),
            Err(_) => panic!("{} of {count} requests came", self.requests().len()),
        }
    }

    /// Returns once so many answers could not be written to their end.
    pub(crate) async fn wait_for_cut_off(&self, count: usize) {
        let mut cut_off = self.shared.cut_off.subscribe();
        let waiting = cut_off.wait_for(|cut_off| *cut_off >= count);
        assert!(
            tokio::time::timeout(PATIENCE, waiting).await.is_ok(),
            "fewer than {count} answers were cut off"
        );
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let number = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
        let greeting = *shared.greeting.lock().unwrap();
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        connections.spawn(async move {
            // A connection that breaks is what many tests are about.
            let _ = greet(socket, tls, greeting, number, &shared).await;
        });
    }
}

async fn greet(
    socket: TcpStream,
    tls: Option<TlsAcceptor>,
    greeting: Greeting,
    number: u64,
    shared: &Shared,
) -> io::Result<()> {
    match greeting {
        Greeting::Read => {}
        Greeting::NeverRead => std::future::pending().await,
        Greeting::Reset => return socket.set_zero_linger(),
        Greeting::Close => return Ok(()),
    }
    socket.set_nodelay(true)?;
    let mut stream = match tls {
        None => Stream::Plain(socket),
        Some(acceptor) => Stream::Tls(Box::new(acceptor.accept(socket).await?)),
    };
    let mut unread = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut unread, number).await? {
        let behaviour = shared.decide(&request);
        shared.requests.send_modify(|requests| requests.push(request));
        let then = behave(&mut stream, behaviour).await.inspect_err(|_| {
            shared.cut_off.send_modify(|cut_off| *cut_off += 1);
        })?;
        match then {
            Then::ReadOn => {}
            Then::Close => return stream.shutdown().await,
            Then::Reset => return stream.socket().set_zero_linger(),
        }
    }
    Ok(())
}

/// What becomes of a connection after a request.
enum Then {
    ReadOn,
    Close,
    Reset,
}

impl Shared {
    fn decide(&self, request: &Received) -> Behaviour {
        let mut script = self.script.lock().unwrap();
        let (decide, number) = &mut *script;
        let behaviour = decide(*number, request);
        *number += 1;
        behaviour
    }
}

async fn behave(stream: &mut Stream, behaviour: Behaviour) -> io::Result<Then> {
    match behaviour {
        Behaviour::Answer(answer) => {
            stream.write_all(&answer.bytes()).await?;
            Ok(if answer.closes() { Then::Close } else { Then::ReadOn })
        }
        Behaviour::Raw(bytes) => {
            stream.write_all(&bytes).await?;
            Ok(Then::Close)
        }
        Behaviour::RawThenHang(bytes) => {
            stream.write_all(&bytes).await?;
            std::future::pending().await
        }
        Behaviour::RawThenReset(bytes) => {
            stream.write_all(&bytes).await?;
            Ok(Then::Reset)
        }
        Behaviour::Dribble(bytes) => {
            let spaces = std::iter::repeat(b' ');
            for byte in bytes.into_iter().chain(spaces) {
                stream.write_all(&[byte]).await?;
                stream.flush().await?;
                tokio::time::sleep(DRIBBLE).await;
            }
            Ok(Then::Close)
        }
        Behaviour::BigBody(length) => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&vec![b'x'; length]).await?;
            stream.flush().await?;
            Ok(Then::ReadOn)
        }
    }
}

impl Answer {
    fn bytes(&self) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} Whatever\r\n", self.status);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("content-length: {}\r\n\r\n", self.body.len()));
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    fn closes(&self) -> bool {
        let close = |(name, value): &(String, String)| {
            name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close")
        };
        self.headers.iter().any(close)
    }
}

/// The next request on the connection; none when the client is done with it.
async fn read_request(
    stream: &mut Stream,
    unread: &mut Vec<u8>,
    connection: u64,
) -> io::Result<Option<Received>> {
    let head_end = loop {
        if let Some(at) = unread.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(unread).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&unread[..head_end]).into_owned();
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, path) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let mut request = Received { connection, method, path, headers, body: Vec::new() };
    let length: usize = request.header("content-length").map_or(0, |text| text.parse().unwrap());
    let end = head_end + 4 + length;
    while unread.len() < end {
        if stream.read_buf(unread).await? == 0 {
            return Ok(None);
        }
    }
    request.body = unread[head_end + 4..end].to_vec();
    unread.drain(..end);
    Ok(Some(request))
}

/// A connection with or without TLS.
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(context),
            Self::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }
}
