//! Pausing and resuming destinations and mappings, and what holds deliveries back: pauses, drains, receivers
//! that asked to wait, mappings that this version cannot compile.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::filter::{destination_path, mapping_path};
use super::shared_fields::check_note;
use super::{Service, ServiceError};
use crate::domain::audit::Action;
use crate::domain::auth::{Caller, Operator};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::id::MappingId;
use crate::domain::pause::{Pause, PauseCause, PauseState, PauseTarget};
use crate::pipeline::{FieldError, Found, Target};
use crate::store::{Pipeline, ReceiverWait};

/// Deliveries of a mapping that are counted at most.
const COUNTED: u32 = 10_000;
/// The maximum rate of a drain.
const MAX_RATE: u32 = 100_000;

/// A request to pause.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PauseRequest {
    /// The reason, shown with the pause and in the audit log.
    #[schema(max_length = 1_000)]
    pub note: Option<String>,
}

/// A request to resume.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResumeRequest {
    /// Deliveries that start in a second until what was held has been sent; left out: no limit.
    #[schema(minimum = 1, maximum = 100_000)]
    pub rate_per_second: Option<u32>,
    /// The reason, for the audit log.
    #[schema(max_length = 1_000)]
    pub note: Option<String>,
}

/// A pause, or the drain of what it held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PauseView {
    /// `source/destination` or `source/destination/mapping`.
    pub subject: String,
    /// `paused` or `draining`.
    pub state: String,
    /// The time since when.
    pub since: String,
    /// The token that paused or resumed it, or `postrider`.
    pub by: String,
    /// Why it was paused: `operator`, or `gone` where its receiver answered 410.
    pub cause: String,
    /// The reason in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// While draining: deliveries that start in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<u32>,
}

impl PauseView {
    /// A pause or drain; none once it has ended.
    pub(super) fn of(pause: &Pause, pipeline: &Pipeline) -> Option<Self> {
        let rate_per_second = match pause.state {
            PauseState::Paused => None,
            PauseState::Draining { per_second } => Some(per_second),
            PauseState::Resumed => return None,
        };
        let subject = match pause.target {
            PauseTarget::Destination(id) => destination_path(pipeline, id),
            PauseTarget::Mapping(id) => mapping_path(pipeline, id),
        };
        if subject.is_empty() {
            return None;
        }
        Some(Self {
            subject: subject.join("/"),
            state: pause.state.as_str().to_owned(),
            since: pause.changed_at.to_iso(),
            by: pause.changed_by.clone(),
            cause: pause.cause.as_str().to_owned(),
            note: pause.note.clone(),
            rate_per_second,
        })
    }

    /// That of a destination or a mapping.
    pub(super) fn find(target: PauseTarget, pipeline: &Pipeline) -> Option<Self> {
        let found = pipeline.pauses.iter().find(|it| it.target == target);
        found.and_then(|it| Self::of(it, pipeline))
    }

    /// Whether deliveries are held.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.state == PauseState::Paused.as_str()
    }
}

/// The state of a destination or mapping after pausing or resuming it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PausedView {
    /// Whether the request changed anything.
    pub changed: bool,
    /// The pause or the drain; none: deliveries go on.
    pub pause: Option<PauseView>,
    /// Deliveries that are pending, counted up to a limit for each mapping.
    pub waiting: u64,
    /// Whether the count reached its limit.
    pub more: bool,
}

/// A paused or draining destination or mapping.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PausedBacklogView {
    /// The pause.
    #[serde(flatten)]
    pub pause: PauseView,
    /// Deliveries that are pending, counted up to a limit for each mapping.
    pub waiting: u64,
    /// Whether the count reached its limit.
    pub more: bool,
}

/// A mapping whose receiver asked for no request (`Retry-After` with 429 or 503).
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReceiverWaitView {
    /// `source/destination/mapping`.
    pub mapping: String,
    /// Until when.
    pub until: String,
}

