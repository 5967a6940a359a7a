//! Signing in with a token, and signing out; the middleware that requires a session.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret as _;

use super::cookies::Name;
use super::error::PageError;
use super::flash::{Flash, SeeOther};
use super::form::{Form, Query, with_query};
use super::layout::{Layout, page, page_with};
use super::state::Web;
use crate::auth::{AuthenticationError, Peer};
use crate::domain::auth::Caller;
use crate::settings::secrets::{digest, generate};

/// The sign-in page.
const SIGN_IN: &str = "/sign-in";

impl Web {
    /// The caller of a request, by its session cookie.
    pub(super) fn caller(&self, request: &Request) -> Option<Caller> {
        let cookie = Name::Session.read(request.headers(), self.is_secure())?;
        let token_id = self.sessions.touch(&cookie, self.service_now())?;
        let from = request.extensions().get::<Peer>().copied();
        let caller = self.service.authenticator.authenticate_session(token_id, from);
        if caller.is_err() {
            self.sessions.close(&cookie);
        }
        caller.ok()
    }

    /// A check whether the session of a request is still open.
    pub(super) fn session_of(
        self: &Arc<Self>,
        headers: &HeaderMap,
    ) -> impl Fn() -> bool + Send + Sync + 'static {
        let key = Name::Session.read(headers, self.is_secure()).map(|cookie| digest(&cookie));
        let web = Arc::clone(self);
        move || key.is_some_and(|key| web.sessions.is_open(&key, web.service_now()))
    }
}

/// Redirects requests without a session to the sign-in page, which returns to the requested path.
pub(super) async fn require(layout: Layout, request: Request, next: Next) -> Response {
    if layout.caller.is_some() {
        return next.run(request).await;
    }
    if request.method() != axum::http::Method::GET {
        return PageError::unknown_caller().into_response();
    }
    let requested = request.uri().path_and_query().map_or("/", |it| it.as_str());
    let requested = if requested == "/" { "" } else { requested };
    SeeOther::to(with_query(SIGN_IN, [("next", requested)])).into_response()
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    layout: Layout,
    next: String,
    fault: Option<String>,
}

pub(super) async fn form(layout: Layout, Query(query): Query) -> Result<Response, PageError> {
    let next = local_path(query.text("next"));
    if layout.caller.is_some() {
        return Ok(SeeOther::to(next).into_response());
    }
    page(&SignInPage { layout, next, fault: None })
}

pub(super) async fn sign_in(
    State(web): State<Arc<Web>>,
    layout: Layout,
    request: Request,
) -> Result<Response, PageError> {
    let from = request.extensions().get::<Peer>().copied();
    let previous = Name::Session.read(request.headers(), web.is_secure());
    let form = <Form as axum::extract::FromRequest<()>>::from_request(request, &()).await?;
    let next = local_path(form.text("next"));
    let caller = match form.non_empty("token") {
        Some(token) => web.service.authenticator.sign_in(token, from).await,
        None => Err(AuthenticationError::Unknown),
    };
    let caller = match caller {
        Ok(caller) => caller,
        Err(refusal) => {
            tracing::warn!(from = ?from.map(|Peer(address)| address), %refusal, "sign-in refused");
            // The input is not sent back: it may be a token of another service.
            let fault = Some(match refusal {
                AuthenticationError::Unknown => "Invalid token.".to_owned(),
                AuthenticationError::Expired => "This token has expired.".to_owned(),
            });
            return page_with(StatusCode::FORBIDDEN, &SignInPage { layout, next, fault });
        }
    };
    // A new sign-in closes the previous session of the browser.
    if let Some(previous) = previous {
        web.sessions.close(&previous);
    }
    let cookie = generate("ses_")?;
    web.sessions.open(cookie.expose_secret(), caller.token_id, web.service_now());
    let mut response = SeeOther::to(next).into_response();
    Name::Session.set(&mut response, web.is_secure(), cookie.expose_secret());
    Ok(response)
}

pub(super) async fn sign_out(
    State(web): State<Arc<Web>>,
    layout: Layout,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let secure = web.is_secure();
    if let Some(cookie) = Name::Session.read(&headers, secure) {
        web.sessions.close(&cookie);
    }
    if let Some(caller) = &layout.caller {
        web.service.authenticator.sign_out(caller).await;
    }
    let flash = Flash::good("Signed out.");
    let mut response = SeeOther::to(SIGN_IN).with_flash(flash).into_response();
    Name::Session.clear(&mut response, secure);
    Ok(response)
}

/// `next` if it is a path of this UI, otherwise the overview: prevents open redirects.
fn local_path(next: &str) -> String {
    let is_local = next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains(|c: char| c == '\\' || c.is_control())
        && http::uri::PathAndQuery::try_from(next).is_ok();
    if is_local { next.to_owned() } else { "/".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_after_sign_in_stays_on_this_site() {
        for next in
            ["", "//evil.example", "/\\evil.example", "https://evil.example", "evil", "/a\nb"]
        {
            assert_eq!(local_path(next), "/", "{next:?}");
        }
        assert_eq!(local_path("/deliveries?state=dead"), "/deliveries?state=dead");
    }
}
