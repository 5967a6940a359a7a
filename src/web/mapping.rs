//! One mapping: which events it takes and what it sends, written here, tried on an event before it is
//! saved, and sent as a test.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::Web;
use super::failure::Failure;
use super::form::{Form, address};
use super::moment::Moment;
use super::setup::{self, Crumb};
use super::shell::{As, Flash, Moved, Shell, page, page_with};
use super::text::Outside;
use crate::domain::auth::{Admin, Caller, Operator};
use crate::domain::event::EventType;
use crate::pipeline::Target;
use crate::service::connection::Names as Above;
use crate::service::resources::{Detail, MappingDetail};
use crate::service::test_sends::Names;

mod form;
mod preview;

use form::{Edit, FIELDS};
use preview::Shown;

/// What all pages with the form of a mapping have.
struct Bench {
    edit: Edit,
    shown: Option<Shown>,
    /// Where the form is sent to, to be saved, tried or sent as a test.
    path: String,
    may_save: bool,
    may_try: bool,
}

impl Bench {
    fn of(edit: Edit, shown: Option<Shown>, path: &str, shell: &Shell) -> Self {
        let (may_save, may_try) = (shell.may_administer(), shell.may_operate());
        Self { edit, shown, path: path.to_owned(), may_save, may_try }
    }

    /// The events that a mapping can be tried on, beside one that is given.
    fn samples(&self) -> [&'static str; 7] {
        EventType::ALL.map(EventType::as_str)
    }

    /// Whether what is written is not right yet, the choice of the event aside.
    fn is_wrong(&self) -> bool {
        !self.edit.form.is_right()
    }
}

#[derive(Template)]
#[template(path = "mapping.html")]
struct MappingPage {
    name: Outside,
    crumbs: Vec<Crumb>,
    deliveries: String,
    tag: String,
    enabled: bool,
    revision: u32,
    made: Option<Moment>,
    bench: Bench,
    shell: Shell,
}

#[derive(Template)]
#[template(path = "mapping_new.html")]
struct NewPage {
    crumbs: Vec<Crumb>,
    back: String,
    bench: Bench,
    shell: Shell,
}

fn target((source, destination, mapping): &Names) -> Target {
    Target::Mapping(source.clone(), destination.clone(), mapping.clone())
}

/// A mapping with its tag.
pub(super) async fn detail(
    web: &Web,
    caller: &Caller,
    names: &Names,
) -> Result<(MappingDetail, String), Failure> {
    let target = target(names);
    let found = web.service.detail(caller, &target).await?;
    match found.detail {
        Detail::Mapping(detail) => Ok((*detail, found.tag)),
        Detail::Source(_) | Detail::Destination(_) => Err(Failure::not_found(&target.to_string())),
    }
}

impl MappingPage {
    async fn of(
        web: &Web,
        caller: &Caller,
        shell: Shell,
        names: &Names,
        (edit, shown): (Option<Edit>, Option<Shown>),
    ) -> Result<Self, Failure> {
        let (detail, tag) = detail(web, caller, names).await?;
        let target = target(names);
        let edit = edit.unwrap_or_else(|| Edit::of(&detail.document, &tag));
        let full = [&names.0, &names.1, &names.2].map(String::as_str).join("/");
        Ok(Self {
            name: names.2.as_str().into(),
            crumbs: setup::crumbs(&target),
            deliveries: address("/deliveries", [("mapping", full.as_str())]),
            tag,
            enabled: detail.document.enabled,
            revision: detail.revision,
            made: shell.told(&detail.created_at),
            bench: Bench::of(edit, shown, &setup::path(&target), &shell),
            shell,
        })
    }
}

/// The page, what is set up being tried on the source's last event, or on a sample where none came.
pub(super) async fn show(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(caller): As<Caller>,
    Path(names): Path<Names>,
) -> Result<Response, Failure> {
    let (found, tag) = detail(&web, &caller, &names).await?;
    let mut edit = Edit::of(&found.document, &tag);
    let shown = match caller.operator() {
        Ok(operator) => {
            let at = (names.0.as_str(), names.1.as_str(), Some(names.2.as_str()));
            first_look(&web, &operator, at, &mut edit).await?
        }
        Err(_) => None,
    };
    page(&MappingPage::of(&web, &caller, shell, &names, (Some(edit), shown)).await?)
}

