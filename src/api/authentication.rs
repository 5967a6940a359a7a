//! Authentication by bearer token, the rate limit, and the role that a handler requires.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::Api;
use super::problem::Problem;
use super::request_id::RequestId;
use crate::auth::{Allowance, Peer, WINDOW};
use crate::domain::auth::{Admin, Caller, Operator};
use crate::telemetry::refusals::FailedCredential;

pub(super) async fn authenticate(
    State(api): State<Arc<Api>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let from = request.extensions().get::<Peer>().copied();
    let failed = |why: &str| {
        let address = from.map(|Peer(address)| address);
        api.refusals.credential(FailedCredential::Token, address, why);
    };
    let given = bearer(request.headers()).ok_or_else(|| {
        failed("no bearer token");
        Problem::no_token()
    })?;
    let caller = api.service.authenticator.authenticate(given, from).map_err(|refusal| {
        failed(&refusal.to_string());
        Problem::unauthorized(refusal.to_string())
    })?;
    let request_id = request.extensions().get::<RequestId>().map(|id| id.0.clone());
    let caller = Caller { request_id, ..caller };
    let allowance = api
        .service
        .authenticator
        .count_request(&caller, api.service.settings.api_requests_per_minute);
    request.extensions_mut().insert(caller);
    let mut response = match allowance.left {
        Some(_) => next.run(request).await,
        None => Problem::too_many(allowance.quota, allowance.reset_s).into_response(),
    };
    set_rate_limit_headers(&allowance, response.headers_mut());
    Ok(response)
}

/// Sets the rate limit headers (draft-ietf-httpapi-ratelimit-headers-10).
fn set_rate_limit_headers(allowance: &Allowance, headers: &mut HeaderMap) {
    let Allowance { quota, left, reset_s } = *allowance;
    let window_s = WINDOW.as_secs();
    let fields = [
        ("ratelimit-policy", Some(format!("\"token\";q={quota};w={window_s}"))),
        ("ratelimit", Some(format!("\"token\";r={};t={reset_s}", left.unwrap_or(0)))),
        ("retry-after", left.is_none().then(|| reset_s.to_string())),
    ];
    for (name, value) in fields {
        if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// An extractor of the caller in a role: a handler that takes an [`Operator`] or an [`Admin`] runs
/// only for callers with this role.
#[derive(Clone, Debug)]
pub(super) struct Authenticated<R>(pub(super) R);

impl<S: Sync> FromRequestParts<S> for Authenticated<Caller> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        caller(parts).cloned().map(Self)
    }
}

impl<S: Sync> FromRequestParts<S> for Authenticated<Operator> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Ok(Self(caller(parts)?.operator()?))
    }
}

impl<S: Sync> FromRequestParts<S> for Authenticated<Admin> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Ok(Self(caller(parts)?.admin()?))
    }
}

fn caller(parts: &Parts) -> Result<&Caller, Problem> {
    parts.extensions.get::<Caller>().ok_or_else(Problem::no_token)
}
