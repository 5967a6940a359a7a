//! A reader of server-sent events, line by line, on a connection of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;

/// A wait that takes longer than this fails its test.
const PATIENCE: Duration = Duration::from_secs(30);

/// An open stream of events.
pub(crate) struct Sse {
    lines: Lines<BufReader<TcpStream>>,
}

impl Sse {
    /// Opens `path` with the operator's token; the service hears it when this returns.
    pub(crate) async fn open(address: SocketAddr, token_file: &Path, path: &str) -> Self {
        let token = std::fs::read_to_string(token_file).unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\r\n",
            token.trim()
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
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        line.expect("nothing more came").ok().flatten()
    }

    async fn until(&mut self, wanted: &str) {
        while let Some(line) = self.line().await {
            if line.trim_end() == wanted {
                return;
            }
        }
        panic!("it ended before {wanted:?}");
    }

    /// What the next message says.
    pub(crate) async fn message(&mut self) -> Value {
        while let Some(line) = self.line().await {
            if let Some(data) = line.strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap();
            }
        }
        panic!("it ended before the next message");
    }
}
