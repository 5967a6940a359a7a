//! Inspectors: their public webhook endpoint, where the setting enables it, and their admin API.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body as RequestBody;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::authentication::Authenticated;
use super::body::Body;
use super::{Api, Problem};
use crate::domain::auth::{Caller, Operator};
use crate::domain::clock::Clock;
use crate::inspector::{InspectorName, Inspectors};
use crate::live::{Rendering, sse};
use crate::service::Service;
use crate::service::inspectors::{AnswerDocument, InspectorView, RequestView};
use crate::service::live::Watch;

/// The maximum body size: more than the largest batch.
const BODY_BYTES: usize = 5 * 1024 * 1024;
/// The memory budget of all bodies that are being read, in KiB.
const BODY_BUDGET_KIB: usize = 64 * 1024;

/// The webhook endpoint of the inspectors.
struct Endpoint {
    inspectors: Arc<Inspectors>,
    clock: Arc<dyn Clock>,
    body_timeout: Duration,
    body_budget_kib: Semaphore,
}

impl Endpoint {
    /// The endpoint of these inspectors, with a timeout for reading a body.
    fn new(inspectors: Arc<Inspectors>, clock: Arc<dyn Clock>, body_timeout: Duration) -> Self {
        Self { inspectors, clock, body_timeout, body_budget_kib: Semaphore::new(BODY_BUDGET_KIB) }
    }

    /// Reserves memory for a body, by its Content-Length where it has one.
    async fn reserve(&self, announced: Option<usize>) -> Option<SemaphorePermit<'_>> {
        let bytes = announced.unwrap_or(BODY_BYTES).min(BODY_BYTES);
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        self.body_budget_kib.acquire_many(kib).await.ok()
    }

    async fn receive(&self, text: &str, request: Request) -> Response {
        let Some(name) = InspectorName::parse(text) else {
            let words = "an inspector's name has 1 to 64 lowercase letters, digits, - and _\n";
            return (StatusCode::NOT_FOUND, words).into_response();
        };
        let (head, body) = request.into_parts();
        if !matches!(head.method, Method::POST | Method::PUT | Method::PATCH) {
            let allow = [(header::ALLOW, "POST, PUT, PATCH")];
            let words = "use POST, PUT or PATCH\n";
            return (StatusCode::METHOD_NOT_ALLOWED, allow, words).into_response();
        }
        let announced = head.headers.get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|it| it.to_str().ok()?.parse().ok());
        let deadline = self.clock.service_now() + self.body_timeout;
        let reading = async {
            let _memory = self.reserve(announced).await;
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

/// The routes of the webhook endpoint; 404 where the settings disable inspectors. It is a receiver
/// and no part of the API.
pub(super) fn webhook_routes(service: &Service) -> Router<Arc<Api>> {
    let Some(inspectors) = &service.inspectors else {
        let disabled = any(async || (StatusCode::NOT_FOUND, "inspectors are disabled\n"));
        return Router::new()
            .route("/inspect/{name}", disabled.clone())
            .route("/inspect/{name}/{*below}", disabled);
    };
    let body_timeout = Duration::from_millis(service.settings.body_timeout_ms);
    let endpoint = Endpoint::new(Arc::clone(inspectors), Arc::clone(&service.clock), body_timeout);
    Router::new()
        .route("/inspect/{name}", any(take))
        .route("/inspect/{name}/{*below}", any(take_below))
        .with_state(Arc::new(endpoint))
}

async fn take(
    State(endpoint): State<Arc<Endpoint>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    endpoint.receive(&name, request).await
}

async fn take_below(
    State(endpoint): State<Arc<Endpoint>>,
    Path((name, _below)): Path<(String, String)>,
    request: Request,
) -> Response {
    endpoint.receive(&name, request).await
}

/// List inspectors that received a request or were configured.
#[utoipa::path(get, path = "/inspectors", tag = "inspectors",
    responses((status = 200, description = "The inspectors", body = Vec<InspectorView>)))]
pub(super) async fn list(
    Authenticated(caller): Authenticated<Caller>,
    State(api): State<Arc<Api>>,
) -> Result<Json<Vec<InspectorView>>, Problem> {
    Ok(Json(api.service.list_inspectors(&caller)?))
}

/// Get an inspector: its requests and its response.
#[utoipa::path(get, path = "/inspectors/{name}", tag = "inspectors",
    responses((status = 200, description = "The inspector", body = InspectorView)))]
pub(super) async fn show(
    Authenticated(caller): Authenticated<Caller>,
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Result<Json<InspectorView>, Problem> {
    Ok(Json(api.service.inspector(&caller, &name)?))
}

/// Set an inspector's response.
#[utoipa::path(put, path = "/inspectors/{name}", tag = "inspectors", request_body = AnswerDocument,
    responses((status = 200, description = "The inspector", body = InspectorView)))]
pub(super) async fn set(
    Authenticated(operator): Authenticated<Operator>,
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Body(answer): Body<AnswerDocument>,
) -> Result<Json<InspectorView>, Problem> {
    Ok(Json(api.service.set_inspector(&operator, &name, answer).await?))
}

/// Delete an inspector with its requests.
#[utoipa::path(delete, path = "/inspectors/{name}", tag = "inspectors",
    responses((status = 204, description = "Deleted")))]
pub(super) async fn forget(
    Authenticated(operator): Authenticated<Operator>,
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    api.service.forget_inspector(&operator, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Stream an inspector's requests as server-sent events.
///
/// Each message has an id. A client that returns with it in `Last-Event-ID` gets the items since then, as far as they are
/// kept; an event `missed` says how many it did not get, or `"unknown"`.
#[utoipa::path(get, path = "/inspectors/{name}/stream", tag = "inspectors",
    params(("Last-Event-ID" = Option<String>, Header, description = "The id of the last message that it got")),
    responses((status = 200, description = "The event stream", body = String,
        content_type = "text/event-stream")))]
pub(super) async fn stream(
    Authenticated(caller): Authenticated<Caller>,
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let watch = Watch { caller: &caller, session: None, after: sse::last_event_id(&headers) };
    let requests = api.service.watch_inspector(watch, Some(&name))?;
    Ok(sse::response(requests, Rendering::Json, |it| sse::json(&RequestView::of(it))))
}
