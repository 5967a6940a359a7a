//! What is around every page: who looks, where, when, and what was just done. Made before a handler
//! runs, taken by it as an argument, and handed to its template.

use std::convert::Infallible;
use std::sync::Arc;

use askama::Template;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use super::Web;
use super::cookie::Name;
use super::failure::{self, Failure};
use super::menu::{Entry, Group, MENU};
use super::moment::Moment;
use crate::domain::auth::{Admin, Caller, Operator, Role};
use crate::domain::clock::Timestamp;

/// What every template gets.
#[derive(Clone, Debug)]
pub(super) struct Shell {
    /// Where assets are.
    pub(super) assets: Arc<str>,
    /// Who looks; none on pages before the sign-in.
    pub(super) caller: Option<Caller>,
    /// The page's path.
    pub(super) path: String,
    /// What was just done.
    pub(super) flash: Option<Flash>,
    /// When the page is made.
    pub(super) now: Timestamp,
}

impl Shell {
    pub(super) fn made_at_ms(&self) -> i64 {
        self.now.as_micros().div_euclid(1_000)
    }

    pub(super) fn menu(&self) -> &'static [Group] {
        MENU
    }

    pub(super) fn is_at(&self, entry: &Entry) -> bool {
        entry.holds(&self.path)
    }

    /// Who looks, in words.
    pub(super) fn who(&self) -> (&str, &'static str) {
        self.caller.as_ref().map_or(("", ""), |it| (it.name.as_str(), it.role.as_str()))
    }

    /// Whether this role's buttons are shown.
    pub(super) fn may(&self, role: Role) -> bool {
        self.caller.as_ref().is_some_and(|caller| caller.role.covers(role))
    }

    pub(super) fn may_operate(&self) -> bool {
        self.may(Role::Operator)
    }

    pub(super) fn may_administer(&self) -> bool {
        self.may(Role::Admin)
    }

    /// Whether buttons are shown for what concerns every destination, which a limited token may not do.
    fn reaches_everything(&self) -> bool {
        self.caller.as_ref().is_some_and(|caller| caller.reaches_everything().is_ok())
    }

    pub(super) fn may_operate_everything(&self) -> bool {
        self.may_operate() && self.reaches_everything()
    }

    pub(super) fn may_administer_everything(&self) -> bool {
        self.may_administer() && self.reaches_everything()
    }

    /// A time as the service's views have it, seen from now.
    pub(super) fn told(&self, iso: &str) -> Option<Moment> {
        Timestamp::parse_iso(iso).map(|at| self.moment(at))
    }

    pub(super) fn moment(&self, at: Timestamp) -> Moment {
        Moment { at, now: self.now }
    }
}

/// Who looks, in the role that the handler needs: one that takes an [`Operator`] or an [`Admin`] is
/// only run for one.
#[derive(Clone, Debug)]
pub(super) struct As<R>(pub(super) R);

impl<S: Sync> FromRequestParts<S> for As<Caller> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        caller(parts).cloned().map(Self)
    }
}

impl<S: Sync> FromRequestParts<S> for As<Operator> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        Ok(Self(caller(parts)?.operator()?))
    }
}

impl<S: Sync> FromRequestParts<S> for As<Admin> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        Ok(Self(caller(parts)?.admin()?))
    }
}

fn caller(parts: &Parts) -> Result<&Caller, Failure> {
    let shell = parts.extensions.get::<Shell>();
    shell.and_then(|shell| shell.caller.as_ref()).ok_or_else(Failure::unknown_caller)
}

impl<S: Send + Sync> FromRequestParts<S> for Shell {
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

/// What is told once, on the next page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flash {
    /// `good`, `warn` or `bad`.
    pub(super) tone: &'static str,
    pub(super) text: String,
}

impl Flash {
    /// What was asked for was done.
    pub(super) fn good(text: impl Into<String>) -> Self {
        Self { tone: "good", text: text.into() }
    }

    /// It was not, or not all of it.
    pub(super) fn warn(text: impl Into<String>) -> Self {
        Self { tone: "warn", text: text.into() }
    }

    fn to_cookie(&self) -> String {
        format!("{}:{}", self.tone, self.text)
    }

    fn of_cookie(value: &str) -> Option<Self> {
        let (tone, text) = value.split_once(':')?;
        let tone = ["good", "warn", "bad"].into_iter().find(|known| *known == tone)?;
        Some(Self { tone, text: text.to_owned() })
    }
}

/// Where a browser goes after something was done, and what it is told there.
#[derive(Clone, Debug)]
pub(super) struct Moved {
    pub(super) to: String,
    pub(super) flash: Option<Flash>,
}

impl Moved {
    /// To a path of ours.
    pub(super) fn to(path: impl Into<String>) -> Self {
        Self { to: path.into(), flash: None }
    }

    pub(super) fn telling(self, flash: Flash) -> Self {
        Self { flash: Some(flash), ..self }
    }
}

impl IntoResponse for Moved {
    fn into_response(self) -> Response {
        let mut response = Redirect::to(&self.to).into_response();
        if let Some(flash) = self.flash {
            response.extensions_mut().insert(flash);
        }
        response
    }
}

/// A page, rendered.
///
/// # Errors
/// [`Failure`] when the template fails.
pub(super) fn page(template: &impl Template) -> Result<Response, Failure> {
    page_with(StatusCode::OK, template)
}

/// A page with another status than 200: a form that was refused.
///
/// # Errors
/// [`Failure`] when the template fails.
pub(super) fn page_with(status: StatusCode, template: &impl Template) -> Result<Response, Failure> {
    let html = template.render()?;
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    Ok((status, [(header::CONTENT_TYPE, kind)], html).into_response())
}

/// Finds out who asks, has the request answered, and makes pages of what failed.
pub(super) async fn surround(
    State(web): State<Arc<Web>>,
    mut request: Request,
    next: Next,
) -> Response {
    let secure = web.is_secure();
    let told = Name::Flash.read(request.headers(), secure);
    let shell = Shell {
        assets: web.assets.base(),
        caller: web.caller(&request),
        path: request.uri().path().to_owned(),
        flash: told.as_deref().and_then(Flash::of_cookie),
        now: web.now(),
    };
    request.extensions_mut().insert(shell.clone());
    let mut response = next.run(request).await;
    // What was told stays told only where a page showed it.
    let showed = response.status() != StatusCode::SEE_OTHER;
    if told.is_some() && showed {
        Name::Flash.clear(&mut response, secure);
    }
    if let Some(flash) = response.extensions_mut().remove::<Flash>() {
        Name::Flash.set(&mut response, secure, &flash.to_cookie());
    }
    failure::shown(&web, shell, response)
}
