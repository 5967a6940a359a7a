//! One delivery: where it stands, its way there attempt by attempt, the exact request and answer of
//! each, why its mapping took the event, and what an operator can do with it.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;

use super::Web;
use super::badge::Badge;
use super::curl;
use super::failure::Failure;
use super::form::{Asked as Query, address};
use super::json::Json;
use super::moment::{Exact, Moment, span};
use super::shell::{As, Flash, Moved, Shell, page};
use super::text::Outside;
use crate::domain::auth::{Caller, Operator};
use crate::domain::delivery::State as DeliveryState;
use crate::domain::digest::sha256;
use crate::domain::id::{DeliveryId, Noun, PublicId};
use crate::domain::job::JobAction;
use crate::service::deliveries::{AttemptView, DeliveryDetail, DeliveryView};
use crate::service::jobs::{Asked, JobRequest};

/// A step on a delivery's way.
struct Step {
    tone: &'static str,
    title: String,
    at: Option<Moment>,
    exact: Option<Exact>,
    note: Option<String>,
    attempt: Option<Attempt>,
}

impl Step {
    fn new(tone: &'static str, title: impl Into<String>, at: Option<Moment>) -> Self {
        let exact = at.map(|moment| Exact(moment.at));
        Self { tone, title: title.into(), at, exact, note: None, attempt: None }
    }

    fn noting(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }
}

/// An attempt with what was exchanged.
struct Attempt {
    id: String,
    outcome: Badge,
    status: Option<u16>,
    took: String,
    error: Option<Outside>,
    console: Option<Outside>,
    url: Outside,
    request_headers: Outside,
    body_sha256: Option<String>,
    /// The request's body, where it can be made again to the byte.
    body: Option<Json>,
    curl: Option<String>,
    response_headers: Outside,
    response_body: Json,
    response_is_empty: bool,
    response_truncated: bool,
    batch: Option<String>,
    late: bool,
    is_sent: bool,
}

impl Attempt {
    fn of(view: &AttemptView, rendered: Option<&Rendered>) -> Self {
        let again = rendered.filter(|it| Some(&it.sha256) == view.body_sha256.as_ref());
        let batch = view
            .batch
            .as_ref()
            .map(|batch| format!("one of {} deliveries in batch {}", batch.size, batch.webhook_id));
        Self {
            id: view.id.clone(),
            outcome: Badge::of_outcome(&view.outcome),
            status: view.status,
            took: span(Duration::from_micros(view.duration_us)),
            error: view.error.clone().map(Outside::from),
            console: view.console.clone().map(Outside::from),
            url: view.url.clone().into(),
            request_headers: view.request_headers.clone().into(),
            body_sha256: view.body_sha256.clone(),
            body: again.map(|it| Json::of(&it.body)),
            curl: again
                .map(|it| curl::command(&it.method, &view.url, &view.request_headers, &it.body)),
            response_headers: view.response_headers.clone().into(),
            response_body: Json::of(&view.response_body),
            response_is_empty: view.response_body.is_empty(),
            response_truncated: view.response_truncated,
            batch,
            late: view.late,
            is_sent: !view.url.is_empty(),
        }
    }
}

/// What the mapping gives for the event today.
struct Rendered {
    method: String,
    body: String,
    sha256: String,
}

struct EventPart {
    id: String,
    name: Option<Outside>,
    kind: Option<String>,
    user_id: Option<Outside>,
    message_id: Outside,
    source: Option<String>,
    body: Json,
}

#[derive(Template)]
#[template(path = "delivery.html")]
struct DeliveryPage {
    shell: Shell,
    id: String,
    name: Outside,
    state: Badge,
    why: Option<Outside>,
    mapping: Option<Outside>,
    destination: Option<Outside>,
    accepted: Option<Moment>,
    deadline: Option<Moment>,
    deadline_exact: Option<Exact>,
    due: Option<Moment>,
    settled: Option<Moment>,
    settled_by: Option<String>,
    attempts: u32,
    steps: Vec<Step>,
    event: Option<EventPart>,
    matched: Option<Outside>,
    can_redrive: bool,
    can_discard: bool,
    /// Whether it is about to change: then the page looks again, here.
    is_moving: bool,
    here: String,
}

pub(super) async fn show(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(caller): As<Caller>,
    Path(id): Path<String>,
    Query(asked): Query,
) -> Result<Response, Failure> {
    // What was just asked for is a job, which does it a moment later. It is looked at before the
    // delivery: one that is done by then has left its trace there.
    let awaited = match asked.filled("job") {
        Some(job) if web.service.job(&caller, job).await.is_ok_and(|it| it.is_running()) => {
            Some(job)
        }
        Some(_) | None => None,
    };
    let detail = web.service.delivery(&caller, &id).await?;
    let rendered = web.render_again(&detail).await?;
    let matched = web.why_matched(&caller, &detail).await;
    let mut shown = DeliveryPage::of(shell, detail, rendered.as_ref(), matched);
    if let Some(job) = awaited {
        shown.is_moving = true;
        shown.here = address(&shown.here, [("job", job)]);
    }
    page(&shown)
}

