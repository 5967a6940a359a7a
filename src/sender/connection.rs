//! One HTTP/1.1 connection, driven by whoever waits for its answer: it has no task of its own, so that
//! an exchange wakes nobody but itself.

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

use super::fault::{self, Fault};

/// Plain or under TLS, whose state is large.
pub(super) type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// A connection that can take a request.
pub(super) struct Connection {
    /// What it leads to: scheme, host and port, as in a URL.
    pub(super) origin: Box<str>,
    requests: SendRequest<Full<Bytes>>,
    driver: http1::Connection<TokioIo<Stream>, Full<Bytes>>,
    has_ended: bool,
}

/// Why a request got no answer's head.
pub(super) enum NoAnswer {
    /// The connection was closed before any of it was sent.
    Unsent(Box<Request<Full<Bytes>>>),
    /// It may have arrived.
    Broken(Fault),
}

/// An answer whose body is yet to be read.
pub(super) struct Answer {
    pub(super) head: response::Parts,
    body: Incoming,
    is_whole: bool,
    connection: Box<Connection>,
}

impl Connection {
    /// Speaks HTTP/1.1 on a stream to `origin`; sends nothing yet.
    pub(super) async fn on(stream: Stream, origin: &str) -> hyper::Result<Box<Self>> {
        let (requests, driver) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Box::new(Self { origin: origin.into(), requests, driver, has_ended: false }))
    }

    /// Whether it can take another request: not when the receiver has closed it meanwhile.
    pub(super) fn is_open(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.has_ended && self.requests.is_ready()
    }

    /// Sends a request and waits for the answer's head.
    pub(super) async fn send(
        mut self: Box<Self>,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, NoAnswer> {
        let mut answer = pin!(self.requests.try_send_request(request));
        let answer = poll_fn(|context| {
            self.drive(context);
            match answer.as_mut().poll(context) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                Poll::Pending if self.has_ended => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        });
        match answer.await {
            Some(Ok(answer)) => {
                let (head, body) = answer.into_parts();
                Ok(Answer { head, body, is_whole: false, connection: self })
            }
            Some(Err(mut fault)) => Err(match fault.take_message() {
                Some(request) => NoAnswer::Unsent(Box::new(request)),
                None => NoAnswer::Broken(fault::of_http(fault.error())),
            }),
            None => Err(NoAnswer::Broken(fault::closed())),
        }
    }

    /// Reads and writes what can be, and has `context` woken when more can.
    fn drive(&mut self, context: &mut Context<'_>) {
        // What went wrong is told to the request under way; with none, nobody needs to know.
        self.has_ended = self.has_ended || Pin::new(&mut self.driver).poll(context).is_ready();
    }
}

impl Answer {
    /// The next piece of the body; none at its end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            match poll_fn(|context| self.poll_frame(context)).await? {
                // Trailers are nothing to a record.
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
    ) -> Poll<Result<Option<Frame<Bytes>>, Fault>> {
        let mut frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_pending() {
            self.connection.drive(context);
            frame = Pin::new(&mut self.body).poll_frame(context);
        }
        match frame {
            Poll::Ready(frame) => {
                Poll::Ready(frame.transpose().map_err(|fault| fault::of_http(&fault)))
            }
            Poll::Pending if self.connection.has_ended => Poll::Ready(Err(fault::closed())),
            Poll::Pending => Poll::Pending,
        }
    }

    /// The connection, when the whole body has been read.
    pub(super) fn into_connection(self) -> Option<Box<Connection>> {
        self.is_whole.then_some(self.connection)
    }
}
