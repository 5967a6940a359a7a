//! The extractor that checks the caller's role before a handler runs.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::error::PageError;
use super::layout::Layout;
use crate::domain::auth::{Admin, Caller, Operator};

/// The signed-in caller, with at least the role `R`: [`Caller`], [`Operator`] or [`Admin`].
#[derive(Clone, Debug)]
pub(super) struct Require<R>(pub(super) R);

impl<S: Sync> FromRequestParts<S> for Require<Caller> {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, PageError> {
        caller(parts).cloned().map(Self)
    }
}

impl<S: Sync> FromRequestParts<S> for Require<Operator> {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, PageError> {
        Ok(Self(caller(parts)?.operator()?))
    }
}

impl<S: Sync> FromRequestParts<S> for Require<Admin> {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, PageError> {
        Ok(Self(caller(parts)?.admin()?))
    }
}

fn caller(parts: &Parts) -> Result<&Caller, PageError> {
    let layout = parts.extensions.get::<Layout>();
    layout.and_then(|layout| layout.caller.as_ref()).ok_or_else(PageError::unknown_caller)
}
