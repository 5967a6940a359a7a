//! Access tokens: list, creation (the token is shown once), revocation.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::error::PageError;
use super::flash::{Flash, SeeOther};
use super::form::Form;
use super::format::encoded;
use super::layout::{Layout, page, page_with};
use super::role::Require;
use super::state::Web;
use super::time::RelativeTime;
use super::untrusted::Untrusted;
use crate::domain::auth::{Admin, Caller, Role};
use crate::pipeline::FieldError;
use crate::service::ServiceError;
use crate::service::tokens::{TokenRequest, TokenView};

/// A token in the list.
struct Row {
    name: Untrusted,
    /// Its name, encoded for paths.
    path: String,
    /// Its index, for the id of its dialog.
    index: usize,
    role: String,
    destinations: Vec<String>,
    created_at: Option<RelativeTime>,
    created_by: Untrusted,
    expires_at: Option<RelativeTime>,
    last_used_at: Option<RelativeTime>,
    is_current: bool,
}

impl Row {
    fn of(index: usize, view: &TokenView, layout: &Layout) -> Self {
        let time = |at: &Option<String>| at.as_deref().and_then(|at| layout.time(at));
        Self {
            name: view.name.clone().into(),
            path: encoded(&view.name),
            index,
            role: view.role.clone(),
            destinations: view.destinations.clone().unwrap_or_default(),
            created_at: layout.time(&view.created_at),
            created_by: view.created_by.clone().into(),
            expires_at: time(&view.expires_at),
            last_used_at: time(&view.last_used_at),
            is_current: layout.caller_name_and_role().0 == view.name,
        }
    }
}

#[derive(Template)]
#[template(path = "tokens.html")]
struct TokensPage {
    rows: Vec<Row>,
    form: Form,
    faults: Vec<FieldError>,
    /// The secret of a new token, shown once.
    secret: Option<String>,
    layout: Layout,
}

impl TokensPage {
    fn roles(&self) -> [&'static str; 3] {
        Role::ALL.map(Role::as_str)
    }

    fn of(web: &Web, caller: &Caller, layout: Layout) -> Self {
        let found = web.service.tokens(caller).items;
        let rows = found.iter().enumerate().map(|(at, view)| Row::of(at, view, &layout));
        Self {
            rows: rows.collect(),
            form: Form::default(),
            faults: Vec::new(),
            secret: None,
            layout,
        }
    }
}

pub(super) async fn list(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(caller): Require<Caller>,
) -> Result<Response, PageError> {
    page(&TokensPage::of(&web, &caller, layout))
}

pub(super) async fn create(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(admin): Require<Admin>,
    mut form: Form,
) -> Result<Response, PageError> {
    let destinations: Vec<String> =
        form.text("destinations").split_whitespace().map(ToOwned::to_owned).collect();
    let request = TokenRequest {
        name: form.text("name").trim().to_owned(),
        role: form.text("role").to_owned(),
        destinations: (!destinations.is_empty()).then_some(destinations),
        expires_at: form.non_empty("expires_at").map(ToOwned::to_owned),
    };
    let (status, secret) = match web.service.make_token(&admin, request).await {
        Ok(made) => (StatusCode::OK, Some(made.secret)),
        Err(ServiceError::Invalid(faults)) => {
            for fault in faults {
                // A fault at one destination is shown at the field of all.
                let field = fault.path.split('[').next().unwrap_or_default().to_owned();
                form.fault(field, fault.message);
            }
            (StatusCode::BAD_REQUEST, None)
        }
        Err(ServiceError::Conflict(taken)) => {
            form.fault("name", taken);
            (StatusCode::CONFLICT, None)
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let fields = ["name", "role", "destinations", "expires_at"];
    let faults = form.other_faults(&fields);
    let form = if secret.is_some() { Form::default() } else { form };
    page_with(status, &TokensPage { form, faults, secret, ..TokensPage::of(&web, &admin, layout) })
}

pub(super) async fn revoke(
    State(web): State<Arc<Web>>,
    Require(admin): Require<Admin>,
    Path(name): Path<String>,
) -> Result<SeeOther, PageError> {
    web.service.revoke_token(&admin, &name).await?;
    let flash = Flash::good(format!("Token {name} is revoked."));
    Ok(SeeOther::to("/tokens").with_flash(flash))
}
