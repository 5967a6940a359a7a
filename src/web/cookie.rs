//! The two cookies: who has signed in, and what is to be told on the next page. Both are out of reach
//! of scripts and stay on this site; over TLS they have the prefix that binds them to this host.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use cookie::{Cookie, CookieBuilder, SameSite};

/// A cookie of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// Who has signed in.
    Session,
    /// What is told on the next page.
    Flash,
}

impl Name {
    const fn of(self, secure: bool) -> &'static str {
        match (self, secure) {
            (Self::Session, false) => "postrider_session",
            (Self::Session, true) => "__Host-postrider_session",
            (Self::Flash, false) => "postrider_flash",
            (Self::Flash, true) => "__Host-postrider_flash",
        }
    }

    /// What a request brought under it.
    pub(super) fn read(self, headers: &HeaderMap, secure: bool) -> Option<String> {
        let wanted = self.of(secure);
        let texts = headers.get_all(header::COOKIE).into_iter().filter_map(|it| it.to_str().ok());
        let mut cookies = texts.flat_map(|text| Cookie::split_parse_encoded(text).flatten());
        cookies.find(|cookie| cookie.name() == wanted).map(|cookie| cookie.value().to_owned())
    }

    /// Has the browser keep a value until it is closed or told otherwise.
    pub(super) fn set(self, response: &mut Response, secure: bool, value: &str) {
        put(response, self.baked(secure, value.to_owned()));
    }

    /// Has the browser forget it.
    pub(super) fn clear(self, response: &mut Response, secure: bool) {
        put(response, self.baked(secure, String::new()).max_age(cookie::time::Duration::ZERO));
    }

    fn baked(self, secure: bool, value: String) -> CookieBuilder<'static> {
        // Lax, so that a link from a chat or an alert opens the page; nothing is changed by a GET.
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
