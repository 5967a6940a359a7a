//! What is set up: shown without its secrets, and changed by applying a document: all of its changes
//! in one commit, or none. Knows nothing of who asks or how; every door changes it through here.

use std::fmt;
use std::sync::Arc;

use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::auth::{Admin, Forbidden};
use crate::domain::clock::Clock;
use crate::settings::Settings;
use crate::settings::secrets::{Keyring, SecretError};
use crate::store::{Pipeline, PipelineChange, Store, StoreError};

mod activation;
mod change;
mod check;
mod connection;
mod credentials;
mod document;
mod export;
mod field_diff;
mod field_error;
mod outbound_auth;
mod plan;
mod preflight;
mod preview;
mod resource;
mod view;

pub use activation::Activation;
pub use change::{Change, Changed, Guard};
pub use connection::ConnectionView;
pub use document::{
    DestinationDocument, Document, GivenFunction, GivenSecret, Hidden, MappingDocument,
    SourceDocument,
};
pub use field_error::Fault;
pub use outbound_auth::{AuthDocument, AuthKind};
pub use plan::{Line, Sign};
pub use preflight::Preflight;
pub use preview::Draft;
pub use resource::{Found, Target};
pub use view::{DestinationView, MappingView, PipelineView, SourceView};

use plan::{Absent, Plan, Terms};

/// A document to be applied.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WriteKeyView {
    /// Its source.
    pub source: String,
    /// The key.
    pub write_key: String,
}

/// Why a document was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It is not right.
    #[error("the document is not right: {} {}", .0.first().map_or("", |it| &it.path), .0.first().map_or("", |it| &it.message))]
    Invalid(Vec<Fault>),
    /// What it is about is not there.
    #[error("there is no {0}")]
    Missing(String),
    /// What is to be made is there.
    #[error("there is a {0} already")]
    Taken(String),
    /// What is to be changed is not what it was when it was read.
    #[error(
        "{0} has changed since it was read: read it again, and make the change to what it is now"
    )]
    Stale(String),
    /// Whoever asks may not.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A secret cannot be sealed or opened.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// What changes the pipeline, whoever asks for it.
pub struct Editor {
    /// Where it is kept.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The key that seals secrets.
    pub keyring: Arc<Keyring>,
    /// The settings in force.
    pub settings: Settings,
    /// Checks before a change is saved.
    pub preflight: Arc<dyn Preflight>,
    /// Puts a saved change into effect.
    pub activation: Arc<dyn Activation>,
}

impl fmt::Debug for Editor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Editor").finish_non_exhaustive()
    }
}

impl Editor {
    /// Applies a document, all of it or nothing, and takes it into use before it returns.
    ///
    /// # Errors
    /// [`ApplyError`]; nothing is changed then.
    pub async fn apply(
        &self,
        admin: &Admin,
        request: &ApplyRequest,
    ) -> Result<Applied, ApplyError> {
        admin.reaches_everything()?;
        let faults = check::check(&request.document, &self.settings, &*self.preflight).await;
        if !faults.is_empty() {
            return Err(ApplyError::Invalid(faults));
        }
        match self.try_apply(admin, request).await {
            // Someone else changed the pipeline meanwhile: once more, on what it is now.
            Err(ApplyError::Store(StoreError::Conflict)) => self.try_apply(admin, request).await,
            other => other,
        }
    }

    async fn try_apply(
        &self,
        admin: &Admin,
        request: &ApplyRequest,
    ) -> Result<Applied, ApplyError> {
        let current = self.store.pipeline().await?;
        let absent = if request.prune { Absent::Goes } else { Absent::Kept };
        let plan = self.plan(&current, &request.document, absent)?;
        self.make(admin, &current, plan, request.dry_run).await
    }

    /// The difference, when it can be made.
    fn plan(
        &self,
        current: &Pipeline,
        document: &Document,
        absent: Absent,
    ) -> Result<Plan, ApplyError> {
        let now = self.clock.now();
        let overlap = u64::from(self.settings.secret_overlap_hours) * 3_600;
        let retire_at = now + std::time::Duration::from_secs(overlap);
        let terms = Terms { current, keyring: &self.keyring, absent, now, retire_at };
        let plan = plan::plan(terms, document)?;
        let mut faults = taken_write_keys(current, &plan.changes, document);
        faults.extend(plan.missing.iter().cloned());
        if faults.is_empty() { Ok(plan) } else { Err(ApplyError::Invalid(faults)) }
    }

    /// Makes the difference.
    async fn make(
        &self,
        admin: &Admin,
        current: &Pipeline,
        plan: Plan,
        dry_run: bool,
    ) -> Result<Applied, ApplyError> {
        let Plan { changes, lines, made_keys, missing: _ } = plan;
        let mut applied = Applied {
            version: current.version,
            changed: !changes.is_empty(),
            dry_run,
            lines,
            write_keys: Vec::new(),
        };
        if dry_run || changes.is_empty() {
            return Ok(applied);
        }
        let act = admin.act(self.clock.now());
        applied.version = self.store.change_pipeline(current.version, changes, act).await?;
        applied.write_keys = made_keys
            .into_iter()
            .map(|made| WriteKeyView {
                source: made.source,
                write_key: made.key.expose_secret().to_owned(),
            })
            .collect();
        self.activation.reload().await;
        self.activation.wake();
        Ok(applied)
    }
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
