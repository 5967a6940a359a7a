//! A client for server-sent events, line by line.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;

/// Timeout of a wait; exceeding it fails the test.
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

/// An open stream of events.
pub(crate) struct Sse {
    lines: Lines<BufReader<TcpStream>>,
}

impl Sse {
    /// Opens `path` with the operator's token; the subscription is active when this returns.
    pub(crate) async fn open(address: SocketAddr, token_file: &Path, path: &str) -> Self {
        let token = std::fs::read_to_string(token_file).unwrap();
        Self::bearing(address, token.trim(), path).await
    }

    /// Opens `path` with this token.
    pub(crate) async fn bearing(address: SocketAddr, token: &str, path: &str) -> Self {
        Self::with_header(address, &format!("Authorization: Bearer {token}"), path).await
    }

    /// Opens `path` as a client that returns: with the id of the last item that it got.
    pub(crate) async fn returning(address: SocketAddr, token: &str, id: &str, path: &str) -> Self {
        let headers = format!("Authorization: Bearer {token}\r\nLast-Event-ID: {id}");
        Self::with_header(address, &headers, path).await
    }

    /// Opens `path` with a session's cookie, as a page does.
    pub(crate) async fn of_page(address: SocketAddr, cookie: &str, path: &str) -> Self {
        Self::with_header(address, &format!("Cookie: {cookie}"), path).await
    }

    async fn with_header(address: SocketAddr, header: &str, path: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The connection ends with the stream.
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{header}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut sse = Self { lines: BufReader::new(stream).lines() };
        let status = sse.line().await.unwrap();
        assert!(status.contains(" 200 "), "{status}");
        sse.until(": watching").await;
        sse
    }

    /// The next line; none when the stream has ended.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let line = tokio::time::timeout(WAIT_TIMEOUT, self.lines.next_line()).await;
        line.expect("nothing more came").ok().flatten()
    }

    async fn until(&mut self, wanted: &str) {
        self.until_line(|line| line.trim_end() == wanted).await;
    }

    /// The next line that matches.
    pub(crate) async fn until_line(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        while let Some(line) = self.line().await {
            if wanted(&line) {
                return line;
            }
        }
        panic!("the stream ended before a matching line");
    }

    /// Returns once the stream sent `ended` and closed; no line may contain `unwanted`.
    pub(crate) async fn ends_without(&mut self, unwanted: &str) {
        let mut said = false;
        while let Some(line) = self.line().await {
            assert!(!line.contains(unwanted), "{line}");
            said |= line == "event: ended";
        }
        assert!(said, "the stream closed without an `ended` event");
    }

    /// The id of the next message.
    pub(crate) async fn id(&mut self) -> String {
        let line = self.until_line(|line| line.starts_with("id: ")).await;
        line["id: ".len()..].to_owned()
    }

    /// The data of the next message.
    pub(crate) async fn message(&mut self) -> Value {
        while let Some(line) = self.line().await {
            if let Some(data) = line.strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap();
            }
        }
        panic!("the stream ended before the next message");
    }
}
