//! The page that shows a new write key or shared secret, once.

use askama::Template;
use axum::response::Response;
use secrecy::{ExposeSecret as _, SecretString};

use super::super::error::PageError;
use super::super::layout::{Layout, page};
use super::super::state::Web;
use super::super::untrusted::Untrusted;
use super::target::{Breadcrumb, breadcrumbs_to, path};
use crate::pipeline::Target;

/// The values of the code snippets that send events to a source.
pub(super) struct SendSnippets {
    pub(super) key: String,
    pub(super) base: String,
    /// The base URL without its scheme.
    pub(super) host: String,
    /// The scheme of the base URL.
    pub(super) protocol: String,
}

impl SendSnippets {
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
    name: Untrusted,
    path: String,
    breadcrumbs: Vec<Breadcrumb>,
    /// Whether it is a write key rather than a shared secret.
    is_write_key: bool,
    secret: String,
    snippets: SendSnippets,
    /// Hours for which the previous shared secret keeps signing.
    overlap_h: u32,
    layout: Layout,
}

/// Shows a secret, once.
pub(super) fn reveal(
    web: &Web,
    layout: Layout,
    target: &Target,
    secret: &SecretString,
) -> Result<Response, PageError> {
    page(&SecretPage {
        name: target.name().into(),
        path: path(target),
        breadcrumbs: breadcrumbs_to(target),
        is_write_key: matches!(target, Target::Source(_)),
        secret: secret.expose_secret().to_owned(),
        snippets: SendSnippets::of(&web.service.base_url, secret.expose_secret()),
        overlap_h: web.service.settings.secret_overlap_hours,
        layout,
    })
}