/// A preview before anything was chosen.
async fn first_look(
    web: &Web,
    operator: &Operator,
    at: (&str, &str, Option<&str>),
    edit: &mut Edit,
) -> Result<Option<Shown>, Failure> {
    let shown = preview::preview(web, operator, at, edit).await?;
    if shown.is_some() || edit.field("on").fault.is_none() {
        return Ok(shown);
    }
    edit.choose_sample();
    preview::preview(web, operator, at, edit).await
}

pub(super) async fn save(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(admin): As<Admin>,
    Path(names): Path<Names>,
    form: Form,
) -> Result<Response, Failure> {
    let target = target(&names);
    let (before, _) = detail(&web, &admin, &names).await?;
    let mut edit = Edit::typed(form, false);
    let document = edit.document(before.document.enabled);
    if edit.form.is_right() {
        let given = (&mut edit.form, &FIELDS[..]);
        if setup::save(&web, &admin, &target, document, given).await?.is_some() {
            let (after, _) = detail(&web, &admin, &names).await?;
            let told = if after.revision == before.revision {
                Flash::warn("It says what it said before: there is no new revision.")
            } else {
                Flash::good(format!("Saved: revision {} is in force.", after.revision))
            };
            return Ok(Moved::to(setup::path(&target)).telling(told).into_response());
        }
    }
    let status = setup::status(&edit.form);
    page_with(status, &MappingPage::of(&web, &admin, shell, &names, (Some(edit), None)).await?)
}

/// What it would send as it is written.
pub(super) async fn preview(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(operator): As<Operator>,
    Path(names): Path<Names>,
    form: Form,
) -> Result<Response, Failure> {
    let mut edit = Edit::typed(form, false);
    let at = (names.0.as_str(), names.1.as_str(), Some(names.2.as_str()));
    let shown = preview::preview(&web, &operator, at, &mut edit).await?;
    let status = setup::status(&edit.form);
    page_with(status, &MappingPage::of(&web, &operator, shell, &names, (Some(edit), shown)).await?)
}

/// What it sends as it is saved, and the answer.
pub(super) async fn test(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(operator): As<Operator>,
    Path(names): Path<Names>,
    form: Form,
) -> Result<Response, Failure> {
    let mut edit = Edit::typed(form, false);
    let shown = preview::test(&web, &operator, &names, &mut edit).await?;
    let status = setup::status(&edit.form);
    page_with(status, &MappingPage::of(&web, &operator, shell, &names, (Some(edit), shown)).await?)
}

/// The form of a new mapping of a destination.
pub(super) async fn ask(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(admin): As<Admin>,
    Path(above): Path<Above>,
) -> Result<Response, Failure> {
    let (source, destination) = above.clone();
    web.service.detail(&admin, &Target::Destination(source, destination)).await?;
    page(&new_page(shell, &above, Edit::blank(), None))
}

fn new_page(
    shell: Shell,
    (source, destination): &Above,
    edit: Edit,
    shown: Option<Shown>,
) -> NewPage {
    let above = Target::Destination(source.clone(), destination.clone());
    let back = setup::path(&above);
    let below = Target::Mapping(source.clone(), destination.clone(), String::new());
    let bench = Bench::of(edit, shown, &format!("{back}/new"), &shell);
    NewPage { crumbs: setup::crumbs(&below), back, bench, shell }
}

pub(super) async fn make(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(admin): As<Admin>,
    Path(above): Path<Above>,
    form: Form,
) -> Result<Response, Failure> {
    let name = form.text("name").trim().to_owned();
    let target = Target::Mapping(above.0.clone(), above.1.clone(), name);
    let mut edit = Edit::typed(form, true);
    let enabled = edit.form.text("disabled") != "true";
    let document = edit.document(enabled);
    if edit.form.is_right() {
        let given = (&mut edit.form, &FIELDS[..]);
        if setup::save(&web, &admin, &target, document, given).await?.is_some() {
            let words = if enabled { "Made, and in force." } else { "Made, and disabled for now." };
            let told = Flash::good(words);
            return Ok(Moved::to(setup::path(&target)).telling(told).into_response());
        }
    }
    page_with(setup::status(&edit.form), &new_page(shell, &above, edit, None))
}

/// What a new one would send as it is written.
pub(super) async fn preview_new(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(admin): As<Admin>,
    Path(above): Path<Above>,
    form: Form,
) -> Result<Response, Failure> {
    let mut edit = Edit::typed(form, true);
    let at = (above.0.as_str(), above.1.as_str(), None);
    let operator = admin.operator()?;
    let shown = preview::preview(&web, &operator, at, &mut edit).await?;
    let status = if edit.form.is_right() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    page_with(status, &new_page(shell, &above, edit, shown))
}
