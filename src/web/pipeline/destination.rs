//! The page of a destination: health, OAuth connection, mappings and settings.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::super::badge::Badge;
use super::super::cookies::Name;
use super::super::error::PageError;
use super::super::flash::{Flash, SeeOther};
use super::super::form::{Form, with_query};
use super::super::format::{counted, percent};
use super::super::layout::{Layout, page, page_with};
use super::super::role::Require;
use super::super::state::Web;
use super::super::time::RelativeTime;
use super::super::untrusted::Untrusted;
use super::destination_form::{DestinationForm, FIELDS};
use super::editor::{Editor, PageContext, status};
use super::target::{Breadcrumb, PathTarget, breadcrumbs, breadcrumbs_to, path};
use crate::domain::auth::Operator;
use crate::domain::clock::Timestamp;
use crate::pipeline::{Found, Target};
use crate::service::connection::{Authorization, Names};
use crate::service::pauses::PauseView;
use crate::service::resources::{DestinationDetail, Detail, MappingDetail, Tagged};
use crate::service::statistics::HealthView;
use crate::settings::secrets::generate;
use crate::store::Pipeline;

/// A mapping in the list.
struct MappingRow {
    name: Untrusted,
    path: String,
    enabled: bool,
    revision: u32,
    trigger: Untrusted,
    url: Untrusted,
    is_circuit_open: bool,
    is_paused: bool,
    is_waiting: bool,
    is_faulty: bool,
}

impl MappingRow {
    fn of(it: &MappingDetail, health: &HealthView) -> Self {
        let names = [&it.source, &it.destination, &it.document.name].map(String::as_str);
        let [source, destination, name] = names.map(ToOwned::to_owned);
        Self {
            name: it.document.name.clone().into(),
            path: path(&Target::Mapping(source, destination, name)),
            enabled: it.document.enabled,
            revision: it.revision,
            trigger: it.document.trigger.clone().into(),
            url: match it.document.url.as_str() {
                Some(url) => url.into(),
                None => it.document.url.to_string().into(),
            },
            is_circuit_open: health.open_circuits.contains(&names.join("/")),
            is_paused: it.pause.as_ref().is_some_and(PauseView::is_paused),
            is_waiting: it.wait_until.is_some(),
            is_faulty: it.fault.is_some(),
        }
    }
}

/// The OAuth connection.
struct Connection {
    is_connected: bool,
    held: Option<String>,
    connected_at: Option<RelativeTime>,
    /// The consent that was just requested.
    consent: Option<Consent>,
}

/// A link to the authorization server.
struct Consent {
    url: String,
    host: String,
    expires_at: Option<RelativeTime>,
}

impl Consent {
    fn of(begun: Authorization, layout: &Layout) -> Self {
        let host = url::Url::parse(&begun.url).ok();
        let host = host.as_ref().and_then(url::Url::host_str).unwrap_or("the server");
        Self { host: host.to_owned(), expires_at: layout.time(&begun.expires_at), url: begun.url }
    }
}

#[derive(Template)]
#[template(path = "destination.html")]
struct DestinationPage {
    name: Untrusted,
    path: String,
    breadcrumbs: Vec<Breadcrumb>,
    deliveries: String,
    tag: String,
    enabled: bool,
    state: Badge,
    health: HealthView,
    success_rate: Option<String>,
    oldest_due: Option<RelativeTime>,
    connection: Option<Connection>,
    pause: Option<PauseView>,
    paused_since: Option<RelativeTime>,
    mappings: Vec<MappingRow>,
    /// What a deletion includes.
    deleted_with: Option<String>,
    /// When the previous shared secret stops signing.
    previous_secret_expires_at: Option<RelativeTime>,
    edit: DestinationForm,
    layout: Layout,
}

/// The page that creates a destination.
#[derive(Template)]
#[template(path = "destination_new.html")]
struct NewDestinationPage {
    path: String,
    breadcrumbs: Vec<Breadcrumb>,
    parent: String,
    edit: DestinationForm,
    layout: Layout,
}

impl DestinationPage {
    /// Loads the page around a form.
    async fn load(
        context: PageContext<'_>,
        target: &Target,
        edit: DestinationForm,
    ) -> Result<Self, PageError> {
        let PageContext { web, caller, layout, .. } = context;
        let version = web.service.detail(caller, target).await?;
        let detail = destination(version.detail)?;
        let of_destination = [("destination".to_owned(), detail.id.clone())];
        let mappings = web.service.mappings(caller, &of_destination).await?.items;
        let health = web.service.destination_health(caller, target).await?;
        let pipeline = web.service.pipeline(caller).await?;
        let connection = detail.connection.as_ref().map(|it| Connection {
            is_connected: it.connected,
            held: it.held.clone(),
            connected_at: it.connected_at.as_deref().and_then(|at| layout.time(at)),
            consent: None,
        });
        let count = u64::try_from(mappings.len()).unwrap_or(u64::MAX);
        let success_rate = health.last_hour.success_permille;
        Ok(Self {
            name: target.name().into(),
            path: path(target),
            breadcrumbs: breadcrumbs(target),
            deliveries: with_query("/deliveries", [("destination", health.destination.as_str())]),
            enabled: detail.document.enabled,
            state: state(&detail, &health),
            success_rate: success_rate.map(|it| percent(Some(it))),
            oldest_due: health.oldest_due_at.as_deref().and_then(|at| layout.time(at)),
            connection,
            paused_since: detail.pause.as_ref().and_then(|it| layout.time(&it.since)),
            pause: detail.pause,
            mappings: mappings.iter().map(|it| MappingRow::of(it, &health)).collect(),
            health,
            deleted_with: (count > 0).then(|| counted(count, "mapping", "mappings")),
            previous_secret_expires_at: previous_secret_expiry(&pipeline, target, web)
                .map(|at| layout.time_at(at)),
            edit,
            tag: version.tag,
            layout,
        })
    }
}

