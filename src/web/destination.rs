//! One destination: how it fares, its connection, its mappings, and its settings as a form. A secret
//! that was typed is never sent back.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use secrecy::{ExposeSecret as _, SecretString};

use super::Web;
use super::badge::Badge;
use super::failure::Failure;
use super::form::{Form, address};
use super::moment::Moment;
use super::setup::{self, Crumb};
use super::shell::{As, Flash, Moved, Shell, page, page_with};
use super::text::{Outside, counted};
use crate::domain::auth::{Admin, Caller, Operator};
use crate::pipeline::{Found, Target};
use crate::service::connection::{BegunView, Names};
use crate::service::resources::{DestinationDetail, Detail, MappingDetail};
use crate::service::statistics::HealthView;
use crate::settings::secrets::generate_shared_secret;

mod form;

pub(super) use form::Edit;
use form::FIELDS;

struct Below {
    name: Outside,
    path: String,
    enabled: bool,
    revision: u32,
    trigger: Outside,
    url: Outside,
    is_open: bool,
}

impl Below {
    fn of(it: &MappingDetail, health: &HealthView) -> Self {
        let names = [&it.source, &it.destination, &it.document.name].map(String::as_str);
        let [source, destination, name] = names.map(ToOwned::to_owned);
        Self {
            name: it.document.name.clone().into(),
            path: setup::path(&Target::Mapping(source, destination, name)),
            enabled: it.document.enabled,
            revision: it.revision,
            trigger: it.document.trigger.clone().into(),
            url: match it.document.url.as_str() {
                Some(url) => url.into(),
                None => it.document.url.to_string().into(),
            },
            is_open: health.open_circuits.contains(&names.join("/")),
        }
    }
}

/// How requests came to be authorized by somebody, and the page to go to for that.
struct Connection {
    is_connected: bool,
    held: Option<String>,
    connected: Option<Moment>,
    begun: Option<Begun>,
}

struct Begun {
    url: String,
    host: String,
    until: Option<Moment>,
}

#[derive(Template)]
#[template(path = "destination.html")]
struct DestinationPage {
    name: Outside,
    path: String,
    crumbs: Vec<Crumb>,
    deliveries: String,
    tag: String,
    enabled: bool,
    state: Badge,
    health: HealthView,
    success: Option<String>,
    oldest: Option<Moment>,
    connection: Option<Connection>,
    mappings: Vec<Below>,
    /// What is removed with it, in words.
    goes_too: Option<String>,
    /// Until when the shared secret before signs as well.
    retires: Option<Moment>,
    edit: Edit,
    shell: Shell,
}

#[derive(Template)]
#[template(path = "destination_new.html")]
struct NewPage {
    path: String,
    crumbs: Vec<Crumb>,
    back: String,
    edit: Edit,
    shell: Shell,
}

/// A destination with its tag.
async fn detail(
    web: &Web,
    caller: &Caller,
    target: &Target,
) -> Result<(DestinationDetail, String), Failure> {
    let found = web.service.detail(caller, target).await?;
    match found.detail {
        Detail::Destination(detail) => Ok((*detail, found.tag)),
        Detail::Source(_) | Detail::Mapping(_) => Err(Failure::not_found(&target.to_string())),
    }
}

impl DestinationPage {
    async fn of(
        web: &Web,
        caller: &Caller,
        shell: Shell,
        names: &Names,
        typed: Option<Form>,
    ) -> Result<Self, Failure> {
        let target = target(names);
        let (detail, tag) = detail(web, caller, &target).await?;
        let only = [("destination".to_owned(), detail.id.clone())];
        let mappings = web.service.mappings(caller, &only).await?.items;
        let health = web.service.destination_health(caller, &target).await?;
        let pipeline = web.service.pipeline(caller).await?;
        let retires = match target.find(&pipeline) {
            Some(Found::Destination(one)) => {
                let secrets = pipeline.shared_secrets.iter();
                secrets
                    .filter(|it| it.destination_id == one.id)
                    .filter_map(|it| it.secret.retires_at)
                    .find(|at| *at > shell.now)
            }
            Some(Found::Source(_) | Found::Mapping(_)) | None => None,
        };
        let connection = detail.connection.as_ref().map(|it| Connection {
            is_connected: it.connected,
            held: it.held.clone(),
            connected: it.connected_at.as_deref().and_then(|at| shell.told(at)),
            begun: None,
        });
        let count = u64::try_from(mappings.len()).unwrap_or(u64::MAX);
        let path = setup::path(&target);
        let permille = health.last_hour.success_permille;
        Ok(Self {
            name: names.1.as_str().into(),
            path,
            crumbs: setup::crumbs(&target),
            deliveries: address("/deliveries", [("destination", health.destination.as_str())]),
            enabled: detail.document.enabled,
            state: state(&detail, &health),
            success: permille.map(|it| format!("{}.{} %", it / 10, it % 10)),
            oldest: health.oldest_due_at.as_deref().and_then(|at| shell.told(at)),
            connection,
            mappings: mappings.iter().map(|it| Below::of(it, &health)).collect(),
            health,
            goes_too: (count > 0).then(|| counted(count, "mapping", "mappings")),
            retires: retires.map(|at| shell.moment(at)),
            edit: match typed {
                Some(form) => Edit::typed(form, Some(detail.document)),
                None => Edit::of(detail.document, &tag),
            },
            tag,
            shell,
        })
    }
}

