//! A small HTTP/1.1 server for receivers: accept, serve, graceful shutdown. It inspects no request.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Connections served at once; further ones wait in the listen backlog.
const MAX_CONNECTIONS: usize = 4_096;
/// How long responses under way may take during shutdown.
const GRACE: Duration = Duration::from_secs(5);
/// The pause after a failed accept: the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The address cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {listen}")]
pub struct ListenError {
    /// The address as given.
    pub listen: String,
    /// The cause.
    #[source]
    pub source: std::io::Error,
}

/// A running server; dropping it aborts its connections.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    stopping: CancellationToken,
    task: JoinHandle<()>,
}

impl HttpServer {
    /// Binds the address (`host:port`; port 0 takes any free one).
    ///
    /// # Errors
    /// [`ListenError`] when the address is in use, not local, or not an address.
    pub async fn bind(listen: &str) -> Result<TcpListener, ListenError> {
        let failed = |source| ListenError { listen: listen.to_owned(), source };
        TcpListener::bind(listen).await.map_err(failed)
    }

    /// Serves requests on `listener` with `handle`.
    pub fn start<H, F>(listener: TcpListener, handle: H) -> Self
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        // A bound listener knows its address.
        let address = listener.local_addr().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
        let stopping = CancellationToken::new();
        let task = tokio::spawn(run(listener, handle, stopping.clone()));
        Self { address, stopping, task }
    }

    /// The bound address.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, waits for responses under way within the grace, and ends.
    pub async fn stop(mut self) {
        self.stopping.cancel();
        // A panic of the task has been logged by the panic hook.
        let _ = (&mut self.task).await;
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run<H, F>(listener: TcpListener, handle: H, stopping: CancellationToken)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Dropping the server drops the set, which aborts its connections.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let permit = tokio::select! {
            () = stopping.cancelled() => break,
            permit = Arc::clone(&room).acquire_owned() => permit,
        };
        let accepted = tokio::select! {
            () = stopping.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let connection = graceful.watch(serve(stream, handle.clone()));
        connections.spawn(async move {
            // A client that disconnects is not an error of the server.
            let _ = connection.await;
            drop(permit);
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
}

fn serve<H, F>(
    stream: TcpStream,
    handle: H,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = hyper::Error> + Send
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    // Nagle's algorithm can delay a response in two packets by 40 ms; failing to disable it is harmless.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let answer = handle(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service)
}
