//! A raw admin API request with any method and headers, and its response.

use http::StatusCode;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::app::TestApp;
use super::unique_keys::UniqueKeys;

/// A request to be sent.
pub(crate) struct Request {
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Value>,
}

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Value,
}

impl Request {
    /// A request under `/api/v1`.
    pub(crate) fn new(method: &'static str, path: impl AsRef<str>) -> Self {
        let path = format!("/api/v1{}", path.as_ref());
        Self { method, path, headers: Vec::new(), body: None }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn json(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// Sends it with the operator's token.
    pub(crate) async fn send(self, app: &TestApp) -> Answer {
        let body = self.body.map(|body| body.to_string()).unwrap_or_default();
        let token = std::fs::read_to_string(app.dir.path().join("postrider.token")).unwrap();
        let mut text = format!(
            "{} {} HTTP/1.1\r\nhost: test\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
             content-length: {}\r\ncontent-type: application/json\r\n",
            self.method,
            self.path,
            token.trim(),
            body.len()
        );
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut stream = TcpStream::connect(app.app.address).await.unwrap();
        stream.write_all(format!("{text}\r\n{body}").as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        Answer::of(&String::from_utf8(bytes).unwrap())
    }
}

impl Answer {
    fn of(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status");
        let headers = lines.filter_map(|line| line.split_once(": "));
        let is_json = body.starts_with(['{', '[']);
        if let Some(error) =
            is_json.then(|| serde_json::from_str::<UniqueKeys>(body)).and_then(Result::err)
        {
            panic!("{error}: {body}");
        }
        Self {
            status: status.parse().expect("a status"),
            headers: headers.map(|(name, it)| (name.to_lowercase(), it.to_owned())).collect(),
            body: serde_json::from_str(body).unwrap_or(Value::Null),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name)?;
        Some(&found.1)
    }

    /// The ETag.
    #[track_caller]
    pub(crate) fn tag(&self) -> String {
        self.header("etag").unwrap_or_else(|| panic!("no ETag: {self:?}")).to_owned()
    }

    /// Asserts the status.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        self
    }

    /// Path and message of each fault of a 422 response.
    #[track_caller]
    pub(crate) fn faults(self) -> Vec<(String, String)> {
        let answer = self.is(422);
        let faults = answer.body["faults"].as_array().unwrap_or_else(|| panic!("{answer:?}"));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        faults.iter().map(|fault| (text(&fault["path"]), text(&fault["message"]))).collect()
    }
}
