//! The page of a mapping: its form, a preview of the request and test sends.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::Value;

use super::super::error::PageError;
use super::super::flash::Flash;
use super::super::form::{Form, with_query};
use super::super::format::at_least;
use super::super::layout::{Layout, page_with};
use super::super::role::Require;
use super::super::state::Web;
use super::super::time::RelativeTime;
use super::super::untrusted::Untrusted;
use super::editor::{Editor, PageContext, status};
use super::mapping_form::{FIELDS, MappingForm};
use super::preview::{self, Rendered};
use super::target::{Breadcrumb, PathTarget, breadcrumbs, breadcrumbs_to, child, path};
use crate::domain::auth::{Admin, Operator};
use crate::domain::event::EventType;
use crate::pipeline::Target;
use crate::service::pauses::PauseView;
use crate::service::resources::{Detail, MappingDetail, Tagged};
use crate::service::status::StatusView;
use crate::service::test_sends::Names;

/// The form with its preview: part of the page of a mapping and of the page that creates one.
struct MappingEditor {
    edit: MappingForm,
    rendered: Option<Rendered>,
    /// The path that the form is submitted to.
    path: String,
    may_save: bool,
    may_preview: bool,
}

impl MappingEditor {
    fn of(edit: MappingForm, rendered: Option<Rendered>, path: String, layout: &Layout) -> Self {
        let (may_save, may_preview) = (layout.may_administer(), layout.may_operate());
        Self { edit, rendered, path, may_save, may_preview }
    }

    /// The types of the sample events for previews.
    fn samples(&self) -> [&'static str; 7] {
        EventType::ALL.map(EventType::as_str)
    }

    fn has_faults(&self) -> bool {
        !self.edit.form.is_valid()
    }
}

#[derive(Template)]
#[template(path = "mapping.html")]
struct MappingPage {
    name: Untrusted,
    breadcrumbs: Vec<Breadcrumb>,
    deliveries: String,
    backfill: String,
    tag: String,
    enabled: bool,
    is_paused: bool,
    pause: Option<PauseView>,
    paused_since: Option<RelativeTime>,
    /// Until when its receiver asked for no request.
    wait_until: Option<RelativeTime>,
    /// Why this version cannot compile it.
    fault: Option<Untrusted>,
    /// How many deliveries wait for it then.
    fault_waiting: String,
    revision: u32,
    created_at: Option<RelativeTime>,
    editor: MappingEditor,
    layout: Layout,
}

/// The page that creates a mapping.
#[derive(Template)]
#[template(path = "mapping_new.html")]
struct NewMappingPage {
    breadcrumbs: Vec<Breadcrumb>,
    parent: String,
    editor: MappingEditor,
    layout: Layout,
}

/// The detail of a mapping.
pub(super) fn mapping(detail: Detail) -> Result<MappingDetail, PageError> {
    match detail {
        Detail::Mapping(detail) => Ok(*detail),
        Detail::Source(_) | Detail::Destination(_) => Err(PageError::not_found("such mapping")),
    }
}

/// The page of a stored mapping with this form and preview.
async fn page_of(
    context: PageContext<'_>,
    target: &Target,
    (edit, rendered): (MappingForm, Option<Rendered>),
) -> Result<Response, PageError> {
    let PageContext { web, caller, layout, .. } = context;
    let version = web.service.detail(caller, target).await?;
    let detail = mapping(version.detail)?;
    let full_name = [&detail.source, &detail.destination, &detail.document.name];
    let full_name = full_name.map(String::as_str).join("/");
    let fault_waiting = match &detail.fault {
        Some(_) => waiting(&web.service.status(caller).await?, &full_name),
        None => String::new(),
    };
    let page = MappingPage {
        name: target.name().into(),
        breadcrumbs: breadcrumbs(target),
        deliveries: with_query("/deliveries", [("mapping", full_name.as_str())]),
        backfill: with_query("/backfills/new", [("mapping", full_name.as_str())]),
        tag: version.tag,
        enabled: detail.document.enabled,
        is_paused: detail.pause.as_ref().is_some_and(PauseView::is_paused),
        paused_since: detail.pause.as_ref().and_then(|it| layout.time(&it.since)),
        wait_until: detail.wait_until.as_deref().and_then(|at| layout.time(at)),
        fault: detail.fault.map(Untrusted::from),
        fault_waiting,
        pause: detail.pause,
        revision: detail.revision,
        created_at: layout.time(&detail.created_at),
        editor: MappingEditor::of(edit, rendered, path(target), &layout),
        layout,
    };
    page_with(status(&page.editor.edit.form), &page)
}

