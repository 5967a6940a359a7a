//! The page of a delivery: state, timeline of attempts with request and response, event, routing
//! decision, redrive and discard.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;

use super::badge::Badge;
use super::curl_command;
use super::error::PageError;
use super::flash::{Flash, SeeOther};
use super::form::{Query, with_query};
use super::format::duration;
use super::highlighted_json::HighlightedJson;
use super::layout::{Layout, page};
use super::role::Require;
use super::state::Web;
use super::time::{ExactTime, RelativeTime};
use super::untrusted::Untrusted;
use crate::domain::auth::{Caller, Operator};
use crate::domain::delivery::State as DeliveryState;
use crate::domain::digest::sha256;
use crate::domain::id::{DeliveryId, Noun, PublicId};
use crate::domain::job::JobAction;
use crate::service::attempt_view::AttemptView;
use crate::service::deliveries::{DeliveryDetail, DeliveryView};
use crate::service::jobs::{Asked, JobRequest};

/// An entry of the timeline.
struct Step {
    tone: &'static str,
    title: String,
    at: Option<RelativeTime>,
    exact: Option<ExactTime>,
    note: Option<String>,
    attempt: Option<Attempt>,
}

impl Step {
    fn new(tone: &'static str, title: impl Into<String>, at: Option<RelativeTime>) -> Self {
        let exact = at.map(|moment| ExactTime(moment.at));
        Self { tone, title: title.into(), at, exact, note: None, attempt: None }
    }

    fn with_note(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }
}

/// An attempt with its request and response.
struct Attempt {
    id: String,
    outcome: Badge,
    status: Option<u16>,
    duration: String,
    error: Option<Untrusted>,
    console: Option<Untrusted>,
    url: Untrusted,
    request_headers: Untrusted,
    body_sha256: Option<String>,
    /// The request body, if the current mapping renders the same bytes.
    body: Option<HighlightedJson>,
    curl: Option<String>,
    response_headers: Untrusted,
    response_body: HighlightedJson,
    response_is_empty: bool,
    response_truncated: bool,
    batch: Option<String>,
    late: bool,
    is_sent: bool,
}

impl Attempt {
    fn of(view: &AttemptView, rendered: Option<&Rendered>) -> Self {
        let same = rendered.filter(|it| Some(&it.sha256) == view.body_sha256.as_ref());
        let batch = view
            .batch
            .as_ref()
            .map(|batch| format!("one of {} deliveries in batch {}", batch.size, batch.webhook_id));
        Self {
            id: view.id.clone(),
            outcome: Badge::of_outcome(&view.result.outcome),
            status: view.result.status,
            duration: duration(Duration::from_micros(view.result.duration_us)),
            error: view.result.error.clone().map(Untrusted::from),
            console: view.console.clone().map(Untrusted::from),
            url: view.url.clone().into(),
            request_headers: view.request_headers.clone().into(),
            body_sha256: view.body_sha256.clone(),
            body: same.map(|it| HighlightedJson::of(&it.body)),
            curl: same.map(|it| {
                curl_command::command(&it.method, &view.url, &view.request_headers, &it.body)
            }),
            response_headers: view.result.response_headers.clone().into(),
            response_body: HighlightedJson::of(&view.result.response_body),
            response_is_empty: view.result.response_body.is_empty(),
            response_truncated: view.result.response_truncated,
            batch,
            late: view.late,
            is_sent: !view.url.is_empty(),
        }
    }
}

/// The request that the current mapping renders.
struct Rendered {
    method: String,
    body: String,
    sha256: String,
}

struct EventDetails {
    id: String,
    name: Option<Untrusted>,
    kind: Option<String>,
    user_id: Option<Untrusted>,
    message_id: Untrusted,
    source: Option<String>,
    body: HighlightedJson,
}

#[derive(Template)]
#[template(path = "delivery.html")]
struct DeliveryPage {
    layout: Layout,
    id: String,
    name: Untrusted,
    state: Badge,
    reason: Option<Untrusted>,
    mapping: Option<Untrusted>,
    destination: Option<Untrusted>,
    accepted: Option<RelativeTime>,
    deadline: Option<RelativeTime>,
    deadline_exact: Option<ExactTime>,
    due: Option<RelativeTime>,
    settled: Option<RelativeTime>,
    settled_by: Option<String>,
    attempts: u32,
    steps: Vec<Step>,
    event: Option<EventDetails>,
    routing: Option<Untrusted>,
    can_redrive: bool,
    can_discard: bool,
    /// Whether the page refreshes itself, from this path.
    refreshes: bool,
    path: String,
}

