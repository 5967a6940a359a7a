//! The receiver's HTTP/1.1 server: accept, serve, stop. It looks into no request.

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

use super::ReceiverError;

/// Connections served at once; more wait to be accepted.
const CONNECTIONS: usize = 4_096;
/// How long answers under way may take once the server is told to stop.
const GRACE: Duration = Duration::from_secs(5);
/// How long to wait after the system has refused to give a connection: it is out of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Opens the address, so that a taken one is known before anything else happens.
pub(super) async fn bind(listen: &str) -> Result<TcpListener, ReceiverError> {
    let failed = |source| ReceiverError::Listen { listen: listen.to_owned(), source };
    TcpListener::bind(listen).await.map_err(failed)
}

/// A running server; dropping it ends it at once.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    stopping: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    /// Answers what comes in on `listener` with `handle`.
    pub(super) fn start<H, F>(listener: TcpListener, handle: H) -> Self
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

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, waits for answers under way, and ends.
    pub(super) async fn stop(mut self) {
        self.stopping.cancel();
        // A panic of the task has been reported where it happened.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
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
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    // Connections end with the set: dropping the server leaves none behind.
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
            // A sender that breaks off is the sender's affair.
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
    // Without it an answer in two packets can wait 40 ms; failing to set it costs only that.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let answer = handle(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service)
}
