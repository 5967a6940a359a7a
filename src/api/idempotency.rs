//! `Idempotency-Key`: a repeated POST with the same key gets the stored response, for a day.
//! Responses are stored encrypted, as some contain a secret that is shown once.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::body;
use super::{Api, Problem};
use crate::domain::auth::Caller;
use crate::domain::digest::sha256;
use crate::settings::secrets::Purpose;
use crate::store::{IdempotencyKey, IdempotencyState};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const MAX_KEY: usize = 255;
/// The response headers that are stored.
const STORED_HEADERS: [HeaderName; 3] = [header::CONTENT_TYPE, header::ETAG, header::LOCATION];

/// A stored response, before encryption.
#[derive(Deserialize, Serialize)]
struct StoredResponse {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

pub(super) async fn once(
    State(api): State<Arc<Api>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let Some(given) = request.headers().get(KEY) else { return Ok(next.run(request).await) };
    let Some(caller) = request.extensions().get::<Caller>() else {
        return Err(Problem::no_token());
    };
    if request.method() != Method::POST {
        return Ok(next.run(request).await);
    }
    let key = IdempotencyKey { token_id: caller.token_id, key: key(given)? };
    let (head, sent) = request.into_parts();
    let sent = to_bytes(sent, body::LIMIT).await.map_err(|error| body::unreadable(&error))?;
    let target = head.uri.path_and_query().map_or("", |it| it.as_str());
    let kind = head.headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let length = target.len().to_be_bytes();
    let fingerprint = sha256(&[&length, target.as_bytes(), &kind.len().to_be_bytes(), kind, &sent]);
    let now = api.service.clock.service_now();
    let store = &api.service.store;
    match store.begin_request(key.clone(), fingerprint, api.service.started_at, now).await? {
        IdempotencyState::New => {}
        IdempotencyState::InProgress => {
            return Err(Problem::conflict(
                "idempotency_under_way",
                "the first request with this Idempotency-Key is in progress: retry later",
            ));
        }
        IdempotencyState::Interrupted => {
            return Err(Problem::conflict(
                "idempotency_interrupted",
                "the service stopped during the first request with this Idempotency-Key: check \
                 its effect, then use another key",
            ));
        }
        IdempotencyState::Mismatch => {
            return Err(Problem::unprocessable(
                "idempotency_reused",
                "this Idempotency-Key was used for a different request",
            ));
        }
        IdempotencyState::Completed(sealed) => {
            let text = api.service.editor.keyring.open(&sealed, Purpose::Answer)?;
            return replay(text.expose_secret());
        }
    }
    // The request runs to its end when the client disconnects, so that its key does not stay in
    // progress.
    let request = Request::from_parts(head, Body::from(sent));
    let work = tokio::spawn(async move { keep(&api, key, next.run(request).await).await });
    work.await.map_err(|_panicked| Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR, ""))?
}

fn key(given: &HeaderValue) -> Result<String, Problem> {
    let fits = |text: &&str| {
        (1..=MAX_KEY).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let text = given.to_str().ok().filter(fits);
    text.map(str::to_owned).ok_or_else(|| {
        Problem::malformed(format!(
            "Idempotency-Key should be 1 to {MAX_KEY} visible ASCII characters"
        ))
    })
}

/// Keeps what was done; what did nothing leaves its key free.
async fn keep(api: &Api, key: IdempotencyKey, response: Response) -> Result<Response, Problem> {
    let store = &api.service.store;
    if !response.status().is_success() {
        store.complete_request(key, None).await?;
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.map_err(|error| body::unreadable(&error))?;
    let headers = STORED_HEADERS.iter().filter_map(|name| {
        Some((name.to_string(), head.headers.get(name)?.to_str().ok()?.to_owned()))
    });
    let answer = StoredResponse {
        status: head.status.as_u16(),
        headers: headers.collect(),
        body: String::from_utf8_lossy(&bytes).into_owned(),
    };
    let text = serde_json::to_string(&answer).map(SecretString::from);
    let text = text.map_err(|_never| Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR, ""))?;
    let sealed =
        api.service.editor.keyring.seal(&text, Purpose::Answer, api.service.clock.now())?;
    store.complete_request(key, Some(sealed)).await?;
    Ok(Response::from_parts(head, Body::from(bytes)))
}

fn replay(text: &str) -> Result<Response, Problem> {
    let broken =
        || Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR, "the stored response is corrupt");
    let answer: StoredResponse = serde_json::from_str(text).map_err(|_broken| broken())?;
    let status = StatusCode::from_u16(answer.status).map_err(|_broken| broken())?;
    let mut response = (status, answer.body).into_response();
    response.headers_mut().remove(header::CONTENT_TYPE);
    for (name, value) in &answer.headers {
        let name = HeaderName::try_from(name).map_err(|_broken| broken())?;
        let value = HeaderValue::try_from(value).map_err(|_broken| broken())?;
        response.headers_mut().insert(name, value);
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}