fn target((source, destination): &Names) -> Target {
    Target::Destination(source.clone(), destination.clone())
}

fn state(detail: &DestinationDetail, health: &HealthView) -> Badge {
    if !detail.document.enabled {
        Badge::new("disabled", "idle")
    } else if health.held.is_some() {
        Badge::new("held", "warn")
    } else if !health.open_circuits.is_empty() {
        Badge::new("circuit open", "bad")
    } else {
        Badge::new("enabled", "good")
    }
}

pub(super) async fn show(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(caller): As<Caller>,
    Path(names): Path<Names>,
) -> Result<Response, Failure> {
    page(&DestinationPage::of(&web, &caller, shell, &names, None).await?)
}

pub(super) async fn save(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(admin): As<Admin>,
    Path(names): Path<Names>,
    form: Form,
) -> Result<Response, Failure> {
    let target = target(&names);
    let (held, _) = detail(&web, &admin, &target).await?;
    let mut edit = Edit::typed(form, Some(held.document));
    let document = edit.document(None);
    if edit.form.is_right() {
        let given = (&mut edit.form, &FIELDS[..]);
        if setup::save(&web, &admin, &target, document, given).await?.is_some() {
            let told = Flash::good("Saved, and in force.");
            return Ok(Moved::to(setup::path(&target)).telling(told).into_response());
        }
    }
    let status = setup::status(&edit.form);
    page_with(status, &DestinationPage::of(&web, &admin, shell, &names, Some(edit.form)).await?)
}

/// The form of a new destination of a source.
pub(super) async fn ask(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(admin): As<Admin>,
    Path(source): Path<String>,
) -> Result<Response, Failure> {
    web.service.detail(&admin, &Target::Source(source.clone())).await?;
    page(&new_page(shell, &source, Edit::blank()))
}

fn new_page(shell: Shell, source: &str, edit: Edit) -> NewPage {
    let back = setup::path(&Target::Source(source.to_owned()));
    let crumbs = setup::crumbs(&Target::Destination(source.to_owned(), String::new()));
    NewPage { path: format!("{back}/new"), crumbs, back, edit, shell }
}

pub(super) async fn make(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(admin): As<Admin>,
    Path(source): Path<String>,
    form: Form,
) -> Result<Response, Failure> {
    let target = Target::Destination(source.clone(), form.text("name").trim().to_owned());
    let is_typed = form.filled("shared_secret").is_some();
    let made: Option<SecretString> = match form.text("signing") {
        "made" if !is_typed => Some(generate_shared_secret()?),
        _ => None,
    };
    let mut edit = Edit::typed(form, None);
    let document = edit.document(made.as_ref().map(|secret| secret.expose_secret()));
    if edit.form.is_right() {
        let given = (&mut edit.form, &FIELDS[..]);
        let saved = setup::save(&web, &admin, &target, document, given).await?;
        match (saved, made) {
            (Some(_), Some(secret)) => return setup::reveal(&web, shell, &target, &secret),
            (Some(_), None) => return Ok(Moved::to(setup::path(&target)).into_response()),
            (None, _) => {}
        }
    }
    page_with(setup::status(&edit.form), &new_page(shell, &source, edit))
}

/// Begins to connect: the page then has a link to the authorization server, for a form leads nowhere
/// else than here.
pub(super) async fn connect(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(operator): As<Operator>,
    Path(names): Path<Names>,
) -> Result<Response, Failure> {
    let begun = web.service.connect(&operator, &names).await?;
    let mut shown = DestinationPage::of(&web, &operator, shell, &names, None).await?;
    let begun = Begun::of(begun, &shown.shell);
    if let Some(connection) = &mut shown.connection {
        connection.begun = Some(begun);
    }
    page(&shown)
}

impl Begun {
    fn of(begun: BegunView, shell: &Shell) -> Self {
        let host = url::Url::parse(&begun.authorize_url).ok();
        let host = host.as_ref().and_then(url::Url::host_str).unwrap_or("the server");
        Self {
            host: host.to_owned(),
            until: shell.told(&begun.expires_at),
            url: begun.authorize_url,
        }
    }
}

pub(super) async fn disconnect(
    State(web): State<Arc<Web>>,
    As(operator): As<Operator>,
    Path(names): Path<Names>,
) -> Result<Moved, Failure> {
    web.service.disconnect(&operator, &names).await?;
    let told = Flash::good("Disconnected: its deliveries are held until it is connected again.");
    Ok(Moved::to(setup::path(&target(&names))).telling(told))
}