/// The detail of a destination.
fn destination(detail: Detail) -> Result<DestinationDetail, PageError> {
    match detail {
        Detail::Destination(detail) => Ok(*detail),
        Detail::Source(_) | Detail::Mapping(_) => Err(PageError::not_found("such destination")),
    }
}

fn state(detail: &DestinationDetail, health: &HealthView) -> Badge {
    if !detail.document.enabled {
        Badge::new("disabled", "idle")
    } else if detail.pause.as_ref().is_some_and(PauseView::is_paused) {
        Badge::new("paused", "warn")
    } else if health.held.is_some() {
        Badge::new("held", "warn")
    } else if !health.open_circuits.is_empty() {
        Badge::new("circuit open", "bad")
    } else {
        Badge::new("enabled", "good")
    }
}

/// When the shared secret that was rotated out stops signing.
fn previous_secret_expiry(pipeline: &Pipeline, target: &Target, web: &Web) -> Option<Timestamp> {
    let id = match target.find(pipeline)? {
        Found::Destination(destination) => destination.id,
        Found::Source(_) | Found::Mapping(_) => return None,
    };
    let secrets = pipeline.shared_secrets.iter().filter(|it| it.destination_id == id);
    let clock = &web.service.clock;
    let now = clock.service_now();
    let expiry = secrets.filter_map(|it| it.secret.retires_at).find(|at| *at > now);
    expiry.map(|at| clock.to_wall(at))
}

impl Editor for DestinationForm {
    const FIELDS: &'static [&'static str] = &FIELDS;

    fn blank() -> Self {
        Self::blank()
    }

    fn stored(version: Tagged) -> Result<Self, PageError> {
        Ok(Self::stored(destination(version.detail)?.document, &version.tag))
    }

    fn submitted(form: Form, current: Option<Tagged>) -> Result<Self, PageError> {
        let current = current.map(|version| destination(version.detail)).transpose()?;
        Ok(Self::submitted(form, current.map(|it| it.document))?)
    }

    fn form(&mut self) -> &mut Form {
        &mut self.form
    }

    fn document(&mut self) -> Value {
        self.document()
    }

    fn generated_secret(&self) -> Option<&SecretString> {
        self.generated.as_ref()
    }

    fn saved(_: &Detail, _: &Detail) -> Flash {
        Flash::good("Saved.")
    }

    async fn page(self, context: PageContext<'_>, target: &Target) -> Result<Response, PageError> {
        let status = status(&self.form);
        page_with(status, &DestinationPage::load(context, target, self).await?)
    }

    async fn new_page(
        self,
        context: PageContext<'_>,
        parent: Option<&Target>,
    ) -> Result<Response, PageError> {
        let source = parent.ok_or_else(|| PageError::not_found("source"))?;
        let parent = path(source);
        let page = NewDestinationPage {
            path: format!("{parent}/new"),
            breadcrumbs: breadcrumbs_to(source),
            parent,
            edit: self,
            layout: context.layout,
        };
        page_with(status(&page.edit.form), &page)
    }
}

/// Requests consent. The page then links to the authorization server: the content security policy
/// forbids forms to lead to other sites.
pub(super) async fn connect(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(operator): Require<Operator>,
    PathTarget(target): PathTarget,
    Path(names): Path<Names>,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    // Another flow of this browser may be under way: it keeps its value.
    let browser = match Name::Connect.read(&headers, web.is_secure()) {
        Some(kept) if !kept.is_empty() => kept,
        Some(_) | None => generate("")?.expose_secret().to_owned(),
    };
    let begun = web.service.connect(&operator, &names, &browser).await?;
    let version = web.service.detail(&operator, &target).await?;
    let edit = <DestinationForm as Editor>::stored(version)?;
    let context = PageContext::of(&web, &operator, layout);
    let mut loaded = DestinationPage::load(context, &target, edit).await?;
    let consent = Consent::of(begun, &loaded.layout);
    if let Some(connection) = &mut loaded.connection {
        connection.consent = Some(consent);
    }
    let mut response = page(&loaded)?;
    Name::Connect.set(&mut response, web.is_secure(), &browser);
    Ok(response)
}

pub(super) async fn disconnect(
    State(web): State<Arc<Web>>,
    Require(operator): Require<Operator>,
    PathTarget(target): PathTarget,
    Path(names): Path<Names>,
) -> Result<SeeOther, PageError> {
    web.service.disconnect(&operator, &names).await?;
    let flash = Flash::good("Disconnected: deliveries are held until it is connected again.");
    Ok(SeeOther::to(path(&target)).with_flash(flash))
}
