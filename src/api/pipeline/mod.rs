//! The pipeline: shown without its secrets, and changed as a whole by applying a document: all of
//! its changes in one commit, or none.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use super::body::Body;
use super::{Api, Fault, Problem};
use crate::store::{Pipeline, PipelineChange, StoreError};

mod auth;
mod check;
mod credentials;
mod document;
mod plan;
mod view;
mod words;

pub use auth::{AuthDocument, AuthKind};
pub use document::{
    DestinationDocument, Document, GivenFunction, GivenSecret, Hidden, MappingDocument,
    SourceDocument,
};
pub use plan::{Line, Sign};
pub use view::{DestinationView, MappingView, PipelineView, SourceView};

use plan::{Plan, Terms};

/// A document to be applied.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyRequest {
    /// What is wanted.
    pub document: Document,
    /// Only tell the difference.
    #[serde(default)]
    pub dry_run: bool,
    /// Remove what is not in the document.
    #[serde(default)]
    pub prune: bool,
}

/// What applying did, or would do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Applied {
    /// The pipeline's version afterwards.
    pub version: i64,
    /// Whether there is a difference.
    pub changed: bool,
    /// Whether it was left at telling the difference.
    pub dry_run: bool,
    /// The difference.
    pub lines: Vec<Line>,
    /// Write keys that were made, shown this once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub write_keys: Vec<WriteKeyView>,
}

/// A write key that was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WriteKeyView {
    /// Its source.
    pub source: String,
    /// The key.
    pub write_key: String,
}

pub(super) async fn show(State(api): State<Arc<Api>>) -> Result<Json<PipelineView>, Problem> {
    Ok(Json(PipelineView::of(&api.store.pipeline().await?)))
}

pub(super) async fn apply(
    State(api): State<Arc<Api>>,
    Body(request): Body<ApplyRequest>,
) -> Result<Json<Applied>, Problem> {
    let faults = check::check(&request.document, &api.settings, api.process.as_ref()).await;
    if !faults.is_empty() {
        return Err(Problem::invalid(faults));
    }
    let applied = match try_apply(&api, &request).await {
        // Someone else changed the pipeline meanwhile: once more, on what it is now.
        Err(Refusal::Store(StoreError::Conflict)) => try_apply(&api, &request).await,
        other => other,
    };
    applied.map(Json).map_err(Problem::from)
}

/// Why a checked document was not applied.
enum Refusal {
    Store(StoreError),
    Problem(Problem),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Store(error) => error.into(),
            Refusal::Problem(problem) => problem,
        }
    }
}

async fn try_apply(api: &Api, request: &ApplyRequest) -> Result<Applied, Refusal> {
    let current = api.store.pipeline().await?;
    let now = api.clock.now();
    let overlap = u64::from(api.settings.secret_overlap_hours) * 3_600;
    let terms = Terms {
        current: &current,
        keyring: &api.keyring,
        prune: request.prune,
        now,
        retire_at: now + std::time::Duration::from_secs(overlap),
    };
    let Plan { changes, lines, made_keys, missing } =
        plan::plan(terms, &request.document).map_err(|error| Refusal::Problem(error.into()))?;
    let mut faults = taken_write_keys(&current, &changes, &request.document);
    faults.extend(missing);
    if !faults.is_empty() {
        return Err(Refusal::Problem(Problem::invalid(faults)));
    }
    let mut applied = Applied {
        version: current.version,
        changed: !changes.is_empty(),
        dry_run: request.dry_run,
        lines,
        write_keys: Vec::new(),
    };
    if request.dry_run || changes.is_empty() {
        return Ok(applied);
    }
    applied.version = api.store.change_pipeline(current.version, changes, now).await?;
    applied.write_keys = made_keys
        .into_iter()
        .map(|made| WriteKeyView {
            source: made.source,
            write_key: made.key.expose_secret().to_owned(),
        })
        .collect();
    api.process.reload().await;
    api.process.wake();
    Ok(applied)
}

/// Write keys of the document that belong to a source which keeps them.
fn taken_write_keys(
    current: &Pipeline,
    changes: &[PipelineChange],
    document: &Document,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    for change in changes {
        let PipelineChange::PutWriteKey { source, digest, .. } = change else { continue };
        let owner = current
            .write_keys
            .iter()
            .find(|key| key.digest == *digest)
            .and_then(|key| current.sources.iter().find(|one| one.id == key.source_id));
        let Some(owner) = owner.filter(|owner| owner.name != *source) else { continue };
        let leaves = changes.iter().any(|change| match change {
            PipelineChange::PutWriteKey { source, .. }
            | PipelineChange::RemoveSource { source } => *source == owner.name,
            PipelineChange::PutSource { .. }
            | PipelineChange::PutDestination { .. }
            | PipelineChange::PutSharedSecret { .. }
            | PipelineChange::PutCredential { .. }
            | PipelineChange::Disconnect { .. }
            | PipelineChange::RemoveDestination { .. }
            | PipelineChange::PutMapping { .. }
            | PipelineChange::RemoveMapping { .. } => false,
        });
        let index = document.sources.iter().position(|one| one.name == *source);
        if let (false, Some(index)) = (leaves, index) {
            let message = format!("is the write key of source {} already", owner.name);
            faults.push(Fault::new(format!("sources[{index}].write_key"), message));
        }
    }
    faults
}
