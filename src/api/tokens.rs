//! Tokens: listed, made, revoked.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::authentication::As;
use super::body::Body;
use super::{Api, Problem};
use crate::domain::auth::{Admin, Caller};
use crate::service::deliveries::Page;
use crate::service::tokens::{MadeToken, TokenRequest, TokenView};

/// The tokens in force, by name: without their text.
#[utoipa::path(get, path = "/tokens", tag = "tokens",
    responses((status = 200, description = "The tokens", body = Page<TokenView>)))]
pub(super) async fn list(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
) -> Json<Page<TokenView>> {
    Json(api.service.tokens(&caller))
}

/// Make a token with no more rights than the one that asks.
///
/// Its text is in this answer and is never shown again.
#[utoipa::path(post, path = "/tokens", tag = "tokens", request_body = TokenRequest,
    responses((status = 201, description = "Made", body = MadeToken)))]
pub(super) async fn create(
    As(admin): As<Admin>,
    State(api): State<Arc<Api>>,
    Body(request): Body<TokenRequest>,
) -> Result<(StatusCode, Json<MadeToken>), Problem> {
    Ok((StatusCode::CREATED, Json(api.service.make_token(&admin, request).await?)))
}

/// Revoke a token: it lets nobody in any more, nor does what was signed in with it.
#[utoipa::path(delete, path = "/tokens/{name}", tag = "tokens",
    responses(
        (status = 204, description = "Revoked"),
        (status = 409, description = "It is the last token that can make others", body = Problem)))]
pub(super) async fn revoke(
    As(admin): As<Admin>,
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    api.service.revoke_token(&admin, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
