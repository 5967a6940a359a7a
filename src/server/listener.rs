//! The listener: accepts HTTP/1.1 connections and serves them with [`RequestRouter`]. Bounds the number of
//! connections, the time and size of request heads, and the time of a graceful shutdown.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use http::header::{CONNECTION, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client_stream::ClientStream;
use super::connection_limit::{ConnectionLimit, Place};
use super::router::RequestRouter;
use super::stall_guard::StallGuard;
use crate::auth::Peer;
use crate::telemetry::refusals::{ConnectionRefusal, Refusals};

/// Why the address cannot be bound, with a hint for the operator.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {listen}")]
pub struct ListenError {
    /// The address as given.
    pub listen: String,
    /// The problem and its fix.
    pub hint: &'static str,
    /// The cause.
    #[source]
    pub source: io::Error,
}

/// Limits of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerOptions {
    /// The timeout of a request's head; also the idle timeout of a connection.
    pub header_timeout: Duration,
    /// Concurrent connections. A few further ones serve health and metrics, and other requests once there is a
    /// place; the rest wait in the kernel's listen backlog.
    pub max_connections: u32,
    /// The time for a request's body.
    pub body_timeout: Duration,
    /// How long a write may make no progress.
    pub write_timeout: Duration,
    /// How long requests under way may run during shutdown.
    pub grace: Duration,
}

/// Size limit of a request's head, in bytes, request line included; larger ones are answered 431.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;

/// Read buffer of a connection, in bytes. Every connection allocates it; larger bodies are read in
/// several chunks.
const READ_BUFFER_BYTES: usize = 32 * 1024;

/// The pause after an accept that failed for lack of file descriptors or memory: an immediate retry
/// would fail again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a request of a connection beyond the limit waits for a place.
const PLACE_TIMEOUT: Duration = Duration::from_secs(5);

/// Binds an address, or a host name and port.
///
/// # Errors
/// [`ListenError`], with a hint.
pub async fn bind(listen: &str) -> Result<TcpListener, ListenError> {
    TcpListener::bind(listen).await.map_err(|source| ListenError {
        listen: listen.to_owned(),
        hint: hint(source.kind(), listen),
        source,
    })
}

fn hint(kind: io::ErrorKind, listen: &str) -> &'static str {
    if kind == io::ErrorKind::AddrInUse {
        "another process listens there; stop it, or set `listen` to another port"
    } else if kind == io::ErrorKind::PermissionDenied {
        "permission denied; set `listen` to a port above 1023"
    } else if kind == io::ErrorKind::AddrNotAvailable {
        "this machine does not have that address; set `listen` to one it has"
    } else if listen.parse::<SocketAddr>().is_err() {
        "the address does not resolve; `listen` should be like 127.0.0.1:8080"
    } else {
        "the system refuses the address"
    }
}

/// Serves until `shutdown`; then stops accepting, waits for requests under way within the grace, and
/// closes the remaining connections.
pub async fn serve(
    listener: TcpListener,
    router: RequestRouter,
    options: ListenerOptions,
    shutdown: CancellationToken,
) {
    let server = Server::new(router, options, shutdown.clone());
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = server.accept_all(&listener) => {}
    }
    // Closing the listener refuses connections in the backlog, which would hang otherwise.
    drop(listener);
    server.drain(options.grace).await;
}

struct Server {
    router: RequestRouter,
    http: http1::Builder,
    limit: ConnectionLimit,
    body_timeout: Duration,
    write_timeout: Duration,
    connections: TaskTracker,
    /// Connections end after the request under way.
    shutdown: CancellationToken,
    /// Connections end at once.
    close: CancellationToken,
}

impl Server {
    fn new(router: RequestRouter, options: ListenerOptions, shutdown: CancellationToken) -> Self {
        Self {
            router,
            http: http(options.header_timeout),
            limit: ConnectionLimit::new(options.max_connections),
            body_timeout: options.body_timeout,
            write_timeout: options.write_timeout,
            connections: TaskTracker::new(),
            shutdown,
            close: CancellationToken::new(),
        }
    }

    async fn accept_all(&self, listener: &TcpListener) {
        // There always is room again: the loop runs until its future is dropped.
        while let Some(room) = self.limit.room().await {
            let (stream, peer) = accept_one(listener, self.router.refusals()).await;
            self.serve_one(stream, peer, self.limit.place(room, peer.0));
        }
    }

