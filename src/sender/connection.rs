//! One HTTP/1.1 connection, polled by the task that awaits its response: a connection has no task of its
//! own, so an exchange causes no wake-up of another task.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, response};
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::failure::{self, Failure};

/// A plain TCP or a TLS stream; TLS state is boxed because it is large.
pub(super) type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// A connection that can take a request.
pub(super) struct Connection {
    /// Scheme, host and port, as in a URL.
    pub(super) origin: Box<str>,
    requests: SendRequest<Full<Bytes>>,
    driver: http1::Connection<TokioIo<Stream>, Full<Bytes>>,
    has_ended: bool,
}

/// Why no response head was received.
pub(super) enum NoResponse {
    /// The connection was closed before any byte of the request was written: safe to send again.
    Unsent(Box<Request<Full<Bytes>>>),
    /// The request may have reached the receiver.
    Broken(Failure),
}

/// A response whose body has not been read yet.
pub(super) struct Response {
    pub(super) head: response::Parts,
    body: Incoming,
    is_whole: bool,
    connection: Box<Connection>,
}

impl Connection {
    /// Wraps a stream to `origin` as an HTTP/1.1 connection; sends nothing yet.
    pub(super) async fn on(stream: Stream, origin: &str) -> hyper::Result<Box<Self>> {
        let (requests, driver) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Box::new(Self { origin: origin.into(), requests, driver, has_ended: false }))
    }

    /// Whether it can take another request; false after the receiver closed it.
    pub(super) fn is_open(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.has_ended && self.requests.is_ready()
    }

    /// Sends a request and waits for the response's head.
    pub(super) async fn send(
        mut self: Box<Self>,
        request: Request<Full<Bytes>>,
    ) -> Result<Response, NoResponse> {
        let mut response = pin!(self.requests.try_send_request(request));
        let response = poll_fn(|context| {
            self.drive(context);
            match response.as_mut().poll(context) {
                Poll::Ready(response) => Poll::Ready(Some(response)),
                Poll::Pending if self.has_ended => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        });
        match response.await {
            Some(Ok(response)) => {
                let (head, body) = response.into_parts();
                Ok(Response { head, body, is_whole: false, connection: self })
            }
            Some(Err(mut error)) => Err(match error.take_message() {
                Some(request) => NoResponse::Unsent(Box::new(request)),
                None => NoResponse::Broken(failure::of_http(error.error())),
            }),
            None => Err(NoResponse::Broken(failure::closed())),
        }
    }

    /// Makes progress on reads and writes; `context` is woken when more progress is possible.
    fn drive(&mut self, context: &mut Context<'_>) {
        // An I/O error is reported through the request in flight; without one it does not matter.
        self.has_ended = self.has_ended || Pin::new(&mut self.driver).poll(context).is_ready();
    }
}

impl Response {
    /// The next chunk of the body; none at its end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            match poll_fn(|context| self.poll_frame(context)).await? {
                // Trailers are not recorded.
                Some(frame) => match frame.into_data() {
                    Ok(data) => return Ok(Some(data)),
                    Err(_) => continue,
                },
                None => {
                    self.is_whole = true;
                    return Ok(None);
                }
            }
        }
    }

    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, Failure>> {
        let mut frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_pending() {
            self.connection.drive(context);
            frame = Pin::new(&mut self.body).poll_frame(context);
        }
        match frame {
            Poll::Ready(frame) => {
                Poll::Ready(frame.transpose().map_err(|error| failure::of_http(&error)))
            }
            Poll::Pending if self.connection.has_ended => Poll::Ready(Err(failure::closed())),
            Poll::Pending => Poll::Pending,
        }
    }

    /// The connection, when the whole body has been read.
    pub(super) fn into_connection(self) -> Option<Box<Connection>> {
        self.is_whole.then_some(self.connection)
    }
}
