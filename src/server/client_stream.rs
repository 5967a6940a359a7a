//! A client's connection. A client that ends its side after a request still gets the response, so that hyper does not
//! watch for the end of the connection meanwhile; a response that goes on, such as a live stream, does that itself.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body as AnyBody;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// A connection whose reading side is shared with the responses that watch for its end.
#[derive(Debug)]
pub(super) struct ClientStream {
    read: Arc<OwnedReadHalf>,
    write: OwnedWriteHalf,
}

impl ClientStream {
    pub(super) fn new(stream: TcpStream) -> Self {
        let (read, write) = stream.into_split();
        Self { read: Arc::new(read), write }
    }

    /// Tells when the client has ended its side.
    pub(super) fn watch(&self) -> EndOfClient {
        EndOfClient(Arc::clone(&self.read))
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream: &TcpStream = (*self.read).as_ref();
        loop {
            std::task::ready!(stream.poll_read_ready(context))?;
            match stream.try_read_buf(into) {
                Ok(_read) => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.write).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.write).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.write.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_shutdown(context)
    }
}

/// The end of a client's side of a connection.
#[derive(Clone, Debug)]
pub(super) struct EndOfClient(Arc<OwnedReadHalf>);

impl EndOfClient {
    /// The response; one that goes on ends with the client.
    pub(super) fn bounds(self, response: Response) -> Response {
        let kind = response.headers().get(CONTENT_TYPE);
        if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream")) {
            let ended = Box::pin(async move { self.reached().await });
            return response.map(|body| AnyBody::new(UntilEnd { body, ended }));
        }
        response
    }

    async fn reached(&self) {
        let stream: &TcpStream = (*self.0).as_ref();
        match stream.peek(&mut [0]).await {
            Ok(0) | Err(_) => {}
            // A further request, which waits for this response: the end cannot be seen behind it.
            Ok(_) => std::future::pending().await,
        }
    }
}

/// A body that ends with its client.
struct UntilEnd {
    body: AnyBody,
    ended: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Body for UntilEnd {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.ended.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
