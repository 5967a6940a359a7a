//! Inspectors: their door for webhooks, open to any sender where the setting allows it, and what an
//! operator asks of them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body as RequestBody;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use http::{Method, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::authentication::As;
use super::body::Body;
use super::{Api, Problem};
use crate::domain::auth::{Caller, Operator};
use crate::domain::clock::Clock;
use crate::inspector::{InspectorName, Inspectors};
use crate::live::sse;
use crate::service::Service;
use crate::service::inspectors::{AnswerDocument, InspectorView};

/// The longest body that is taken: more than the largest batch.
const BODY_BYTES: usize = 5 * 1024 * 1024;
/// What all bodies that are being read may have together, in KiB.
const HELD_KIB: usize = 64 * 1024;

/// What takes webhooks for the inspectors.
struct Door {
    inspectors: Arc<Inspectors>,
    clock: Arc<dyn Clock>,
    body_timeout: Duration,
    held_kib: Semaphore,
}

impl Door {
    /// The door of these inspectors; a sender has so long for its body.
    fn new(inspectors: Arc<Inspectors>, clock: Arc<dyn Clock>, body_timeout: Duration) -> Self {
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
            Ok(self.inspectors.receive(&name, &head, &body))
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

/// Where the inspectors take webhooks; a sender is told where the settings do not allow them. It is a
/// receiver's door and no part of the API.
pub(super) fn doors(service: &Service) -> Router<Arc<Api>> {
    let Some(inspectors) = &service.inspectors else {
        let shut = any(async || (StatusCode::NOT_FOUND, "there are no inspectors here\n"));
        return Router::new()
            .route("/inspect/{name}", shut.clone())
            .route("/inspect/{name}/{*below}", shut);
    };
    let body_timeout = Duration::from_millis(service.settings.body_timeout_ms);
    let door = Door::new(Arc::clone(inspectors), Arc::clone(&service.clock), body_timeout);
    Router::new()
        .route("/inspect/{name}", any(take))
        .route("/inspect/{name}/{*below}", any(take_below))
        .with_state(Arc::new(door))
}

async fn take(
    State(door): State<Arc<Door>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    door.take(&name, request).await
}

async fn take_below(
    State(door): State<Arc<Door>>,
    Path((name, _below)): Path<(String, String)>,
    request: Request,
) -> Response {
    door.take(&name, request).await
}

/// The inspectors that something arrived at or that were told what to answer.
#[utoipa::path(get, path = "/inspectors", tag = "inspectors",
    responses((status = 200, description = "The inspectors", body = Vec<InspectorView>)))]
pub(super) async fn list(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
) -> Result<Json<Vec<InspectorView>>, Problem> {
    Ok(Json(api.service.list_inspectors(&caller)?))
}

/// What arrived at an inspector, and what it answers.
#[utoipa::path(get, path = "/inspectors/{name}", tag = "inspectors",
    responses((status = 200, description = "The inspector", body = InspectorView)))]
pub(super) async fn show(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Result<Json<InspectorView>, Problem> {
    Ok(Json(api.service.inspector(&caller, &name)?))
}

/// Tell an inspector what to answer.
#[utoipa::path(put, path = "/inspectors/{name}", tag = "inspectors", request_body = AnswerDocument,
    responses((status = 200, description = "What it answers from now on", body = InspectorView)))]
pub(super) async fn set(
    As(operator): As<Operator>,
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Body(answer): Body<AnswerDocument>,
) -> Result<Json<InspectorView>, Problem> {
    Ok(Json(api.service.set_inspector(&operator, &name, answer).await?))
}

/// Forget what arrived at an inspector.
#[utoipa::path(delete, path = "/inspectors/{name}", tag = "inspectors",
    responses((status = 204, description = "Forgotten")))]
pub(super) async fn forget(
    As(operator): As<Operator>,
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    api.service.forget_inspector(&operator, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What arrives at an inspector, as it arrives: server-sent events.
#[utoipa::path(get, path = "/inspectors/{name}/stream", tag = "inspectors",
    responses((status = 200, description = "A stream that goes on", body = String,
        content_type = "text/event-stream")))]
pub(super) async fn stream(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    Ok(sse::response(api.service.watch_inspector(&caller, Some(&name))?, sse::json))
}
