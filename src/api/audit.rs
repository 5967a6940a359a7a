//! The audit log: list and verify.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use utoipa::IntoParams;

use super::authentication::Authenticated;
use super::page::Paged;
use super::{Api, Problem};
use crate::domain::auth::Caller;
use crate::service::Condition;
use crate::service::audit::{EntryView, VerdictView};
use crate::service::page::Page;

/// List audit entries, newest first.
///
/// A token with a destination scope sees the entries of these destinations.
#[utoipa::path(get, path = "/audit", tag = "audit",
    responses((status = 200, description = "A page", body = Page<EntryView>)))]
pub(super) async fn list(
    Authenticated(caller): Authenticated<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Paged<EntryView>, Problem> {
    Ok(Paged(api.service.audit(&caller, &conditions).await?))
}

/// An entry to verify against.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Kept {
    /// The number and hash of an entry from an earlier verification: `NUMBER:HASH`.
    #[param(pattern = "^[1-9][0-9]{0,17}:[0-9a-f]{64}$")]
    kept: Option<String>,
}

/// Verify the hash chain of the audit log. It reads every entry.
#[utoipa::path(get, path = "/audit/verification", tag = "audit", params(Kept),
    responses((status = 200, description = "The result", body = VerdictView)))]
pub(super) async fn verify(
    Authenticated(caller): Authenticated<Caller>,
    State(api): State<Arc<Api>>,
    Query(asked): Query<Kept>,
) -> Result<Json<VerdictView>, Problem> {
    Ok(Json(api.service.verify_audit(&caller, asked.kept.as_deref()).await?))
}
