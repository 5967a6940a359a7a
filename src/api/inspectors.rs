//! Inspectors: their door for webhooks, open to any sender where the setting allows it, and what an
//! operator asks of them.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body as RequestBody;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::body::Body;
use super::token::As;
use super::{Api, Problem, sse};
use crate::clock::Clock;
use crate::desk::inspectors::{AnswerDocument, InspectorView};
use crate::domain::access::{Caller, Operator};
use crate::receiver::{InspectorName, Inspectors};

/// The longest body that is taken: more than the largest batch.
const BODY_BYTES: usize = 5 * 1024 * 1024;
/// What all bodies that are being read may have together, in KiB.
const HELD_KIB: usize = 64 * 1024;

/// What takes webhooks for the inspectors.
pub(super) struct Door {
    inspectors: Arc<Inspectors>,
    clock: Arc<dyn Clock>,
    body_timeout: Duration,
    held_kib: Semaphore,
}

impl Door {
    /// The door of these inspectors; a sender has so long for its body.
    pub(super) fn new(
        inspectors: Arc<Inspectors>,
        clock: Arc<dyn Clock>,
        body_timeout: Duration,
    ) -> Self {
        Self { inspectors, clock, body_timeout, held_kib: Semaphore::new(HELD_KIB) }
    }

    /// Takes the room that a body needs, as far as its head says how much that is.
    async fn room(&self, announced: Option<usize>) -> Option<SemaphorePermit<'_>> {
        let bytes = announced.unwrap_or(BODY_BYTES).min(BODY_BYTES);
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        self.held_kib.acquire_many(kib).await.ok()
    }

    async fn take(&self, text: &str, request: Request) -> Response {
        let Some(name) = InspectorName::parse(text) else {
            let words = "an inspector's name has 1 to 64 small letters, digits, - and _\n";
            return (StatusCode::NOT_FOUND, words).into_response();
        };
        let (head, body) = request.into_parts();
        if !matches!(head.method, Method::POST | Method::PUT | Method::PATCH) {
            let allow = [(header::ALLOW, "POST, PUT, PATCH")];
            let words = "send POST, PUT or PATCH\n";
            return (StatusCode::METHOD_NOT_ALLOWED, allow, words).into_response();
        }
        let announced = head.headers.get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|it| it.to_str().ok()?.parse().ok());
        let deadline = self.clock.now() + self.body_timeout;
        let reading = async {
            let _room = self.room(announced).await;
            let body = read(body).await?;
            Ok(self.inspectors.take(&name, &head, &body))
        };
        let taken = tokio::select! {
            taken = reading => taken,
            () = self.clock.sleep_until(deadline) => Err(StatusCode::REQUEST_TIMEOUT),
        };
        match taken {
            Ok(reply) => {
                self.clock.sleep_until(reply.at).await;
                (reply.status, reply.body).into_response()
            }
            Err(status) => status.into_response(),
        }
    }
}

async fn read(body: RequestBody) -> Result<bytes::Bytes, StatusCode> {
    match Limited::new(body, BODY_BYTES).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(fault) if fault.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => Err(StatusCode::BAD_REQUEST),
    }
}

pub(super) async fn take(
    State(door): State<Arc<Door>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    door.take(&name, request).await
}

pub(super) async fn take_below(
    State(door): State<Arc<Door>>,
    Path((name, _below)): Path<(String, String)>,
    request: Request,
) -> Response {
    door.take(&name, request).await
}

pub(super) async fn list(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
) -> Result<Json<Vec<InspectorView>>, Problem> {
    Ok(Json(api.desk.list_inspectors(&caller)?))
}

pub(super) async fn show(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Result<Json<InspectorView>, Problem> {
    Ok(Json(api.desk.inspector(&caller, &name)?))
}

pub(super) async fn set(
    As(operator): As<Operator>,
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Body(answer): Body<AnswerDocument>,
) -> Result<Json<InspectorView>, Problem> {
    Ok(Json(api.desk.set_inspector(&operator, &name, answer)?))
}

pub(super) async fn forget(
    As(operator): As<Operator>,
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    api.desk.forget_inspector(&operator, &name)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn stream(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    Ok(sse::answer(api.desk.watch_inspector(&caller, Some(&name))?))
}
