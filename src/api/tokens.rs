//! Tokens: listed, made, revoked.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::body::Body;
use super::token::As;
use super::{Api, Problem};
use crate::desk::deliveries::Page;
use crate::desk::tokens::{MadeToken, TokenRequest, TokenView};
use crate::domain::access::{Admin, Caller};

pub(super) async fn list(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
) -> Json<Page<TokenView>> {
    Json(api.desk.tokens(&caller))
}

pub(super) async fn create(
    As(admin): As<Admin>,
    State(api): State<Arc<Api>>,
    Body(request): Body<TokenRequest>,
) -> Result<(StatusCode, Json<MadeToken>), Problem> {
    Ok((StatusCode::CREATED, Json(api.desk.make_token(&admin, request).await?)))
}

pub(super) async fn revoke(
    As(admin): As<Admin>,
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    api.desk.revoke_token(&admin, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