/// A mapping that this version cannot compile: its deliveries are held.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FaultyMappingView {
    /// `source/destination/mapping`.
    pub mapping: String,
    /// The error.
    pub error: String,
    /// Deliveries that are pending, counted up to a limit.
    pub waiting: u64,
    /// Whether the count reached its limit.
    pub more: bool,
}

/// Why a pause holds deliveries, in words.
pub(super) fn why(pause: &Pause) -> String {
    let (by, since) = (&pause.changed_by, pause.changed_at.to_iso());
    let note = pause.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
    let what = match pause.target {
        PauseTarget::Destination(_) => "the destination",
        PauseTarget::Mapping(_) => "the mapping",
    };
    match pause.cause {
        PauseCause::Operator => format!("{what} is paused by {by} since {since}{note}"),
        PauseCause::Gone => {
            format!("{what} is paused since {since}: its receiver answered 410 Gone")
        }
    }
}

/// Receivers' waits, by mapping, with the paths that the caller sees.
pub(super) fn receiver_waits(
    waits: Vec<ReceiverWait>,
    pipeline: &Pipeline,
    clock: &dyn Clock,
) -> Vec<ReceiverWaitView> {
    let known = |it: &ReceiverWait| {
        Some(mapping_path(pipeline, it.mapping_id)).filter(|path| !path.is_empty())
    };
    let mut views: Vec<_> = waits
        .iter()
        .filter_map(|it| Some((known(it)?.join("/"), it.until)))
        .map(|(mapping, until)| ReceiverWaitView { mapping, until: clock.to_wall(until).to_iso() })
        .collect();
    views.sort_unstable_by(|one, other| one.mapping.cmp(&other.mapping));
    views
}

/// The mappings that a pause concerns.
fn mappings_of(target: PauseTarget, pipeline: &Pipeline) -> Vec<MappingId> {
    match target {
        PauseTarget::Mapping(id) => vec![id],
        PauseTarget::Destination(id) => {
            let all = pipeline.mappings.iter();
            all.filter(|it| it.destination_id == id).map(|it| it.id).collect()
        }
    }
}

impl Service {
    /// Pauses a destination or mapping: its deliveries are held, events are accepted and routed.
    ///
    /// # Errors
    /// [`ServiceError`] when there is none.
    pub async fn pause(
        &self,
        operator: &Operator,
        target: &Target,
        request: PauseRequest,
    ) -> Result<PausedView, ServiceError> {
        let mut faults = Vec::new();
        check_note(request.note.as_deref(), &mut faults);
        if !faults.is_empty() {
            return Err(ServiceError::Invalid(faults));
        }
        let (id, _) = self.pause_target(operator, target).await?;
        let act = operator.act(self.clock.now()).noted(request.note);
        let changed = self.store.pause(id, PauseCause::Operator, act).await?;
        if changed {
            self.node.reload().await?;
        }
        self.paused(operator, id, changed).await
    }

    /// Resumes a destination or mapping, at a rate or at once; ends what its receiver asked to wait for.
    ///
    /// # Errors
    /// [`ServiceError`] when there is none.
    pub async fn resume(
        &self,
        operator: &Operator,
        target: &Target,
        request: ResumeRequest,
    ) -> Result<PausedView, ServiceError> {
        let mut faults = Vec::new();
        check_note(request.note.as_deref(), &mut faults);
        if request.rate_per_second.is_some_and(|rate| !(1..=MAX_RATE).contains(&rate)) {
            let message = format!("should be 1 to {MAX_RATE}; leave it out for no limit");
            faults.push(FieldError::new("rate_per_second", message));
        }
        if !faults.is_empty() {
            return Err(ServiceError::Invalid(faults));
        }
        let (id, pipeline) = self.pause_target(operator, target).await?;
        let act = operator.act(self.clock.now()).noted(request.note);
        let resumed = self.store.resume(id, request.rate_per_second, act).await?;
        if resumed {
            self.node.reload().await?;
        }
        let waited = self.node.end_receiver_waits(&mappings_of(id, &pipeline));
        if waited && !resumed {
            let subject = match id {
                PauseTarget::Destination(id) => destination_path(&pipeline, id),
                PauseTarget::Mapping(id) => mapping_path(&pipeline, id),
            };
            let states = (Some(json!({"state": "waiting"})), Some(json!({"state": "resumed"})));
            self.note(operator, Action::Resume, subject.join("/"), states).await?;
        }
        self.paused(operator, id, resumed || waited).await
    }

