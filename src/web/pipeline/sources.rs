//! The list of sources, with the form that creates one.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::super::error::PageError;
use super::super::flash::Flash;
use super::super::form::Form;
use super::super::layout::{Layout, page, page_with};
use super::super::role::Require;
use super::super::state::Web;
use super::super::time::RelativeTime;
use super::super::untrusted::Untrusted;
use super::editor::{Editor, PageContext, status};
use super::source::SourcePage;
use super::target::path;
use crate::domain::auth::Caller;
use crate::pipeline::{FieldError, Target};
use crate::service::resources::{Detail, Tagged};

/// A source in the list.
struct Row {
    name: Untrusted,
    path: String,
    enabled: bool,
    created_at: Option<RelativeTime>,
    destinations: usize,
    mappings: usize,
}

#[derive(Template)]
#[template(path = "sources.html")]
struct SourcesPage {
    rows: Vec<Row>,
    form: Form,
    faults: Vec<FieldError>,
    layout: Layout,
}

impl SourcesPage {
    async fn load(context: PageContext<'_>, form: Form) -> Result<Self, PageError> {
        let PageContext { web, caller, layout, .. } = context;
        let sources = web.service.sources(caller, &[]).await?.items;
        let destinations = web.service.destinations(caller, &[]).await?.items;
        let mappings = web.service.mappings(caller, &[]).await?.items;
        let rows = sources.iter().map(|it| {
            let name = &it.document.name;
            Row {
                name: name.clone().into(),
                path: path(&Target::Source(name.clone())),
                enabled: it.document.enabled,
                created_at: layout.time(&it.created_at),
                destinations: destinations.iter().filter(|below| below.source == *name).count(),
                mappings: mappings.iter().filter(|below| below.source == *name).count(),
            }
        });
        Ok(Self { rows: rows.collect(), faults: form.other_faults(&FIELDS), form, layout })
    }
}

pub(super) async fn list(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(caller): Require<Caller>,
) -> Result<Response, PageError> {
    let context = PageContext::of(&web, &caller, layout);
    page(&SourcesPage::load(context, Form::default()).await?)
}

const FIELDS: [&str; 1] = ["name"];

/// The form of a source: only its name, which cannot change later.
pub(super) struct SourceForm(Form);

impl Editor for SourceForm {
    const FIELDS: &'static [&'static str] = &FIELDS;

    fn blank() -> Self {
        Self(Form::default())
    }

    fn stored(_: Tagged) -> Result<Self, PageError> {
        Ok(Self::blank())
    }

    fn submitted(form: Form, _: Option<Tagged>) -> Result<Self, PageError> {
        Ok(Self(form))
    }

    fn form(&mut self) -> &mut Form {
        &mut self.0
    }

    fn document(&mut self) -> Value {
        json!({})
    }

    fn saved(_: &Detail, _: &Detail) -> Flash {
        Flash::good("Saved.")
    }

    async fn page(self, context: PageContext<'_>, target: &Target) -> Result<Response, PageError> {
        page(&SourcePage::load(context, target).await?)
    }

    async fn new_page(
        self,
        context: PageContext<'_>,
        _: Option<&Target>,
    ) -> Result<Response, PageError> {
        page_with(status(&self.0), &SourcesPage::load(context, self.0).await?)
    }
}
