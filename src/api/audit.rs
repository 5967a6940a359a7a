//! The audit log: listed, and verified.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use utoipa::IntoParams;

use super::authentication::As;
use super::page::Paged;
use super::{Api, Problem};
use crate::domain::auth::Caller;
use crate::service::Condition;
use crate::service::audit::{EntryView, VerdictView};
use crate::service::deliveries::Page;

/// Audit entries that meet all conditions, newest first.
///
/// A token that is limited to destinations sees what is told of them.
#[utoipa::path(get, path = "/audit", tag = "audit",
    responses((status = 200, description = "A page of them", body = Page<EntryView>)))]
pub(super) async fn list(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Paged<EntryView>, Problem> {
    Ok(Paged(api.service.audit(&caller, &conditions).await?))
}

/// What to verify against.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Kept {
    /// An entry's number and hash, as verifying told them at some time: `NUMBER:HASH`.
    #[param(pattern = "^[1-9][0-9]{0,17}:[0-9a-f]{64}$")]
    kept: Option<String>,
}

/// Work out again whether each audit entry is as it was written. It reads them all.
#[utoipa::path(get, path = "/audit/verification", tag = "audit", params(Kept),
    responses((status = 200, description = "Whether they are", body = VerdictView)))]
pub(super) async fn verify(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Query(asked): Query<Kept>,
) -> Result<Json<VerdictView>, Problem> {
    Ok(Json(api.service.verify_audit(&caller, asked.kept.as_deref()).await?))
}
