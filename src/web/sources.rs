//! The sources: where events come from, how each fares, and how one is made.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use super::Web;
use super::failure::Failure;
use super::form::{Field, Form};
use super::moment::Moment;
use super::setup;
use super::shell::{As, Shell, page, page_with};
use super::text::Outside;
use crate::domain::auth::{Admin, Caller};
use crate::pipeline::{Fault, Target};

struct Line {
    name: Outside,
    path: String,
    enabled: bool,
    made: Option<Moment>,
    destinations: usize,
    mappings: usize,
}

#[derive(Template)]
#[template(path = "sources.html")]
struct SourcesPage {
    lines: Vec<Line>,
    form: Form,
    faults: Vec<Fault>,
    shell: Shell,
}

impl SourcesPage {
    async fn of(web: &Web, caller: &Caller, shell: Shell, form: Form) -> Result<Self, Failure> {
        let sources = web.service.sources(caller, &[]).await?.items;
        let destinations = web.service.destinations(caller, &[]).await?.items;
        let mappings = web.service.mappings(caller, &[]).await?.items;
        let lines = sources.iter().map(|it| {
            let name = &it.document.name;
            Line {
                name: name.clone().into(),
                path: setup::path(&Target::Source(name.clone())),
                enabled: it.document.enabled,
                made: shell.told(&it.created_at),
                destinations: destinations.iter().filter(|below| below.source == *name).count(),
                mappings: mappings.iter().filter(|below| below.source == *name).count(),
            }
        });
        Ok(Self { lines: lines.collect(), faults: form.other_faults(&["name"]), form, shell })
    }

    fn field(&self, name: &'static str) -> Field {
        self.form.field(name)
    }
}

pub(super) async fn list(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(caller): As<Caller>,
) -> Result<Response, Failure> {
    page(&SourcesPage::of(&web, &caller, shell, Form::default()).await?)
}

pub(super) async fn make(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(admin): As<Admin>,
    mut form: Form,
) -> Result<Response, Failure> {
    let target = Target::Source(form.text("name").trim().to_owned());
    let given = (&mut form, &["name"][..]);
    let made = setup::save(&web, &admin, &target, json!({}), given).await?;
    if let Some(key) = made.and_then(|made| made.secret) {
        return setup::reveal(&web, shell, &target, &key);
    }
    let status = setup::status(&form);
    page_with(status, &SourcesPage::of(&web, &admin, shell, form).await?)
}
