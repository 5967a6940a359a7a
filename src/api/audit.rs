//! The audit log: listed, and verified.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use utoipa::IntoParams;

use super::token::As;
use super::{Api, Problem};
use crate::desk::Condition;
use crate::desk::audit::{EntryView, VerdictView};
use crate::desk::deliveries::Page;
use crate::domain::access::Caller;

/// What a list of audit entries is narrowed to; the desk reads it from words.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what is read as conditions")]
struct AuditConditions {
    /// By this token; `postrider` for the service itself.
    actor: Option<String>,
    /// Of this action, such as `change`, `redrive`, `create_token`.
    #[param(pattern = "^[a-z_]{1,32}$")]
    action: Option<String>,
    /// To this, or to what is below it: a path, a token's name, a job's id.
    subject: Option<String>,
    /// Done at or after this time.
    #[param(format = DateTime)]
    since: Option<String>,
    /// Done before this time.
    #[param(format = DateTime)]
    until: Option<String>,
    /// Only entries before this number: `next` of the page before.
    #[param(minimum = 1)]
    before: Option<i64>,
    /// At most so many; 50 when it is not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Audit entries that meet all conditions, newest first.
///
/// A token that is limited to destinations sees what is told of them.
#[utoipa::path(get, path = "/audit", tag = "audit", params(AuditConditions),
    responses((status = 200, description = "A page of them", body = Page<EntryView>)))]
pub(super) async fn list(
    As(caller): As<Caller>,
    State(api): State<Arc<Api>>,
    Query(conditions): Query<Vec<Condition>>,
) -> Result<Json<Page<EntryView>>, Problem> {
    Ok(Json(api.desk.audit(&caller, &conditions).await?))
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
    Ok(Json(api.desk.verify_audit(&caller, asked.kept.as_deref()).await?))
}