    /// The destination or mapping to pause or to resume, within the operator's scope.
    async fn pause_target(
        &self,
        operator: &Operator,
        target: &Target,
    ) -> Result<(PauseTarget, Pipeline), ServiceError> {
        if let Target::Destination(source, destination) | Target::Mapping(source, destination, _) =
            target
        {
            operator.check_scope(source, destination)?;
        }
        let pipeline = self.pipeline(operator).await?;
        let id = match target.find(&pipeline) {
            Some(Found::Destination(found)) => PauseTarget::Destination(found.id),
            Some(Found::Mapping(found)) => PauseTarget::Mapping(found.id),
            Some(Found::Source(_)) | None => {
                return Err(ServiceError::Missing(target.to_string()));
            }
        };
        Ok((id, pipeline))
    }

    async fn paused(
        &self,
        caller: &Caller,
        target: PauseTarget,
        changed: bool,
    ) -> Result<PausedView, ServiceError> {
        let pipeline = self.pipeline(caller).await?;
        let (waiting, more) = self.backlog_of(mappings_of(target, &pipeline)).await?;
        Ok(PausedView { changed, pause: PauseView::find(target, &pipeline), waiting, more })
    }

    /// How many deliveries of these mappings are pending, and whether that is not all.
    async fn backlog_of(&self, mappings: Vec<MappingId>) -> Result<(u64, bool), ServiceError> {
        if mappings.is_empty() {
            return Ok((0, false));
        }
        let found = self.store.pending(mappings, COUNTED).await?;
        let more = found.values().any(|count| *count >= u64::from(COUNTED));
        Ok((found.values().sum(), more))
    }

    /// Pauses and drains, with their backlogs.
    pub(super) async fn paused_backlogs(
        &self,
        pipeline: &Pipeline,
    ) -> Result<Vec<PausedBacklogView>, ServiceError> {
        let mut views = Vec::new();
        for pause in &pipeline.pauses {
            let Some(view) = PauseView::of(pause, pipeline) else { continue };
            let (waiting, more) = self.backlog_of(mappings_of(pause.target, pipeline)).await?;
            views.push(PausedBacklogView { pause: view, waiting, more });
        }
        views.sort_unstable_by(|one, other| one.pause.subject.cmp(&other.pause.subject));
        Ok(views)
    }

    /// The mappings that this version cannot compile, with their backlogs.
    pub(super) async fn faulty_mappings(
        &self,
        pipeline: &Pipeline,
    ) -> Result<Vec<FaultyMappingView>, ServiceError> {
        let mut views = Vec::new();
        for (mapping_id, error) in self.node.mapping_faults() {
            let path = mapping_path(pipeline, mapping_id);
            if path.is_empty() {
                continue;
            }
            let (waiting, more) = self.backlog_of(vec![mapping_id]).await?;
            views.push(FaultyMappingView { mapping: path.join("/"), error, waiting, more });
        }
        views.sort_unstable_by(|one, other| one.mapping.cmp(&other.mapping));
        Ok(views)
    }

    /// Until when a mapping's receiver asked for no request.
    pub(super) fn wait_of(&self, mapping_id: MappingId) -> Option<Timestamp> {
        let waits = self.node.receiver_waits();
        let found = waits.iter().find(|it| it.mapping_id == mapping_id);
        found.map(|it| self.clock.to_wall(it.until))
    }
}
