//! The layout around every page: caller, navigation, flash message and time of rendering. Handlers take
//! it as an extractor and pass it to their template.

use std::convert::Infallible;
use std::sync::Arc;

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::error::PageError;
use super::flash::Flash;
use super::navigation::{Entry, Group, NAVIGATION};
use super::time::RelativeTime;
use crate::domain::auth::{Caller, Role};
use crate::domain::clock::Timestamp;

/// The layout around a page; every template has it.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// The base path of assets.
    pub(super) assets: Arc<str>,
    /// The signed-in caller; none before the sign-in.
    pub(super) caller: Option<Caller>,
    /// The page's path.
    pub(super) path: String,
    /// The message that the previous request left.
    pub(super) flash: Option<Flash>,
    /// When the page is rendered.
    pub(super) now: Timestamp,
}

impl Layout {
    pub(super) fn rendered_at_ms(&self) -> i64 {
        self.now.as_micros().div_euclid(1_000)
    }

    pub(super) fn navigation(&self) -> &'static [Group] {
        NAVIGATION
    }

    pub(super) fn is_at(&self, entry: &Entry) -> bool {
        entry.contains(&self.path)
    }

    /// Name and role of the caller.
    pub(super) fn caller_name_and_role(&self) -> (&str, &'static str) {
        self.caller.as_ref().map_or(("", ""), |it| (it.name.as_str(), it.role.as_str()))
    }

    /// Whether to show the buttons of this role.
    pub(super) fn may(&self, role: Role) -> bool {
        self.caller.as_ref().is_some_and(|caller| caller.role.covers(role))
    }

    pub(super) fn may_operate(&self) -> bool {
        self.may(Role::Operator)
    }

    pub(super) fn may_administer(&self) -> bool {
        self.may(Role::Admin)
    }

    /// Whether buttons are shown for what items every destination, which a limited token may not do.
    fn is_unrestricted(&self) -> bool {
        self.caller.as_ref().is_some_and(|caller| caller.reaches_everything().is_ok())
    }

    pub(super) fn may_operate_everything(&self) -> bool {
        self.may_operate() && self.is_unrestricted()
    }

    pub(super) fn may_administer_everything(&self) -> bool {
        self.may_administer() && self.is_unrestricted()
    }

    /// An ISO time of a view, relative to now.
    pub(super) fn time(&self, iso: &str) -> Option<RelativeTime> {
        Timestamp::parse_iso(iso).map(|at| self.time_at(at))
    }

    pub(super) fn time_at(&self, at: Timestamp) -> RelativeTime {
        RelativeTime { at, now: self.now }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Layout {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(|| Self {
            assets: "".into(),
            caller: None,
            path: parts.uri.path().to_owned(),
            flash: None,
            now: Timestamp::from_micros(0),
        }))
    }
}

/// Renders a page with status 200.
///
/// # Errors
/// [`PageError`] when the template fails.
pub(super) fn page(template: &impl Template) -> Result<Response, PageError> {
    page_with(StatusCode::OK, template)
}

/// Renders a page with another status: a rejected form.
///
/// # Errors
/// [`PageError`] when the template fails.
pub(super) fn page_with(
    status: StatusCode,
    template: &impl Template,
) -> Result<Response, PageError> {
    let html = template.render()?;
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    Ok((status, [(header::CONTENT_TYPE, kind)], html).into_response())
}
