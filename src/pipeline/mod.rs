//! The pipeline of sources, destinations and mappings: shown without secrets, and changed by
//! applying a document in one commit. Every interface changes it through [`Editor`].

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::auth::{Admin, Forbidden};
use crate::domain::clock::Clock;
use crate::settings::Settings;
use crate::settings::secrets::{Keyring, SecretError};
use crate::store::{Pipeline, PipelineChange, PipelineStore, StoreError};

mod activation;
mod auth_document;
mod change;
mod check;
mod check_auth;
mod check_request;
mod connection;
mod credentials;
mod diff;
mod document;
mod export;
mod field_diff;
mod field_error;
mod given_document;
mod given_secret;
mod host_checks;
mod origins;
mod plan;
mod preflight;
mod preview;
mod rename;
mod resource;
mod secret_text;
mod turn;
mod view;

pub use activation::{Activation, NotActive};
pub use auth_document::{AuthDocument, AuthKind};
pub use change::{Change, Changed, Guard};
pub use connection::ConnectionView;
pub use document::{DestinationDocument, Document, GivenFunction, MappingDocument, SourceDocument};
pub use field_error::FieldError;
pub use given_secret::{GivenSecret, Hidden};
pub use plan::{Line, Sign};
pub use preflight::Preflight;
pub use preview::Draft;
pub use resource::{Found, Target};
pub use turn::Turns;
pub use view::{DestinationView, MappingView, PipelineView, SourceView};

use host_checks::HostChecks;
use plan::{Plan, PlanContext, Unlisted};
use turn::Turn;

/// The errors of a document that are found offline: without a stored pipeline, resolving a name or running a
/// function.
#[must_use]
pub fn offline_faults(document: &Document, settings: &Settings) -> Vec<FieldError> {
    let mut faults = check::check_offline(document, settings);
    faults.extend(origins::origin_faults(document));
    faults
}

/// A request to apply a document.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyRequest {
    /// The desired pipeline.
    pub document: Document,
    /// Only compute the diff.
    #[serde(default)]
    pub dry_run: bool,
    /// Remove what is not in the document.
    #[serde(default)]
    pub prune: bool,
}

/// The result of applying a document.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    /// The version of the pipeline afterwards.
    pub version: i64,
    /// Whether there are changes.
    pub changed: bool,
    /// Whether it was a dry run.
    pub dry_run: bool,
    /// The diff.
    pub lines: Vec<Line>,
    /// Generated write keys, shown once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub write_keys: Vec<WriteKeyView>,
}

/// A generated write key.
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
    /// The document is invalid.
    #[error("the document is invalid: {} {}", .0.first().map_or("", |it| &it.path), .0.first().map_or("", |it| &it.message))]
    Invalid(Vec<FieldError>),
    /// The resource does not exist.
    #[error("there is no {0}")]
    Missing(String),
    /// The resource exists already.
    #[error("{0} already exists")]
    Taken(String),
    /// The precondition failed: the resource has changed since it was read.
    #[error("{0} has changed since it was read: read it again and repeat the change")]
    Stale(String),
    /// The caller's role or scope does not allow it.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The change is saved but not in effect yet.
    #[error(transparent)]
    NotActive(#[from] NotActive),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A secret cannot be sealed or opened.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// Changes the pipeline.
pub struct Editor {
    /// The store.
    pub store: Arc<dyn PipelineStore>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The key that seals secrets.
    pub keyring: Arc<Keyring>,
    /// The effective settings.
    pub settings: Settings,
    /// Checks before a change is saved.
    pub preflight: Arc<dyn Preflight>,
    /// Puts a saved change into effect.
    pub activation: Arc<dyn Activation>,
    /// Whose turn it is to commit.
    pub turns: Turns,
}

impl fmt::Debug for Editor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Editor").finish_non_exhaustive()
    }
}

impl Editor {
    /// Applies a document atomically and activates it before it returns.
    ///
    /// # Errors
    /// [`ApplyError`]; nothing is changed then.
    pub async fn apply(
        &self,
        admin: &Admin,
        request: &ApplyRequest,
    ) -> Result<Applied, ApplyError> {
        admin.reaches_everything()?;
        let mut hosts = HostChecks::default();
        hosts.know(&self.store.pipeline().await?);
        let (document, preflight) = (&request.document, &*self.preflight);
        let faults = check::check(document, &self.settings, preflight, &mut hosts).await;
        if !faults.is_empty() {
            return Err(ApplyError::Invalid(faults));
        }
        let mut turn = self.turns.next();
        loop {
            match self.try_apply(admin, request, &turn).await {
                Err(ApplyError::Store(StoreError::Conflict)) if turn.wait().await => {}
                other => return other,
            }
        }
    }