    fn serve_one(&self, stream: TcpStream, peer: Peer, place: Place) {
        // Responses are small and written in one piece: Nagle's algorithm would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "the connection closed before it was served");
            return;
        }
        let router = self.router.clone();
        let (within, place) = (self.body_timeout, Arc::new(place));
        let stream = ClientStream::new(stream);
        let end = stream.watch();
        let service = service_fn(move |request: Request<Incoming>| {
            let (router, place, end) = (router.clone(), Arc::clone(&place), end.clone());
            async move {
                if is_for_operation(request.uri().path()) || place.is_full(PLACE_TIMEOUT).await {
                    router.answer(request, peer, within).await.map(|it| end.bounds(it))
                } else {
                    let refusal = ConnectionRefusal::TooManyConnections;
                    router.refusals().connection(refusal, Some(peer.0), "");
                    Ok(full())
                }
            }
        });
        let stream = StallGuard::new(stream, self.write_timeout);
        let connection = self.http.serve_connection(TokioIo::new(stream), service);
        let (shutdown, close) = (self.shutdown.clone(), self.close.clone());
        let refusals = self.router.refusals().clone();
        self.connections.spawn(async move {
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = shutdown.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        ended = connection.as_mut() => ended,
                        () = close.cancelled() => return,
                    }
                }
            };
            if let Err(error) = ended {
                // Caused by the client: a timeout, a disconnect, or no HTTP.
                match refusal(&error) {
                    Some(refusal) => {
                        refusals.connection(refusal, Some(peer.0), &error.to_string());
                    }
                    None => tracing::debug!(%error, "connection ended"),
                }
            }
        });
    }

    async fn drain(&self, grace: Duration) {
        self.connections.close();
        if tokio::time::timeout(grace, self.connections.wait()).await.is_err() {
            tracing::warn!(
                connections = self.connections.len(),
                "connections closed at the end of the shutdown grace"
            );
            self.close.cancel();
            self.connections.wait().await;
        }
    }
}

/// Whether a path is answered while the service has no free connection.
fn is_for_operation(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz" | "/metrics")
}

/// The response to a request while the service has no free connection.
fn full() -> Response {
    let body = "the service has max_connections, or three quarters of them from one address\n";
    let mut response = Response::new(axum::body::Body::from(body));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The HTTP/1.1 settings of every connection.
fn http(header_timeout: Duration) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        // A client may end its side after its request, and still waits for the response.
        .half_close(true)
        .header_read_timeout(header_timeout)
        .max_header_size(MAX_HEADER_BYTES)
        .max_buf_size(READ_BUFFER_BYTES);
    http
}

/// Why a connection ended, where that is a refusal and not a disconnect.
fn refusal(error: &hyper::Error) -> Option<ConnectionRefusal> {
    let stalled = std::error::Error::source(error)
        .and_then(|cause| cause.downcast_ref::<io::Error>())
        .is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut);
    if error.is_parse_too_large() {
        Some(ConnectionRefusal::HeadTooLarge)
    } else if error.is_parse() {
        Some(ConnectionRefusal::NotHttp)
    } else if error.is_timeout() {
        Some(ConnectionRefusal::HeadTimeout)
    } else if stalled {
        Some(ConnectionRefusal::Stalled)
    } else {
        None
    }
}

/// Accepts the next connection.
async fn accept_one(listener: &TcpListener, refusals: &Refusals) -> (TcpStream, Peer) {
    loop {
        let error = match listener.accept().await {
            Ok((stream, from)) => return (stream, Peer(from.ip())),
            Err(error) => error,
        };
        if let Some(pause) = pause_after(&error) {
            if refusals.is_first("accept_failed") {
                tracing::error!(%error, "accept failed; retrying");
            }
            tokio::time::sleep(pause).await;
        } else {
            tracing::debug!(%error, "a connection ended before it was accepted");
        }
    }
}

/// The pause after a failed accept: none after an error of a single connection, a pause when the system
/// lacks a resource.
fn pause_after(error: &io::Error) -> Option<Duration> {
    let is_of_one_connection = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    );
    (!is_of_one_connection).then_some(ACCEPT_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use axum::body::Body;
    use http_body_util::BodyExt as _;
    use tokio::io::{AsyncRead, ReadBuf, simplex};

    /// A client that sends as fast as the server reads, and measures the largest read buffer.
    struct GreedyClient {
        request: Vec<u8>,
        sent: usize,
        largest: usize,
    }

    impl AsyncRead for &mut GreedyClient {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            into: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if self.sent == self.request.len() {
                return Poll::Pending;
            }
            self.largest = self.largest.max(into.remaining());
            let count = into.remaining().min(self.request.len() - self.sent);
            into.put_slice(&self.request[self.sent..self.sent + count]);
            self.sent += count;
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_connection_buffers_at_most_its_read_buffer() {
        let body = 1 << 20;
        let head = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close";
        let mut request = format!("{head}\r\ncontent-length: {body}\r\n\r\n").into_bytes();
        request.resize(request.len() + body, b'x');
        let mut client = GreedyClient { request, sent: 0, largest: 0 };
        let (_answer, answers) = simplex(4_096);
        let stream = tokio::io::join(&mut client, answers);
        let service = service_fn(|request: Request<Incoming>| async move {
            let read = request.into_body().collect().await.expect("a complete body");
            assert_eq!(read.to_bytes().len(), 1 << 20);
            Ok::<_, Infallible>(Response::new(Body::empty()))
        });
        let http = http(Duration::from_secs(60));
        http.serve_connection(TokioIo::new(stream), service).await.expect("served");
        assert!(client.largest <= READ_BUFFER_BYTES, "{}", client.largest);
    }

    #[test]
    fn accepting_pauses_when_the_system_lacks_a_resource() {
        for number in [24, 23, 12, 105] {
            // EMFILE, ENFILE, ENOMEM, ENOBUFS
            assert_eq!(pause_after(&io::Error::from_raw_os_error(number)), Some(ACCEPT_PAUSE));
        }
        for kind in [io::ErrorKind::ConnectionAborted, io::ErrorKind::Interrupted] {
            assert_eq!(pause_after(&io::Error::from(kind)), None);
        }
    }
}
