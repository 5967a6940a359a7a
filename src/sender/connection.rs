//! One HTTP/1.1 connection, read and written by the task that awaits its response: a connection has no task
//! of its own, so an exchange causes no wake-up of another task.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::buf::Chain;
use bytes::{Buf, Bytes, BytesMut};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use tokio_util::io::{poll_read_buf, poll_write_buf};

use super::encoded_request::EncodedRequest;
use super::failure::{self, Failure};
use super::open_count::OpenCount;
use super::response_body::{BodyDecoder, Framing, Next};
use super::response_head::{Head, HeadReader};

/// Room for one read, in bytes.
const READ_BYTES: usize = 8 * 1024;

/// A plain TCP or a TLS stream; TLS state is boxed because it is large.
pub(super) type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// A connection that can take a request.
pub(super) struct Connection {
    /// Scheme, host and port, as in a URL.
    pub(super) origin: Box<str>,
    stream: Stream,
    /// Bytes that have arrived and are not read yet.
    received: BytesMut,
    /// What is left to be written of the request.
    unwritten: Chain<Bytes, Bytes>,
    writing: Writing,
    /// Counts it as open; none for a connection of its own.
    pub(super) open: Option<OpenCount>,
}

/// The state of writing a request.
enum Writing {
    /// Bytes are left, or not flushed.
    Ongoing,
    /// The whole request is in the socket.
    Done,
    /// The receiver reads no more; it may have answered before.
    Failed(io::Error),
}

/// Why no response head was received.
pub(super) struct NoResponse {
    pub(super) failure: Failure,
    /// Whether the receiver closed the connection before the first byte of a response.
    pub(super) is_unanswered_close: bool,
}

/// A response whose body has not been read yet.
pub(super) struct Response {
    pub(super) head: Head,
    framing: Framing,
    is_whole: bool,
    connection: Box<Connection>,
}

impl Connection {
    /// Wraps a stream to `origin`; sends nothing yet.
    pub(super) fn on(stream: Stream, origin: &str) -> Box<Self> {
        Box::new(Self {
            origin: origin.into(),
            stream,
            received: BytesMut::new(),
            unwritten: Bytes::new().chain(Bytes::new()),
            writing: Writing::Done,
            open: None,
        })
    }

    /// Whether it can take another request: false after the receiver closed it or sent bytes that belong
    /// to no response.
    pub(super) fn is_open(&mut self) -> bool {
        if !self.received.is_empty() || !matches!(self.writing, Writing::Done) {
            return false;
        }
        let mut byte = [0];
        let mut byte = ReadBuf::new(&mut byte);
        let context = &mut Context::from_waker(Waker::noop());
        Pin::new(&mut self.stream).poll_read(context, &mut byte).is_pending()
    }

    /// Sends a request and waits for the response's head.
    pub(super) async fn send(
        mut self: Box<Self>,
        request: EncodedRequest,
    ) -> Result<Response, NoResponse> {
        self.unwritten = request.head.chain(request.body);
        self.writing = Writing::Ongoing;
        let mut reader = HeadReader::default();
        let mut has_answered = false;
        loop {
            match self.receive().await {
                Ok(0) => return Err(NoResponse::closed(failure::closed(), has_answered)),
                Ok(_) => has_answered = true,
                Err(error) => {
                    let failure = failure::of_broken(&error);
                    return Err(match failure.local {
                        None => NoResponse::closed(failure, has_answered),
                        Some(_) => NoResponse { failure, is_unanswered_close: false },
                    });
                }
            }
            match reader.read(&mut self.received) {
                Ok(None) => {}
                Ok(Some(head)) => {
                    let framing = Framing::of(&head);
                    return Ok(Response { head, framing, is_whole: false, connection: self });
                }
                Err(error) => {
                    let failure = failure::malformed(&error);
                    return Err(NoResponse { failure, is_unanswered_close: false });
                }
            }
        }
    }

    /// Receives more bytes, and writes what is left of the request meanwhile; 0 when the receiver has
    /// ended its side.
    async fn receive(&mut self) -> io::Result<usize> {
        poll_fn(|context| self.poll_receive(context)).await
    }

    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if matches!(self.writing, Writing::Ongoing) {
            match self.poll_write(context) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.writing = Writing::Done,
                // A receiver may answer without reading the whole request.
                Poll::Ready(Err(error)) if is_close(&error) => {
                    self.writing = Writing::Failed(error)
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
        self.received.reserve(READ_BYTES);
        let stream = Pin::new(&mut self.stream);
        let read = std::task::ready!(poll_read_buf(stream, context, &mut self.received));
        match (read, std::mem::replace(&mut self.writing, Writing::Done)) {
            (Ok(0), Writing::Failed(error)) => Poll::Ready(Err(error)),
            (read, writing) => {
                self.writing = writing;
                Poll::Ready(read)
            }
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut stream = Pin::new(&mut self.stream);
        while self.unwritten.has_remaining() {
            let written = poll_write_buf(stream.as_mut(), context, &mut self.unwritten);
            if std::task::ready!(written)? == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        stream.poll_flush(context)
    }
}

/// Whether an error says that the receiver closed the connection.
fn is_close(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::WriteZero
    )
}

impl NoResponse {
    const fn closed(failure: Failure, has_answered: bool) -> Self {
        Self { failure, is_unanswered_close: !has_answered }
    }
}

impl Response {
    /// Passes the next part of the body to `keep`; false at the body's end.
    pub(super) async fn next_part(&mut self, keep: impl FnOnce(&[u8])) -> Result<bool, Failure> {
        loop {
            let received = &mut self.connection.received;
            let next = self.framing.body.next(received);
            match next.map_err(|error| failure::malformed(&error))? {
                Next::Data(count) => {
                    keep(&received[..count]);
                    received.advance(count);
                    return Ok(true);
                }
                Next::Framing(count) => received.advance(count),
                Next::End => {
                    self.is_whole = true;
                    return Ok(false);
                }
                Next::Incomplete => match self.connection.receive().await {
                    Ok(0) if self.framing.body == BodyDecoder::UntilClose => return Ok(false),
                    Ok(0) => return Err(failure::closed()),
                    Ok(_) => {}
                    Err(error) => return Err(failure::of_broken(&error)),
                },
            }
        }
    }

    /// Whether it says that the receiver waited too long for a request and closes the connection. On an
    /// idle connection it answers no request, so the one on its way may be repeated (RFC 9110, 15.5.9).
    pub(super) fn ends_an_idle_connection(&self) -> bool {
        self.head.status == StatusCode::REQUEST_TIMEOUT && !self.framing.is_reusable
    }

    /// The connection, if another request can be sent on it: the whole response has been read, and
    /// nothing else has arrived.
    pub(super) fn into_connection(self) -> Option<Box<Connection>> {
        let mut connection = self.connection;
        let is_clean =
            connection.received.is_empty() && matches!(connection.writing, Writing::Done);
        // An idle connection holds no buffers.
        connection.received = BytesMut::new();
        connection.unwritten = Bytes::new().chain(Bytes::new());
        (self.is_whole && self.framing.is_reusable && is_clean).then_some(connection)
    }
}