    async fn try_apply(
        &self,
        admin: &Admin,
        request: &ApplyRequest,
        turn: &Turn<'_>,
    ) -> Result<Applied, ApplyError> {
        let current = self.store.pipeline().await?;
        let unlisted = if request.prune { Unlisted::Remove } else { Unlisted::Keep };
        let plan = self.plan(&current, &request.document, unlisted)?;
        if request.dry_run {
            return self.preview(&current, plan).await;
        }
        self.make(admin, &current, plan, turn).await
    }

    /// Plans the changes.
    fn plan(
        &self,
        current: &Pipeline,
        document: &Document,
        unlisted: Unlisted,
    ) -> Result<Plan, ApplyError> {
        let now = self.clock.moment();
        let overlap = u64::from(self.settings.secret_overlap_hours) * 3_600;
        let retire_at = now.service + std::time::Duration::from_secs(overlap);
        let mut renames = rename::find(current, document);
        let current = &*renames.applied(current);
        let renamed = &renames.before;
        let context =
            PlanContext { current, renamed, keyring: &self.keyring, unlisted, now, retire_at };
        let mut plan = diff::diff(context, document)?;
        let mut faults = std::mem::take(&mut renames.faults);
        faults.extend(taken_write_keys(current, &plan.changes, document));
        faults.extend(plan.missing.iter().cloned());
        plan.changes.splice(..0, renames.changes);
        if faults.is_empty() { Ok(plan) } else { Err(ApplyError::Invalid(faults)) }
    }

    /// What the plan would change.
    async fn preview(&self, current: &Pipeline, mut plan: Plan) -> Result<Applied, ApplyError> {
        self.tell_waiting(&mut plan).await?;
        Ok(Applied {
            version: current.version,
            changed: !plan.changes.is_empty(),
            dry_run: true,
            lines: plan.lines,
            write_keys: Vec::new(),
        })
    }

    /// Adds to each removal how many deliveries wait there.
    async fn tell_waiting(&self, plan: &mut Plan) -> Result<(), ApplyError> {
        let mappings: Vec<_> = plan.removed.iter().flat_map(|(_, ids)| ids).copied().collect();
        if !mappings.is_empty() {
            plan.tell_waiting(&self.store.waiting(mappings).await?);
        }
        Ok(())
    }

    /// Commits the planned changes.
    async fn make(
        &self,
        admin: &Admin,
        current: &Pipeline,
        mut plan: Plan,
        turn: &Turn<'_>,
    ) -> Result<Applied, ApplyError> {
        self.tell_waiting(&mut plan).await?;
        let Plan { changes, lines, generated_write_keys, missing: _, removed: _ } = plan;
        let mut applied = Applied {
            version: current.version,
            changed: !changes.is_empty(),
            dry_run: false,
            lines,
            write_keys: Vec::new(),
        };
        if changes.is_empty() {
            return Ok(applied);
        }
        let act = admin.act(self.clock.now());
        applied.version = {
            let _turn = turn.take().await;
            self.store.change_pipeline(current.version, changes, act).await?
        };
        applied.write_keys = generated_write_keys
            .into_iter()
            .map(|made| WriteKeyView {
                source: made.source,
                write_key: made.key.expose_secret().to_owned(),
            })
            .collect();
        self.activation.wake();
        self.activation.reload().await?;
        Ok(applied)
    }
}

/// Write keys of the document that belong to another source.
fn taken_write_keys(
    current: &Pipeline,
    changes: &[PipelineChange],
    document: &Document,
) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let owners: HashMap<_, _> =
        current.write_keys.iter().map(|key| (key.digest, key.source_id)).collect();
    for change in changes {
        let PipelineChange::PutWriteKey { source, digest, .. } = change else { continue };
        let owner = owners
            .get(digest)
            .and_then(|source_id| current.sources.iter().find(|one| one.id == *source_id));
        let Some(owner) = owner.filter(|owner| owner.name != *source) else { continue };
        let leaves = changes.iter().any(|change| match change {
            PipelineChange::PutWriteKey { source, .. }
            | PipelineChange::RemoveSource { source } => *source == owner.name,
            PipelineChange::PutSource { .. }
            | PipelineChange::PutSourceLimits { .. }
            | PipelineChange::RenameSource { .. }
            | PipelineChange::RenameDestination { .. }
            | PipelineChange::RenameMapping { .. }
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
            faults.push(FieldError::new(format!("sources[{index}].write_key"), message));
        }
    }
    faults
}
