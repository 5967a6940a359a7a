//! The built-in receivers: those of `postrider listen`, `dev` and `bench`, and the inspectors of a
//! running service. They take webhooks, say whether their signatures are right, and answer as they are
//! told to. They forward nothing.

mod arrival;
mod inspector;
mod mark;
mod meter;
mod script;
mod server;
mod verify;

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

use crate::domain::clock::Clock;

pub use arrival::Arrival;
pub use inspector::{
    Answer, AnswerFault, Inspected, Inspector, InspectorName, Inspectors, KnownSecret,
    KnownSecrets, Reply, ToldSecret,
};
pub use mark::Mark;
pub use meter::{FAIL, HANG, Meter, Reading, quantile};
pub use script::{Script, ScriptError};
pub use verify::Verdict;

use script::Tries;
use server::Server;

/// Bodies longer than this are answered 413: twice the largest batch.
const BODY_LIMIT_BYTES: usize = 8 * 1024 * 1024;
/// Arrivals that wait to be looked at; a receiver whose arrivals nobody takes stops answering.
const WAITING_ARRIVALS: usize = 1_024;

/// The receiver could not start.
#[derive(Debug, thiserror::Error)]
pub enum ReceiverError {
    /// The address is taken, not ours, or not an address.
    #[error("cannot listen on {listen}")]
    Listen {
        /// What was asked for.
        listen: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// How a receiver behaves.
#[derive(Clone, Debug, Default)]
pub struct ReceiverOptions {
    /// Secrets that signatures may be made with; none: they are not checked.
    pub secrets: Vec<SecretString>,
    /// What it answers, counted for each `webhook-id` on its own.
    pub script: Script,
    /// Other scripts for some paths, by the whole path.
    pub script_by_path: HashMap<String, Script>,
    /// How long it takes over each answer.
    pub delay: Duration,
}

/// A running receiver. Dropping it stops it at once, [`Receiver::stop`] lets answers finish.
#[derive(Debug)]
pub struct Receiver {
    server: Server,
    arrivals: mpsc::Receiver<Arrival>,
}

impl Receiver {
    /// Listens on `listen` (`host:port`; port 0 takes any free one) and answers from now on.
    ///
    /// # Errors
    /// [`ReceiverError::Listen`] when the address cannot be had.
    pub async fn start(
        listen: &str,
        options: ReceiverOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ReceiverError> {
        let listener = server::bind(listen).await?;
        let (sender, arrivals) = mpsc::channel(WAITING_ARRIVALS);
        let service = Arc::new(Service { options, tries: Tries::default(), sender, clock });
        let server = Server::start(listener, move |request| {
            let service = Arc::clone(&service);
            async move { service.take(request).await }
        });
        Ok(Self { server, arrivals })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The next arrival, in the order of the answers; none once the receiver has stopped.
    pub async fn next(&mut self) -> Option<Arrival> {
        self.arrivals.recv().await
    }

    /// Takes no more connections, lets answers under way finish for a moment, and ends.
    pub async fn stop(mut self) {
        // Answers that wait for room in the queue would never finish otherwise.
        self.arrivals.close();
        self.server.stop().await;
    }
}

/// Takes one request after another.
struct Service {
    options: ReceiverOptions,
    tries: Tries,
    sender: mpsc::Sender<Arrival>,
    clock: Arc<dyn Clock>,
}

impl Service {
    async fn take(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        if !matches!(head.method, Method::POST | Method::PUT | Method::PATCH) {
            return refusal(StatusCode::METHOD_NOT_ALLOWED, "send POST, PUT or PATCH\n");
        }
        let body = match Limited::new(body, BODY_LIMIT_BYTES).collect().await {
            Ok(whole) => whole.to_bytes(),
            Err(fault) if fault.is::<LengthLimitError>() => {
                return refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than 8 MiB\n");
            }
            Err(_) => return refusal(StatusCode::BAD_REQUEST, "the body broke off\n"),
        };
        let arrival = self.judge(&head, body);
        let answer = plain(arrival.answered, Bytes::new());
        if !self.options.delay.is_zero() {
            self.clock.sleep_until(self.clock.now() + self.options.delay).await;
        }
        // Nobody looking is no reason not to answer.
        let _ = self.sender.send(arrival).await;
        answer
    }

    fn judge(&self, head: &http::request::Parts, body: Bytes) -> Arrival {
        let now = self.clock.now();
        let secrets = &self.options.secrets;
        let path = head.uri.path();
        let tried = self.tries.count(path, arrival::webhook_id(&head.headers).unwrap_or_default());
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
            answered: script.answer(tried),
        }
    }
}

fn plain(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
}

fn refusal(status: StatusCode, words: &'static str) -> Response<Full<Bytes>> {
    let mut response = plain(status, Bytes::from_static(words.as_bytes()));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let methods = http::HeaderValue::from_static("POST, PUT, PATCH");
        response.headers_mut().insert(header::ALLOW, methods);
    }
    response
}
