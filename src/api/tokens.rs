//! Tokens: list, create, revoke.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::authentication::Authenticated;
use super::body::Body;
use super::{Api, Problem};
use crate::domain::auth::{Admin, Caller};
use crate::service::page::Page;
use crate::service::tokens::{MadeToken, TokenRequest, TokenView};

/// List active tokens, by name, without their secrets.
#[utoipa::path(get, path = "/tokens", tag = "tokens",
    responses((status = 200, description = "The tokens", body = Page<TokenView>)))]
pub(super) async fn list(
    Authenticated(caller): Authenticated<Caller>,
    State(api): State<Arc<Api>>,
) -> Json<Page<TokenView>> {
    Json(api.service.tokens(&caller))
}

/// Create a token with no more rights than the caller's.
///
/// Its secret is in this response and is never shown again.
#[utoipa::path(post, path = "/tokens", tag = "tokens", request_body = TokenRequest,
    responses((status = 201, description = "Created", body = MadeToken)))]
pub(super) async fn create(
    Authenticated(admin): Authenticated<Admin>,
    State(api): State<Arc<Api>>,
    Body(request): Body<TokenRequest>,
) -> Result<(StatusCode, Json<MadeToken>), Problem> {
    Ok((StatusCode::CREATED, Json(api.service.make_token(&admin, request).await?)))
}

/// Revoke a token and its sessions.
#[utoipa::path(delete, path = "/tokens/{name}", tag = "tokens",
    responses(
        (status = 204, description = "Revoked"),
        (status = 409, description = "It is the last token that can create others", body = Problem)))]
pub(super) async fn revoke(
    Authenticated(admin): Authenticated<Admin>,
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    api.service.revoke_token(&admin, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
