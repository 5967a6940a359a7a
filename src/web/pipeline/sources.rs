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
use super::editor::{CONFLICT, Editor, PageContext, TAG, status};
use super::source::{LimitFields, SourcePage};
use super::target::path;
use crate::domain::auth::Caller;
use crate::pipeline::{FieldError, Target};
use crate::service::resources::{Detail, SourceDetail, Tagged};

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

const FIELDS: [&str; 6] = ["name", "rate_per_second", "burst", "daily_quota", CLIENT_IP, CONFLICT];
const CLIENT_IP: &str = "client_ip";
/// The numbers of a stored source's form.
const NUMBERS: [&str; 3] = ["rate_per_second", "burst", "daily_quota"];

/// The form of a source: the name of a new one, the limits of a stored one.
pub(super) struct SourceForm {
    form: Form,
    /// Whether the stored source is enabled.
    enabled: bool,
}

impl SourceForm {
    fn of(form: Form, enabled: bool) -> Self {
        Self { form, enabled }
    }

    fn limits(&self) -> LimitFields {
        LimitFields {
            rate_per_second: self.form.field("rate_per_second"),
            burst: self.form.field("burst"),
            daily_quota: self.form.field("daily_quota"),
            client_ip: !self.form.text(CLIENT_IP).is_empty(),
            tag: self.form.text(TAG).to_owned(),
            conflict: self.form.field(CONFLICT).fault,
            faults: self.form.other_faults(&FIELDS),
        }
    }
}

/// The source of a version.
fn source(version: Tagged) -> Result<SourceDetail, PageError> {
    match version.detail {
        Detail::Source(source) => Ok(*source),
        Detail::Destination(_) | Detail::Mapping(_) => Err(PageError::not_found("such source")),
    }
}

impl Editor for SourceForm {
    const FIELDS: &'static [&'static str] = &FIELDS;

    fn blank() -> Self {
        Self::of(Form::default(), true)
    }

    fn stored(version: Tagged) -> Result<Self, PageError> {
        let tag = version.tag.clone();
        let document = source(version)?.document;
        let number = |number: Option<u64>| number.map(|it| it.to_string()).unwrap_or_default();
        let fields = [
            (TAG, tag),
            ("rate_per_second", number(document.rate_per_second.map(u64::from))),
            ("burst", number(document.burst.map(u64::from))),
            ("daily_quota", number(document.daily_quota)),
            (CLIENT_IP, if document.client_ip { "on" } else { "" }.to_owned()),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value));
        Ok(Self::of(Form::of(fields.into()), document.enabled))
    }

    fn submitted(form: Form, current: Option<Tagged>) -> Result<Self, PageError> {
        let current = current.map(source).transpose()?;
        Ok(Self::of(form, current.is_none_or(|it| it.document.enabled)))
    }

    fn form(&mut self) -> &mut Form {
        &mut self.form
    }

    fn document(&mut self) -> Value {
        let client_ip = !self.form.text(CLIENT_IP).is_empty();
        let mut document = json!({ "enabled": self.enabled, "client_ip": client_ip });
        for name in NUMBERS {
            match self.form.non_empty(name).map(str::parse::<u64>) {
                None => {}
                Some(Ok(number)) => document[name] = number.into(),
                Some(Err(_)) => self.form.fault(name, "should be a whole number"),
            }
        }
        document
    }

    fn saved(_: &Detail, _: &Detail) -> Flash {
        Flash::good("Saved.")
    }

    async fn page(self, context: PageContext<'_>, target: &Target) -> Result<Response, PageError> {
        let status = status(&self.form);
        page_with(status, &SourcePage::load(context, target, self.limits()).await?)
    }

    async fn new_page(
        self,
        context: PageContext<'_>,
        _: Option<&Target>,
    ) -> Result<Response, PageError> {
        page_with(status(&self.form), &SourcesPage::load(context, self.form).await?)
    }
}