pub(super) async fn show(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(caller): Require<Caller>,
    Path(id): Path<String>,
    Query(query): Query,
) -> Result<Response, PageError> {
    // A redrive or discard runs as a job. Its state is read before the delivery, so that the page of a
    // finished job shows the job's effect.
    let running_job = match query.non_empty("job") {
        Some(job) if web.service.job(&caller, job).await.is_ok_and(|it| it.is_running()) => {
            Some(job)
        }
        Some(_) | None => None,
    };
    let detail = web.service.delivery(&caller, &id).await?;
    let rendered = web.render_current(&detail).await?;
    let routing = web.routing_decision(&caller, &detail).await;
    let mut page_data = DeliveryPage::of(layout, detail, rendered.as_ref(), routing);
    if let Some(job) = running_job {
        page_data.refreshes = true;
        page_data.path = with_query(&page_data.path, [("job", job)]);
    }
    page(&page_data)
}

impl Web {
    /// Renders the event with the current mapping. A body with the digest that an attempt recorded is
    /// the body that the attempt sent.
    async fn render_current(&self, detail: &DeliveryDetail) -> Result<Option<Rendered>, PageError> {
        let is_sent = detail.attempts.iter().any(|it| it.body_sha256.is_some());
        let Ok(id) = PublicId::parse_as(&detail.delivery.id, Noun::Delivery) else {
            return Ok(None);
        };
        let row = self.service.store.delivery(DeliveryId(id.key)).await?;
        let Some(row) = row.filter(|_| is_sent) else { return Ok(None) };
        let Some(stored) = self.service.store.event(row.delivery.event_id).await? else {
            return Ok(None);
        };
        let mapping_id = row.delivery.mapping_id;
        let tested = self.service.node.test_mapping(mapping_id, &stored.event, false).await;
        Ok(tested.and_then(|tested| tested.request).map(|request| Rendered {
            method: request.method.to_string(),
            sha256: hex::encode(sha256(&[&request.body])),
            body: String::from_utf8_lossy(&request.body).into_owned(),
        }))
    }

    /// Why the mapping matched the event; none when that cannot be explained any more.
    async fn routing_decision(&self, caller: &Caller, detail: &DeliveryDetail) -> Option<String> {
        let explained = self.service.explain(caller, &detail.event.as_ref()?.id).await.ok()?;
        let mapping = detail.delivery.mapping.as_ref();
        let one = explained.mappings.into_iter().find(|it| it.mapping.as_ref() == mapping)?;
        let revision = one.revision.map(|number| format!(" (revision {number})"));
        Some(format!("{}{}", one.because, revision.unwrap_or_default()))
    }
}

impl DeliveryPage {
    fn of(
        layout: Layout,
        detail: DeliveryDetail,
        rendered: Option<&Rendered>,
        routing: Option<String>,
    ) -> Self {
        let DeliveryDetail { delivery, event, attempts } = detail;
        let steps = steps(&layout, &delivery, &attempts, rendered);
        let time = |at: &Option<String>| at.as_deref().and_then(|at| layout.time(at));
        let state = DeliveryState::parse(&delivery.state);
        let applies = |action: JobAction| state.is_some_and(|state| action.takes(state));
        let deadline = layout.time(&delivery.deadline_at);
        let name = delivery.event_name.clone().unwrap_or_else(|| delivery.message_id.clone());
        Self {
            name: name.into(),
            state: Badge::of_state(&delivery.state),
            reason: delivery.reason.clone().or_else(|| delivery.held.clone()).map(Untrusted::from),
            mapping: delivery.mapping.clone().map(Untrusted::from),
            destination: delivery.destination.clone().map(Untrusted::from),
            accepted: layout.time(&delivery.accepted_at),
            deadline,
            deadline_exact: deadline.map(|moment| ExactTime(moment.at)),
            due: time(&delivery.due_at),
            settled: time(&delivery.settled_at),
            settled_by: delivery.settled_by.clone(),
            attempts: delivery.attempts,
            steps,
            event: event.map(|event| EventDetails {
                id: event.id,
                name: event.name.map(Untrusted::from),
                kind: event.kind,
                user_id: event.user_id.map(Untrusted::from),
                message_id: event.message_id.into(),
                source: event.source,
                body: HighlightedJson::of(event.body.get()),
            }),
            routing: routing.map(Untrusted::from),
            can_redrive: applies(JobAction::Redrive) && layout.may_operate(),
            can_discard: applies(JobAction::Discard) && layout.may_operate(),
            refreshes: matches!(state, Some(DeliveryState::Pending | DeliveryState::Leased)),
            path: format!("/deliveries/{}", delivery.id),
            id: delivery.id,
            layout,
        }
    }
}

