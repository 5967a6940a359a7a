//! A standalone receiver for `postrider listen` and `postrider dev`: accepts webhooks, verifies their
//! signatures, answers from a script, and hands each request to its caller through a bounded queue.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use secrecy::SecretString;
use tokio::sync::mpsc;

use super::arrival::Arrival;
use super::arrival_counter::ArrivalCounter;
use super::http_server::{HttpServer, ListenError};
use super::script::Script;
use super::verify;
use crate::domain::clock::Clock;

/// Longer bodies are answered 413: twice the largest batch.
const BODY_LIMIT_BYTES: usize = 8 * 1024 * 1024;
/// Capacity of the queue of arrivals; when it is full, requests wait for their response.
const QUEUED_ARRIVALS: usize = 1_024;

/// A receiver's behaviour.
#[derive(Clone, Debug, Default)]
pub struct ReceiverOptions {
    /// Accepted shared secrets; without any, signatures are not checked.
    pub secrets: Vec<SecretString>,
    /// The statuses that it answers, in sequence for each `webhook-id`.
    pub script: Script,
    /// Scripts that override `script`, by the whole path.
    pub script_by_path: HashMap<String, Script>,
    /// The delay before each response.
    pub delay: Duration,
}

/// A running receiver. Dropping it aborts its connections; [`Receiver::stop`] is graceful.
#[derive(Debug)]
pub struct Receiver {
    server: HttpServer,
    arrivals: mpsc::Receiver<Arrival>,
}

impl Receiver {
    /// Binds `listen` (`host:port`; port 0 takes any free one) and serves.
    ///
    /// # Errors
    /// [`ListenError`] when the address cannot be bound.
    pub async fn start(
        listen: &str,
        options: ReceiverOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ListenError> {
        let listener = HttpServer::bind(listen).await?;
        let (sender, arrivals) = mpsc::channel(QUEUED_ARRIVALS);
        let handler =
            Arc::new(Handler { options, counter: ArrivalCounter::default(), sender, clock });
        let server = HttpServer::start(listener, move |request| {
            let handler = Arc::clone(&handler);
            async move { handler.handle(request).await }
        });
        Ok(Self { server, arrivals })
    }

    /// The bound address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The next arrival; `None` once the receiver has stopped.
    pub async fn next(&mut self) -> Option<Arrival> {
        self.arrivals.recv().await
    }

    /// Stops accepting, waits for responses under way within a grace, and ends.
    pub async fn stop(mut self) {
        // Unblocks responses that wait for room in the queue.
        self.arrivals.close();
        self.server.stop().await;
    }
}

/// What every request is handled with.
struct Handler {
    options: ReceiverOptions,
    counter: ArrivalCounter,
    sender: mpsc::Sender<Arrival>,
    clock: Arc<dyn Clock>,
}

impl Handler {
    async fn handle(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        if !matches!(head.method, Method::POST | Method::PUT | Method::PATCH) {
            return refusal(StatusCode::METHOD_NOT_ALLOWED, "send POST, PUT or PATCH\n");
        }
        let body = match Limited::new(body, BODY_LIMIT_BYTES).collect().await {
            Ok(whole) => whole.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than 8 MiB\n");
            }
            Err(_) => return refusal(StatusCode::BAD_REQUEST, "the body is incomplete\n"),
        };
        let arrival = self.arrival(&head, body);
        let answer = plain(arrival.answered, Bytes::new());
        if !self.options.delay.is_zero() {
            self.clock.sleep_until(self.clock.service_now() + self.options.delay).await;
        }
        // After `stop` nothing reads the queue; the response is still sent.
        let _ = self.sender.send(arrival).await;
        answer
    }

    fn arrival(&self, head: &http::request::Parts, body: Bytes) -> Arrival {
        let now = self.clock.now();
        let secrets = &self.options.secrets;
        let path = head.uri.path();
        let tried = self.counter.count(path, verify::webhook_id(&head.headers).unwrap_or_default());
        let script = self.options.script_by_path.get(path).unwrap_or(&self.options.script);
        Arrival {
            arrived_at: now,
            method: head.method.clone(),
            path: head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            signature: verify::x_signature(secrets, &head.headers, &body),
            standard: verify::standard(secrets, &head.headers, &body, now),
            headers: head.headers.clone(),
            body,
            tried,
            answered: script.status(tried),
        }
    }
}

fn plain(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
}

fn refusal(status: StatusCode, message: &'static str) -> Response<Full<Bytes>> {
    let mut response = plain(status, Bytes::from_static(message.as_bytes()));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let methods = http::HeaderValue::from_static("POST, PUT, PATCH");
        response.headers_mut().insert(header::ALLOW, methods);
    }
    response
}
