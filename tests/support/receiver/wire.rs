//! The test receiver's protocol: raw bytes over TCP or TLS. Request bodies need a `Content-Length`.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{Answer, Behaviour, Greeting, Received, Shared};

/// Interval between two bytes of a slow response.
const DRIBBLE: Duration = Duration::from_millis(5);

/// Bytes of one write of a flood.
const FLOOD_BYTES: usize = 64 * 1024;

pub(super) async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let number = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
        let greeting = *shared.greeting.lock().unwrap();
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        let mut closings = shared.closings.subscribe();
        shared.open.send_modify(|open| *open += 1);
        connections.spawn(async move {
            // Broken connections are expected in many tests.
            tokio::select! {
                _ = greet(socket, tls, greeting, number, &shared) => {}
                _ = closings.changed() => {}
            }
            shared.open.send_modify(|open| *open -= 1);
        });
    }
}

async fn greet(
    mut socket: TcpStream,
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
        Greeting::EarlyResponse(bytes) => {
            socket.write_all(bytes).await?;
            socket.shutdown().await?;
            std::future::pending().await
        }
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

/// The state of a connection after a request.
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
        Behaviour::AtGate(mut gate, number, answer) => {
            gate.wait_for(|reached| *reached >= number).await.map_err(io::Error::other)?;
            stream.write_all(&answer.bytes()).await?;
            Ok(if answer.closes() { Then::Close } else { Then::ReadOn })
        }
        Behaviour::Raw(bytes) => {
            stream.write_all(&bytes).await?;
            Ok(Then::Close)
        }
        Behaviour::RawThenReadOn(bytes) => {
            stream.write_all(&bytes).await?;
            stream.flush().await?;
            Ok(Then::ReadOn)
        }
        Behaviour::Flood(first, again) => {
            stream.write_all(&first).await?;
            let many = again.repeat(FLOOD_BYTES.div_ceil(again.len()));
            loop {
                stream.write_all(&many).await?;
            }
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

/// The next request on the connection; none when the client closed it.
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