/// The timeline: acceptance, attempts, current state, what is next.
fn steps(
    layout: &Layout,
    delivery: &DeliveryView,
    attempts: &[AttemptView],
    rendered: Option<&Rendered>,
) -> Vec<Step> {
    let time = |at: &Option<String>| at.as_deref().and_then(|at| layout.time(at));
    let mut steps = vec![Step::new("good", "Accepted", layout.time(&delivery.accepted_at))];
    for view in attempts {
        let attempt = Attempt::of(view, rendered);
        let title = format!("Attempt {}", view.number);
        let at = layout.time(&view.result.started_at);
        steps.push(Step {
            attempt: Some(attempt),
            ..Step::new(Badge::of_outcome(&view.result.outcome).tone, title, at)
        });
    }
    let deadline = layout.time(&delivery.deadline_at);
    match DeliveryState::parse(&delivery.state) {
        Some(DeliveryState::Pending) => {
            let next = match &delivery.held {
                Some(held) => Step::new("wait", "Held", None).with_note(held.clone()),
                None => Step::new("wait", "Next attempt", time(&delivery.due_at)),
            };
            steps.push(next);
            steps.push(
                Step::new("wait", "Deadline", deadline)
                    .with_note("becomes a dead letter if not delivered by then"),
            );
        }
        Some(DeliveryState::Leased) => steps.push(
            Step::new("live", "In flight", time(&delivery.lease_expires_at))
                .with_note("lease expiry"),
        ),
        Some(DeliveryState::Delivered) => {
            steps.push(Step::new("good", "Delivered", time(&delivery.settled_at)));
        }
        Some(DeliveryState::Dead) => {
            let reason = delivery.reason.clone().unwrap_or_default();
            steps.push(
                Step::new("bad", "Dead letter", time(&delivery.settled_at)).with_note(reason),
            );
        }
        Some(DeliveryState::Discarded) => {
            steps.push(Step::new("idle", "Discarded", time(&delivery.settled_at)));
        }
        None => {}
    }
    steps
}

pub(super) async fn redrive(
    State(web): State<Arc<Web>>,
    Require(operator): Require<Operator>,
    Path(id): Path<String>,
) -> Result<SeeOther, PageError> {
    web.act_on_delivery(&operator, id, JobAction::Redrive).await
}

pub(super) async fn discard(
    State(web): State<Arc<Web>>,
    Require(operator): Require<Operator>,
    Path(id): Path<String>,
) -> Result<SeeOther, PageError> {
    web.act_on_delivery(&operator, id, JobAction::Discard).await
}

impl Web {
    async fn act_on_delivery(
        &self,
        operator: &Operator,
        id: String,
        action: JobAction,
    ) -> Result<SeeOther, PageError> {
        let mut path = format!("/deliveries/{id}");
        let request = JobRequest { ids: vec![id], ..JobRequest::default() };
        let asked = self.service.ask_job(action, operator, request).await?;
        if let Asked::Made(job) = &asked {
            path = with_query(&path, [("job", job.id.as_str())]);
        }
        let flash = match (asked, action) {
            (Asked::Made(job), _) if job.matched == 0 => {
                Flash::warn("The state of the delivery changed meanwhile; nothing was done.")
            }
            (Asked::Made(_) | Asked::Preview(_), JobAction::Redrive) => {
                Flash::good("Redriven: due now, with a new retry window.")
            }
            (Asked::Made(_) | Asked::Preview(_), JobAction::Discard) => {
                Flash::good("Discarded: nothing more is sent.")
            }
            // Not of one delivery.
            (Asked::Made(_) | Asked::Preview(_), JobAction::Backfill) => Flash::good("Created."),
        };
        Ok(SeeOther::to(path).with_flash(flash))
    }
}