/// How many deliveries wait for a mapping that cannot be compiled.
fn waiting(status: &StatusView, mapping: &str) -> String {
    let found = status.faulty_mappings.iter().find(|it| it.mapping == mapping);
    found.map_or_else(String::new, |it| {
        let noun = if it.waiting == 1 { "delivery" } else { "deliveries" };
        format!("{} {noun}", at_least(it.waiting, it.more))
    })
}

/// The page that creates a mapping below a destination, with this form and preview.
fn new_page_of(
    layout: Layout,
    destination: &Target,
    (edit, rendered): (MappingForm, Option<Rendered>),
) -> Result<Response, PageError> {
    let parent = path(destination);
    let page = NewMappingPage {
        breadcrumbs: breadcrumbs_to(destination),
        editor: MappingEditor::of(edit, rendered, format!("{parent}/new"), &layout),
        parent,
        layout,
    };
    page_with(status(&page.editor.edit.form), &page)
}

impl Editor for MappingForm {
    const FIELDS: &'static [&'static str] = &FIELDS;

    fn blank() -> Self {
        Self::blank()
    }

    fn stored(version: Tagged) -> Result<Self, PageError> {
        Ok(Self::stored(mapping(version.detail)?.document, &version.tag))
    }

    fn submitted(form: Form, current: Option<Tagged>) -> Result<Self, PageError> {
        Ok(match current {
            Some(version) => Self::submitted(form, mapping(version.detail)?.document),
            None => Self::submitted_new(form),
        })
    }

    fn form(&mut self) -> &mut Form {
        &mut self.form
    }

    fn document(&mut self) -> Value {
        self.document()
    }

    fn created(&self) -> Option<Flash> {
        let message = if self.enabled { "Created and enabled." } else { "Created, disabled." };
        Some(Flash::good(message))
    }

    fn saved(before: &Detail, after: &Detail) -> Flash {
        match (before, after) {
            (Detail::Mapping(before), Detail::Mapping(after))
                if before.revision != after.revision =>
            {
                Flash::good(format!("Saved as revision {}.", after.revision))
            }
            (_, _) => Flash::warn("No changes: no new revision was created."),
        }
    }

    /// With a preview on the source's last event, or on a sample if there is none.
    async fn first_page(
        mut self,
        context: PageContext<'_>,
        target: &Target,
    ) -> Result<Response, PageError> {
        let rendered = match context.caller.operator() {
            Ok(operator) => first_preview(context.web, &operator, target, &mut self).await?,
            Err(_) => None,
        };
        page_of(context, target, (self, rendered)).await
    }

    async fn page(self, context: PageContext<'_>, target: &Target) -> Result<Response, PageError> {
        page_of(context, target, (self, None)).await
    }

    async fn new_page(
        self,
        context: PageContext<'_>,
        parent: Option<&Target>,
    ) -> Result<Response, PageError> {
        let destination = parent.ok_or_else(|| PageError::not_found("destination"))?;
        new_page_of(context.layout, destination, (self, None))
    }
}

async fn first_preview(
    web: &Web,
    operator: &Operator,
    target: &Target,
    edit: &mut MappingForm,
) -> Result<Option<Rendered>, PageError> {
    let rendered = preview::preview(web, operator, target, edit).await?;
    if rendered.is_some() || edit.field("on").fault.is_none() {
        return Ok(rendered);
    }
    edit.select_sample();
    preview::preview(web, operator, target, edit).await
}

/// Previews the submitted form of a stored mapping; sends and saves nothing.
pub(super) async fn preview(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(operator): Require<Operator>,
    PathTarget(target): PathTarget,
    form: Form,
) -> Result<Response, PageError> {
    let mut edit = MappingForm::tried(form);
    let rendered = preview::preview(&web, &operator, &target, &mut edit).await?;
    let context = PageContext::of(&web, &operator, layout);
    page_of(context, &target, (edit, rendered)).await
}

/// Previews the submitted form of a new mapping; sends and saves nothing.
pub(super) async fn preview_new(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(admin): Require<Admin>,
    PathTarget(destination): PathTarget,
    form: Form,
) -> Result<Response, PageError> {
    let mut edit = MappingForm::submitted_new(form);
    // The name does not appear in the request.
    let target = child(Some(&destination), "new");
    let rendered = preview::preview(&web, &admin.operator()?, &target, &mut edit).await?;
    new_page_of(layout, &destination, (edit, rendered))
}

/// Sends a test request of the stored mapping and shows the response.
pub(super) async fn send_test(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(operator): Require<Operator>,
    PathTarget(target): PathTarget,
    (Path(names), form): (Path<Names>, Form),
) -> Result<Response, PageError> {
    let mut edit = MappingForm::tried(form);
    let rendered = preview::send_test(&web, &operator, &names, &mut edit).await?;
    let context = PageContext::of(&web, &operator, layout);
    page_of(context, &target, (edit, rendered)).await
}
