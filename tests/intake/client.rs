//! An HTTP/1.1 client on a raw socket, so that tests can send malformed requests.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A response.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(&found.1)
    }

    /// Asserts the success response that SDKs expect.
    #[track_caller]
    pub(super) fn assert_success(&self) {
        assert_eq!(self.status, 200, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(self.body, r#"{"success":true}"#);
    }

    /// Asserts the shape of an error response; returns status, code and message.
    #[track_caller]
    pub(super) fn refusal(&self) -> (u16, String, String) {
        assert_ne!(self.status, 200, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        let body: serde_json::Value = serde_json::from_str(&self.body).expect("JSON");
        assert_eq!(body["success"], false);
        let fields: Vec<&String> = body.as_object().expect("an object").keys().collect();
        assert_eq!(fields, ["success", "code", "message"]);
        let text = |key: &str| body[key].as_str().expect("a string").to_owned();
        assert!(!text("message").is_empty());
        (self.status, text("code"), text("message"))
    }

    #[track_caller]
    pub(super) fn assert_refused(&self, status: u16, code: &str) {
        let (found_status, found_code, _) = self.refusal();
        assert_eq!((found_status, found_code.as_str()), (status, code), "{self:?}");
    }
}

/// A connection.
pub(super) struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the listener takes connections");
        Self { stream, read: Vec::new() }
    }

    pub(super) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.expect("the connection is open");
    }

    /// Writes, ignoring a closed connection.
    pub(super) async fn try_write(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Writes as much as the connection takes; false once it is closed.
    pub(super) async fn write_some(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write(bytes.as_ref()).await.is_ok()
    }

    /// Shuts down the sending side.
    pub(super) async fn finish_writing(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// The next response; none if the connection closes first.
    pub(super) async fn answer(&mut self) -> Option<Answer> {
        let head = loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break self.read.drain(..end + 4).collect::<Vec<u8>>();
            }
            if !self.read_more().await {
                return None;
            }
        };
        let head = String::from_utf8(head).expect("ASCII");
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().expect("a status");
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let mut answer = Answer { status, headers, body: String::new() };
        let length = answer.header("content-length").map_or(0, |it| it.parse().expect("a number"));
        while self.read.len() < length {
            assert!(self.read_more().await, "the answer broke off: {answer:?}");
        }
        let body: Vec<u8> = self.read.drain(..length).collect();
        answer.body = String::from_utf8_lossy(&body).into_owned();
        Some(answer)
    }

    async fn read_more(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.read).await, Ok(count) if count > 0)
    }

    /// Waits for the peer to close; discards data before that.
    pub(super) async fn closed(&mut self) {
        while self.read_more().await {}
    }
}

/// A request built from its parts.
#[derive(Clone, Debug)]
pub(super) struct Request {
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// A POST of this body, with `KEY` as the Basic user name.
    pub(super) fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        let request = Self::anonymous(path, body);
        request.header("authorization", &basic("KEY:"))
    }

    /// A POST of this body without a write key in its head.
    pub(super) fn anonymous(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { method: "POST", path: path.to_owned(), headers: Vec::new(), body: body.into() }
    }

    pub(super) fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Compresses the body.
    pub(super) fn gzip(mut self) -> Self {
        self.body = gzip(&self.body);
        self.header("content-encoding", "gzip")
    }

    /// Compresses the body with zlib.
    pub(super) fn deflate(mut self) -> Self {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&self.body).expect("memory takes it");
        self.body = encoder.finish().expect("memory takes it");
        self.header("content-encoding", "deflate")
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: test\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", self.body.len()));
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

pub(super) fn basic(credentials: &str) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

pub(super) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}
