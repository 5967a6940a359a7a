//! What the pages of sources, destinations and mappings share: where each is, and what is done alike to
//! all of them. What was refused stays in its form, with what is wrong beside it.

use std::sync::Arc;

use askama::Template;
use axum::extract::{FromRequestParts, RawPathParams, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::Web;
use super::failure::Failure;
use super::form::Form;
use super::shell::{As, Flash, Moved, Shell, page};
use super::text::{Outside, encoded};
use crate::domain::auth::Admin;
use crate::pipeline::{Change, Changed, Guard, Target};
use crate::service::Refusal;

/// The field under which a form carries the tag of what it was made from.
pub(super) const TAG: &str = "tag";
/// Where a fault stands that is about the whole: it was changed meanwhile.
pub(super) const STALE: &str = "stale";

/// The source, destination or mapping that a path names.
#[derive(Clone, Debug)]
pub(super) struct At(pub(super) Target);

impl<S: Send + Sync> FromRequestParts<S> for At {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let names = RawPathParams::from_request_parts(parts, state).await;
        let names = names.map_err(|error| Failure::malformed(error.body_text()))?;
        let names = names.iter().map(|(_, name)| name.to_owned());
        let target = Target::at(names).ok_or_else(|| Failure::not_found("such page"))?;
        Ok(Self(target))
    }
}

/// Where the page of a target is.
pub(super) fn path(target: &Target) -> String {
    let below = target.parent().map(|parent| path(&parent)).unwrap_or_default();
    let kind = match target {
        Target::Source(_) => "sources",
        Target::Destination(..) => "destinations",
        Target::Mapping(..) => "mappings",
    };
    format!("{below}/{kind}/{}", encoded(target.name()))
}

/// A link on the way down to a page.
pub(super) struct Crumb {
    pub(super) name: Outside,
    pub(super) path: String,
}

/// What a target is in, from its source down.
pub(super) fn crumbs(target: &Target) -> Vec<Crumb> {
    let Some(parent) = target.parent() else { return Vec::new() };
    let mut crumbs = crumbs(&parent);
    crumbs.push(Crumb { name: parent.name().into(), path: path(&parent) });
    crumbs
}

/// Saves what a form says of a target, new or as it was when the form was made. None when it was
/// refused: the form then holds why, each fault at that of its `fields` which it concerns.
pub(super) async fn save(
    web: &Web,
    admin: &Admin,
    target: &Target,
    document: Value,
    (form, fields): (&mut Form, &[&str]),
) -> Result<Option<Changed>, Failure> {
    let guard = match form.filled(TAG) {
        Some(tag) => Guard::Tagged(vec![tag.to_owned()]),
        None => Guard::New,
    };
    match web.service.change(admin, target, &guard, Change::Put(document)).await {
        Ok(changed) => return Ok(Some(changed)),
        Err(Refusal::Invalid(faults)) => form.place_faults(fields, faults),
        Err(Refusal::Conflict(words)) => form.fault("name", words),
        Err(Refusal::Stale(words)) => form.fault(STALE, words),
        Err(refusal) => return Err(refusal.into()),
    }
    Ok(None)
}

/// The status of a page with this form.
pub(super) fn status(form: &Form) -> StatusCode {
    if form.is_right() {
        StatusCode::OK
    } else if form.field(STALE).fault.is_some() {
        StatusCode::PRECONDITION_FAILED
    } else {
        StatusCode::BAD_REQUEST
    }
}

/// On the condition that nobody changed it since the page was made.
fn as_it_was(form: &Form) -> Guard {
    Guard::Tagged(vec![form.text(TAG).to_owned()])
}

/// Enables or disables.
pub(super) async fn switch(
    State(web): State<Arc<Web>>,
    As(admin): As<Admin>,
    At(target): At,
    form: Form,
) -> Result<Moved, Failure> {
    let enabled = form.text("enabled") == "true";
    let change = Change::Patch(json!({"enabled": enabled}));
    web.service.change(&admin, &target, &Guard::Present, change).await?;
    let words = match (&target, enabled) {
        (Target::Source(_), true) => "takes events again",
        (Target::Source(_), false) => "refuses events from now on",
        (_, true) => "takes events again, and what was held goes out in a fresh window",
        (_, false) => "gets nothing new from now on, and what is pending is held",
    };
    let told = Flash::good(format!("{} {words}.", target.name()));
    Ok(Moved::to(path(&target)).telling(told))
}

/// Removes, with all that is below.
pub(super) async fn remove(
    State(web): State<Arc<Web>>,
    As(admin): As<Admin>,
    At(target): At,
    form: Form,
) -> Result<Moved, Failure> {
    web.service.change(&admin, &target, &as_it_was(&form), Change::Remove).await?;
    let above = target.parent().map_or("/sources".to_owned(), |parent| path(&parent));
    let told = Flash::good(format!("Removed: {target}."));
    Ok(Moved::to(above).telling(told))
}

/// Makes another write key or shared secret, and shows it.
pub(super) async fn rotate(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(admin): As<Admin>,
    At(target): At,
    form: Form,
) -> Result<Response, Failure> {
    let changed = web.service.change(&admin, &target, &as_it_was(&form), Change::Rotate).await?;
    match changed.secret {
        Some(secret) => reveal(&web, shell, &target, &secret),
        None => Err(Failure::conflict("No secret was made.")),
    }
}

/// What the snippets are made with that send to a source.
pub(super) struct SendWith {
    pub(super) key: String,
    pub(super) base: String,
    /// The address without its protocol, and that.
    pub(super) host: String,
    pub(super) protocol: String,
}

impl SendWith {
    pub(super) fn of(base: &str, key: &str) -> Self {
        let (protocol, host) = base.split_once("://").unwrap_or(("https", base));
        Self {
            key: key.to_owned(),
            base: base.to_owned(),
            host: host.to_owned(),
            protocol: protocol.to_owned(),
        }
    }
}

#[derive(Template)]
#[template(path = "secret.html")]
struct SecretPage {
    name: Outside,
    path: String,
    crumbs: Vec<Crumb>,
    /// What it is: a write key, or what requests are signed with.
    is_key: bool,
    secret: String,
    with: SendWith,
    /// How long the secret before it signs as well, in hours.
    overlap_h: u32,
    shell: Shell,
}

/// The page on which a secret is shown, this once.
pub(super) fn reveal(
    web: &Web,
    shell: Shell,
    target: &Target,
    secret: &SecretString,
) -> Result<Response, Failure> {
    page(&SecretPage {
        name: target.name().into(),
        path: path(target),
        crumbs: crumbs(target),
        is_key: matches!(target, Target::Source(_)),
        secret: secret.expose_secret().to_owned(),
        with: SendWith::of(&web.service.base_url, secret.expose_secret()),
        overlap_h: web.service.settings.secret_overlap_hours,
        shell,
    })
}
