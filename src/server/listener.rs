//! The accept loop: connections are bounded in number, in the time and size of a request's head, and
//! in how long they may hold up a stop. What is served on them is behind [`Front`].

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::router::Front;
use crate::auth::Peer;

/// Why an address cannot be listened on, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {listen}")]
pub struct ListenError {
    /// What was given.
    pub listen: String,
    /// What is wrong and what to do.
    pub hint: &'static str,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// What connections may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerOptions {
    /// How long a client may take to send a request's head; also how long a connection may be idle.
    pub header_timeout: Duration,
    /// Connections at once. At the cap the next ones wait in the system's backlog: they cost this
    /// process nothing, and are served as soon as others end or have been idle for too long.
    pub max_connections: u32,
    /// How long requests under way may go on once a stop is asked for.
    pub grace: Duration,
}

/// Bytes of a request's head, the request line included; larger ones are answered 431.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;

/// Bytes of a request that are read ahead of whoever takes them. Every connection has room for so many,
/// whether or not something comes; larger bodies come in several pieces.
const READ_AHEAD_BYTES: usize = 32 * 1024;

/// The wait after an accept that failed for want of descriptors or memory: trying again at once
/// would fail again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens on an address, or on a name and port.
///
/// # Errors
/// [`ListenError`], with what to do about it.
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
        "this user may not; set `listen` to a port above 1023"
    } else if kind == io::ErrorKind::AddrNotAvailable {
        "this machine does not have that address; set `listen` to one it has"
    } else if listen.parse::<SocketAddr>().is_err() {
        "it is not an address that is known here; `listen` should be like 127.0.0.1:8080"
    } else {
        "the system refuses it"
    }
}

/// Serves until `shutdown`; then takes no more connections, lets requests under way finish within
/// the grace, and closes what is left.
pub async fn serve(
    listener: TcpListener,
    front: Front,
    options: ListenerOptions,
    shutdown: CancellationToken,
) {
    let server = Server::new(front, options, shutdown.clone());
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = server.accept_all(&listener) => {}
    }
    // Connections that wait in the backlog are refused from here on rather than left hanging.
    drop(listener);
    server.stop(options.grace).await;
}

struct Server {
    front: Front,
    http: http1::Builder,
    places: Arc<Semaphore>,
    connections: TaskTracker,
    /// Finish the request under way.
    shutdown: CancellationToken,
    /// Close at once.
    close: CancellationToken,
}

impl Server {
    fn new(front: Front, options: ListenerOptions, shutdown: CancellationToken) -> Self {
        let places = usize::try_from(options.max_connections).unwrap_or(usize::MAX);
        Self {
            front,
            http: http(options.header_timeout),
            places: Arc::new(Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS))),
            connections: TaskTracker::new(),
            shutdown,
            close: CancellationToken::new(),
        }
    }

    async fn accept_all(&self, listener: &TcpListener) {
        // The semaphore is never closed: the loop ends only by being dropped.
        while let Ok(place) = Arc::clone(&self.places).acquire_owned().await {
            let taken = accept_one(listener).await;
            self.serve_one(taken, place);
        }
    }

    fn serve_one(&self, (stream, peer): (TcpStream, Peer), place: OwnedSemaphorePermit) {
        // Answers are small and written whole: waiting for more to send only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "the connection is gone already");
            return;
        }
        let front = self.front.clone();
        let service = service_fn(move |request| front.clone().answer(request, peer));
        let connection = self.http.serve_connection(TokioIo::new(stream), service);
        let (shutdown, close) = (self.shutdown.clone(), self.close.clone());
        self.connections.spawn(async move {
            let _place = place;
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
                // A client's own doing: slow, gone, or not speaking HTTP.
                tracing::debug!(%error, "connection ended");
            }
        });
    }

    async fn stop(&self, grace: Duration) {
        self.connections.close();
        if tokio::time::timeout(grace, self.connections.wait()).await.is_err() {
            tracing::warn!(connections = self.connections.len(), "closed before their end");
            self.close.cancel();
            self.connections.wait().await;
        }
    }
}

/// What is HTTP on every connection, within bounds.
fn http(header_timeout: Duration) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_header_size(MAX_HEADER_BYTES)
        .max_buf_size(READ_AHEAD_BYTES);
    http
}

/// The next connection.
async fn accept_one(listener: &TcpListener) -> (TcpStream, Peer) {
    loop {
        let error = match listener.accept().await {
            Ok((stream, from)) => return (stream, Peer(from.ip())),
            Err(error) => error,
        };
        if let Some(pause) = pause_after(&error) {
            tracing::error!(%error, "no connection can be taken: trying again");
            tokio::time::sleep(pause).await;
        } else {
            tracing::debug!(%error, "a connection ended before it was taken");
        }
    }
}

/// How long to wait after an accept that failed. An error of a single connection says nothing about
/// the next one; when the system has run out of something, it is given time.
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
    use axum::response::Response;
    use http_body_util::BodyExt as _;
    use hyper::Request;
    use hyper::body::Incoming;
    use tokio::io::{AsyncRead, ReadBuf, simplex};

    /// A client that sends as much as it is let, and notes how much that is.
    struct Eager {
        request: Vec<u8>,
        sent: usize,
        most: usize,
    }

    impl AsyncRead for &mut Eager {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            into: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if self.sent == self.request.len() {
                return Poll::Pending;
            }
            self.most = self.most.max(into.remaining());
            let count = into.remaining().min(self.request.len() - self.sent);
            into.put_slice(&self.request[self.sent..self.sent + count]);
            self.sent += count;
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_connection_reads_no_more_ahead_than_it_may() {
        let body = 1 << 20;
        let head = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close";
        let mut request = format!("{head}\r\ncontent-length: {body}\r\n\r\n").into_bytes();
        request.resize(request.len() + body, b'x');
        let mut client = Eager { request, sent: 0, most: 0 };
        let (_answer, answers) = simplex(4_096);
        let stream = tokio::io::join(&mut client, answers);
        let service = service_fn(|request: Request<Incoming>| async move {
            let read = request.into_body().collect().await.expect("it comes whole");
            assert_eq!(read.to_bytes().len(), 1 << 20);
            Ok::<_, Infallible>(Response::new(Body::empty()))
        });
        let http = http(Duration::from_secs(60));
        http.serve_connection(TokioIo::new(stream), service).await.expect("served");
        assert!(client.most <= READ_AHEAD_BYTES, "{}", client.most);
    }

    #[test]
    fn accepting_waits_when_the_system_has_run_out_of_something() {
        for number in [24, 23, 12, 105] {
            // EMFILE, ENFILE, ENOMEM, ENOBUFS
            assert_eq!(pause_after(&io::Error::from_raw_os_error(number)), Some(ACCEPT_PAUSE));
        }
        for kind in [io::ErrorKind::ConnectionAborted, io::ErrorKind::Interrupted] {
            assert_eq!(pause_after(&io::Error::from(kind)), None);
        }
    }
}
