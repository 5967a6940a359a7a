//! Who asks: the bearer token, and the role that a handler needs.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;

use super::Api;
use super::problem::Problem;
use crate::access::Peer;
use crate::domain::access::{Admin, Caller, Operator};

pub(super) async fn authenticate(
    State(api): State<Arc<Api>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let given = bearer(request.headers()).ok_or_else(Problem::no_token)?;
    let from = request.extensions().get::<Peer>().copied();
    let caller = api
        .desk
        .access
        .authenticate(given, from)
        .map_err(|refusal| Problem::unauthorized(refusal.to_string()))?;
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The caller in a role that covers what the handler does: a handler that takes an [`Operator`] or
/// an [`Admin`] is only run for one.
#[derive(Clone, Debug)]
pub(super) struct As<R>(pub(super) R);

impl<S: Sync> FromRequestParts<S> for As<Caller> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        caller(parts).cloned().map(Self)
    }
}

impl<S: Sync> FromRequestParts<S> for As<Operator> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Ok(Self(caller(parts)?.operator()?))
    }
}

impl<S: Sync> FromRequestParts<S> for As<Admin> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Ok(Self(caller(parts)?.admin()?))
    }
}

fn caller(parts: &Parts) -> Result<&Caller, Problem> {
    parts.extensions.get::<Caller>().ok_or_else(Problem::no_token)
}