impl Web {
    /// What the delivery's mapping makes of its event today: where its bytes have the digest that an
    /// attempt recorded, they are the bytes that were sent.
    async fn render_again(&self, detail: &DeliveryDetail) -> Result<Option<Rendered>, Failure> {
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

    /// What the service says of why the mapping took the event; the page does without when it cannot.
    async fn why_matched(&self, caller: &Caller, detail: &DeliveryDetail) -> Option<String> {
        let explained = self.service.explain(caller, &detail.event.as_ref()?.id).await.ok()?;
        let mapping = detail.delivery.mapping.as_ref();
        let one = explained.mappings.into_iter().find(|it| it.mapping.as_ref() == mapping)?;
        let revision = one.revision.map(|number| format!(" (revision {number})"));
        Some(format!("{}{}", one.because, revision.unwrap_or_default()))
    }
}

impl DeliveryPage {
    fn of(
        shell: Shell,
        detail: DeliveryDetail,
        rendered: Option<&Rendered>,
        matched: Option<String>,
    ) -> Self {
        let DeliveryDetail { delivery, event, attempts } = detail;
        let steps = steps(&shell, &delivery, &attempts, rendered);
        let told = |at: &Option<String>| at.as_deref().and_then(|at| shell.told(at));
        let state = DeliveryState::parse(&delivery.state);
        let takes = |action: JobAction| state.is_some_and(|state| action.takes(state));
        let deadline = shell.told(&delivery.deadline_at);
        let name = delivery.event_name.clone().unwrap_or_else(|| delivery.message_id.clone());
        Self {
            name: name.into(),
            state: Badge::of_state(&delivery.state),
            why: delivery.reason.clone().or_else(|| delivery.held.clone()).map(Outside::from),
            mapping: delivery.mapping.clone().map(Outside::from),
            destination: delivery.destination.clone().map(Outside::from),
            accepted: shell.told(&delivery.accepted_at),
            deadline,
            deadline_exact: deadline.map(|moment| Exact(moment.at)),
            due: told(&delivery.due_at),
            settled: told(&delivery.settled_at),
            settled_by: delivery.settled_by.clone(),
            attempts: delivery.attempts,
            steps,
            event: event.map(|event| EventPart {
                id: event.id,
                name: event.name.map(Outside::from),
                kind: event.kind,
                user_id: event.user_id.map(Outside::from),
                message_id: event.message_id.into(),
                source: event.source,
                body: Json::of(event.body.get()),
            }),
            matched: matched.map(Outside::from),
            can_redrive: takes(JobAction::Redrive) && shell.may_operate(),
            can_discard: takes(JobAction::Discard) && shell.may_operate(),
            is_moving: matches!(state, Some(DeliveryState::Pending | DeliveryState::Leased)),
            here: format!("/deliveries/{}", delivery.id),
            id: delivery.id,
            shell,
        }
    }
}

/// From acceptance over each attempt to where it stands now and what comes next.
fn steps(
    shell: &Shell,
    delivery: &DeliveryView,
    attempts: &[AttemptView],
    rendered: Option<&Rendered>,
) -> Vec<Step> {
    let told = |at: &Option<String>| at.as_deref().and_then(|at| shell.told(at));
    let mut steps = vec![Step::new("good", "Accepted", shell.told(&delivery.accepted_at))];
    for view in attempts {
        let attempt = Attempt::of(view, rendered);
        let title = format!("Attempt {}", view.number);
        let at = shell.told(&view.started_at);
        steps.push(Step {
            attempt: Some(attempt),
            ..Step::new(Badge::of_outcome(&view.outcome).tone, title, at)
        });
    }
    let deadline = shell.told(&delivery.deadline_at);
    match DeliveryState::parse(&delivery.state) {
        Some(DeliveryState::Pending) => {
            let next = match &delivery.held {
                Some(held) => Step::new("wait", "Held", None).noting(held.clone()),
                None => Step::new("wait", "Next attempt", told(&delivery.due_at)),
            };
            steps.push(next);
            steps.push(
                Step::new("wait", "Its window ends", deadline)
                    .noting("what is not delivered by then is a dead letter"),
            );
        }
        Some(DeliveryState::Leased) => steps.push(
            Step::new("live", "Being tried now", told(&delivery.lease_expires_at))
                .noting("the time is when its lease ends"),
        ),
        Some(DeliveryState::Delivered) => {
            steps.push(Step::new("good", "Delivered", told(&delivery.settled_at)));
        }
        Some(DeliveryState::Dead) => {
            let reason = delivery.reason.clone().unwrap_or_default();
            steps.push(Step::new("bad", "Died", told(&delivery.settled_at)).noting(reason));
        }
        Some(DeliveryState::Discarded) => {
            steps.push(Step::new("idle", "Discarded", told(&delivery.settled_at)));
        }
        None => {}
    }
    steps
}

pub(super) async fn redrive(
    State(web): State<Arc<Web>>,
    As(operator): As<Operator>,
    Path(id): Path<String>,
) -> Result<Moved, Failure> {
    web.act_on_one(&operator, id, JobAction::Redrive).await
}

pub(super) async fn discard(
    State(web): State<Arc<Web>>,
    As(operator): As<Operator>,
    Path(id): Path<String>,
) -> Result<Moved, Failure> {
    web.act_on_one(&operator, id, JobAction::Discard).await
}

impl Web {
    async fn act_on_one(
        &self,
        operator: &Operator,
        id: String,
        action: JobAction,
    ) -> Result<Moved, Failure> {
        let mut back = format!("/deliveries/{id}");
        let request = JobRequest { ids: vec![id], ..JobRequest::default() };
        let asked = self.service.ask_job(action, operator, request).await?;
        if let Asked::Made(job) = &asked {
            back = address(&back, [("job", job.id.as_str())]);
        }
        let told = match (asked, action) {
            (Asked::Made(job), _) if job.matched == 0 => {
                Flash::warn("It was not in a state for that any more; nothing was done.")
            }
            (Asked::Made(_) | Asked::Preview(_), JobAction::Redrive) => {
                Flash::good("It is due again, with a fresh window.")
            }
            (Asked::Made(_) | Asked::Preview(_), JobAction::Discard) => {
                Flash::good("It is given up: nothing more is sent.")
            }
        };
        Ok(Moved::to(back).telling(told))
    }
}
