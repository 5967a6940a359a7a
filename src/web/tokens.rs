//! Tokens: who has one, what each may do, made here and shown once, revoked here.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::Web;
use super::failure::Failure;
use super::form::{Field, Form};
use super::moment::Moment;
use super::shell::{As, Flash, Moved, Shell, page, page_with};
use super::text::{Outside, encoded};
use crate::domain::auth::{Admin, Caller, Role};
use crate::pipeline::Fault;
use crate::service::Refusal;
use crate::service::tokens::{TokenRequest, TokenView};

struct Line {
    name: Outside,
    /// Its name in a path, and in the id of its dialog.
    path: String,
    place: usize,
    role: String,
    limits: Vec<String>,
    made: Option<Moment>,
    made_by: Outside,
    ends: Option<Moment>,
    used: Option<Moment>,
    is_mine: bool,
}

impl Line {
    fn of(place: usize, view: &TokenView, shell: &Shell) -> Self {
        let told = |at: &Option<String>| at.as_deref().and_then(|at| shell.told(at));
        Self {
            name: view.name.clone().into(),
            path: encoded(&view.name),
            place,
            role: view.role.clone(),
            limits: view.destinations.clone().unwrap_or_default(),
            made: shell.told(&view.created_at),
            made_by: view.created_by.clone().into(),
            ends: told(&view.expires_at),
            used: told(&view.last_used_at),
            is_mine: shell.who().0 == view.name,
        }
    }
}

#[derive(Template)]
#[template(path = "tokens.html")]
struct TokensPage {
    lines: Vec<Line>,
    form: Form,
    faults: Vec<Fault>,
    /// A token that was just made: its text, this once.
    secret: Option<String>,
    shell: Shell,
}

impl TokensPage {
    fn field(&self, name: &'static str) -> Field {
        self.form.field(name)
    }

    fn roles(&self) -> [&'static str; 3] {
        Role::ALL.map(Role::as_str)
    }

    fn of(web: &Web, caller: &Caller, shell: Shell) -> Self {
        let found = web.service.tokens(caller).items;
        let lines = found.iter().enumerate().map(|(at, view)| Line::of(at, view, &shell));
        Self {
            lines: lines.collect(),
            form: Form::default(),
            faults: Vec::new(),
            secret: None,
            shell,
        }
    }
}

pub(super) async fn list(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(caller): As<Caller>,
) -> Result<Response, Failure> {
    page(&TokensPage::of(&web, &caller, shell))
}

pub(super) async fn make(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(admin): As<Admin>,
    mut form: Form,
) -> Result<Response, Failure> {
    let destinations: Vec<String> =
        form.text("destinations").split_whitespace().map(ToOwned::to_owned).collect();
    let request = TokenRequest {
        name: form.text("name").trim().to_owned(),
        role: form.text("role").to_owned(),
        destinations: (!destinations.is_empty()).then_some(destinations),
        expires_at: form.filled("expires_at").map(ToOwned::to_owned),
    };
    let (status, secret) = match web.service.make_token(&admin, request).await {
        Ok(made) => (StatusCode::OK, Some(made.secret)),
        Err(Refusal::Invalid(faults)) => {
            for fault in faults {
                // A fault of one destination stands at the field that holds them all.
                let field = fault.path.split('[').next().unwrap_or_default().to_owned();
                form.fault(field, fault.message);
            }
            (StatusCode::BAD_REQUEST, None)
        }
        Err(Refusal::Conflict(taken)) => {
            form.fault("name", taken);
            (StatusCode::CONFLICT, None)
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let fields = ["name", "role", "destinations", "expires_at"];
    let faults = form.other_faults(&fields);
    let form = if secret.is_some() { Form::default() } else { form };
    page_with(status, &TokensPage { form, faults, secret, ..TokensPage::of(&web, &admin, shell) })
}

pub(super) async fn revoke(
    State(web): State<Arc<Web>>,
    As(admin): As<Admin>,
    Path(name): Path<String>,
) -> Result<Moved, Failure> {
    web.service.revoke_token(&admin, &name).await?;
    let told = Flash::good(format!("Token {name} is revoked: it lets nobody in any more."));
    Ok(Moved::to("/tokens").telling(told))
}
