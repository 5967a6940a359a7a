//! The session and flash cookies: `HttpOnly`, `SameSite=Lax`, and over TLS `Secure` with the `__Host-`
//! prefix.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use cookie::{Cookie, CookieBuilder, SameSite};

/// A cookie of the UI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// The session.
    Session,
    /// The flash message for the next page.
    Flash,
    /// The browser that began an OAuth connection; the callback in the admin API reads it.
    Connect,
}

impl Name {
    const fn of(self, secure: bool) -> &'static str {
        match (self, secure) {
            (Self::Session, false) => "postrider_session",
            (Self::Session, true) => "__Host-postrider_session",
            (Self::Flash, false) => "postrider_flash",
            (Self::Flash, true) => "__Host-postrider_flash",
            (Self::Connect, false) => "postrider_connect",
            (Self::Connect, true) => "__Host-postrider_connect",
        }
    }

    /// The value in a request.
    pub(super) fn read(self, headers: &HeaderMap, secure: bool) -> Option<String> {
        let name = self.of(secure);
        let texts = headers.get_all(header::COOKIE).into_iter().filter_map(|it| it.to_str().ok());
        let mut cookies = texts.flat_map(|text| Cookie::split_parse_encoded(text).flatten());
        cookies.find(|cookie| cookie.name() == name).map(|cookie| cookie.value().to_owned())
    }

    /// Sets a session cookie.
    pub(super) fn set(self, response: &mut Response, secure: bool, value: &str) {
        put(response, self.build(secure, value.to_owned()));
    }

    /// Deletes the cookie.
    pub(super) fn clear(self, response: &mut Response, secure: bool) {
        put(response, self.build(secure, String::new()).max_age(cookie::time::Duration::ZERO));
    }

    fn build(self, secure: bool, value: String) -> CookieBuilder<'static> {
        // Lax, so that links from a chat or an alert open the page; GET requests change nothing.
        Cookie::build((self.of(secure), value))
            .path("/")
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(secure)
    }
}

fn put(response: &mut Response, cookie: CookieBuilder<'static>) {
    let text = cookie.build().encoded().to_string();
    if let Ok(value) = HeaderValue::from_str(&text) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}
