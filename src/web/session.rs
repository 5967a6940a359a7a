//! Signing in with a token, and out. A session is a random cookie; what it stands for is held here
//! under the cookie's digest. It ends when it was not used for a while, when it is old, when its token
//! ends or is revoked, and when the process does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use askama::Template;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret as _;

use super::Web;
use super::cookie::Name;
use super::failure::Failure;
use super::form::{Asked, Form, address};
use super::shell::{Flash, Moved, Shell, page, page_with};
use crate::auth::{Peer, Refusal};
use crate::domain::auth::Caller;
use crate::domain::clock::Timestamp;
use crate::domain::id::TokenId;
use crate::settings::secrets::{digest, generate};

/// How long a session lasts without being used.
const IDLE: Duration = Duration::from_secs(8 * 60 * 60);
/// How long it lasts at most.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Sessions held at most; the one that was not used for the longest time goes first.
const MOST: usize = 10_000;

/// Where a reader who has not signed in is sent.
const SIGN_IN: &str = "/sign-in";

#[derive(Clone, Copy, Debug)]
struct Session {
    token_id: TokenId,
    opened_at: Timestamp,
    used_at: Timestamp,
}

impl Session {
    fn has_ended(&self, now: Timestamp) -> bool {
        now.since(self.used_at) >= IDLE || now.since(self.opened_at) >= LONGEST
    }
}

/// The sessions of this process, by the digest of their cookies.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    open: Mutex<HashMap<[u8; 32], Session>>,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, cookie: &str, token_id: TokenId, now: Timestamp) {
        let mut open = self.lock();
        if open.len() >= MOST {
            open.retain(|_, session| !session.has_ended(now));
        }
        if open.len() >= MOST {
            let oldest = open.iter().min_by_key(|(_, session)| session.used_at);
            if let Some(key) = oldest.map(|(key, _)| *key) {
                open.remove(&key);
            }
        }
        open.insert(digest(cookie), Session { token_id, opened_at: now, used_at: now });
    }

    /// The token of a session that goes on, which counts as a use of it.
    fn token_of(&self, cookie: &str, now: Timestamp) -> Option<TokenId> {
        let mut open = self.lock();
        let key = digest(cookie);
        let session = open.get_mut(&key)?;
        if session.has_ended(now) {
            open.remove(&key);
            return None;
        }
        session.used_at = session.used_at.max(now);
        Some(session.token_id)
    }

    /// Whether the session of this digest goes on. To ask is no use of it.
    fn goes_on(&self, key: &[u8; 32], now: Timestamp) -> bool {
        self.lock().get(key).is_some_and(|session| !session.has_ended(now))
    }

    fn close(&self, cookie: &str) {
        self.lock().remove(&digest(cookie));
    }
}

impl Web {
    /// Who sent a request with our cookie; none when the session is over.
    pub(super) fn caller(&self, request: &Request) -> Option<Caller> {
        let cookie = Name::Session.read(request.headers(), self.is_secure())?;
        let token_id = self.sessions.token_of(&cookie, self.now())?;
        let from = request.extensions().get::<Peer>().copied();
        let caller = self.service.authenticator.admit_again(token_id, from);
        if caller.is_err() {
            self.sessions.close(&cookie);
        }
        caller.ok()
    }

    /// Tells, as often as it is asked, whether the session that a request came in goes on.
    pub(super) fn session_of(
        self: &Arc<Self>,
        headers: &HeaderMap,
    ) -> impl Fn() -> bool + Send + Sync + 'static {
        let key = Name::Session.read(headers, self.is_secure()).map(|cookie| digest(&cookie));
        let web = Arc::clone(self);
        move || key.is_some_and(|key| web.sessions.goes_on(&key, web.now()))
    }
}

/// Lets only those pass who have signed in; others are asked to, and come back to where they wanted.
pub(super) async fn require(shell: Shell, request: Request, next: Next) -> Response {
    if shell.caller.is_some() {
        return next.run(request).await;
    }
    if request.method() != axum::http::Method::GET {
        return Failure::unknown_caller().into_response();
    }
    let wanted = request.uri().path_and_query().map_or("/", |it| it.as_str());
    let wanted = if wanted == "/" { "" } else { wanted };
    Moved::to(address(SIGN_IN, [("next", wanted)])).into_response()
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    shell: Shell,
    next: String,
    fault: Option<String>,
}

pub(super) async fn ask(shell: Shell, Asked(asked): Asked) -> Result<Response, Failure> {
    let next = local(asked.text("next"));
    if shell.caller.is_some() {
        return Ok(Moved::to(next).into_response());
    }
    page(&SignInPage { shell, next, fault: None })
}

pub(super) async fn sign_in(
    State(web): State<Arc<Web>>,
    shell: Shell,
    request: Request,
) -> Result<Response, Failure> {
    let from = request.extensions().get::<Peer>().copied();
    let former = Name::Session.read(request.headers(), web.is_secure());
    let form = <Form as axum::extract::FromRequest<()>>::from_request(request, &()).await?;
    let next = local(form.text("next"));
    let caller = match form.filled("token") {
        Some(token) => web.service.authenticator.sign_in(token, from).await,
        None => Err(Refusal::Unknown),
    };
    let caller = match caller {
        Ok(caller) => caller,
        Err(refusal) => {
            tracing::warn!(from = ?from.map(|Peer(address)| address), %refusal, "sign-in refused");
            // What was typed is not sent back: it may be a token of another service.
            let fault = Some(match refusal {
                Refusal::Unknown => "No token like this is in force here.".to_owned(),
                Refusal::Expired => "This token has expired.".to_owned(),
            });
            return page_with(StatusCode::FORBIDDEN, &SignInPage { shell, next, fault });
        }
    };
    // A session never outlives another sign-in in the same browser, nor keeps its cookie.
    if let Some(former) = former {
        web.sessions.close(&former);
    }
    let cookie = generate("ses_")?;
    web.sessions.open(cookie.expose_secret(), caller.token_id, web.now());
    let mut response = Moved::to(next).into_response();
    Name::Session.set(&mut response, web.is_secure(), cookie.expose_secret());
    Ok(response)
}

pub(super) async fn sign_out(
    State(web): State<Arc<Web>>,
    shell: Shell,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let secure = web.is_secure();
    if let Some(cookie) = Name::Session.read(&headers, secure) {
        web.sessions.close(&cookie);
    }
    if let Some(caller) = &shell.caller {
        web.service.authenticator.sign_out(caller).await;
    }
    let told = Flash::good("You are signed out.");
    let mut response = Moved::to(SIGN_IN).telling(told).into_response();
    Name::Session.clear(&mut response, secure);
    Ok(response)
}

/// A path of ours to go to; whatever might lead elsewhere becomes the overview.
fn local(next: &str) -> String {
    let stays = next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains(|c: char| c == '\\' || c.is_control())
        && http::uri::PathAndQuery::try_from(next).is_ok();
    if stays { next.to_owned() } else { "/".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    #[test]
    fn a_session_ends_when_idle_and_when_old() {
        let sessions = Sessions::default();
        sessions.open("a", TokenId(1), START);
        assert_eq!(sessions.token_of("b", START), None);
        let almost = START + (IDLE - Duration::from_secs(1));
        assert_eq!(sessions.token_of("a", almost), Some(TokenId(1)));
        assert!(sessions.goes_on(&digest("a"), almost));
        assert!(!sessions.goes_on(&digest("a"), almost + IDLE));
        assert_eq!(sessions.token_of("a", almost + IDLE), None);
        sessions.open("c", TokenId(2), START);
        let mut now = START;
        while now.since(START) < LONGEST {
            assert_eq!(sessions.token_of("c", now), Some(TokenId(2)));
            now = now + Duration::from_secs(3_600);
        }
        assert_eq!(sessions.token_of("c", now), None);
    }

    #[test]
    fn sessions_are_bounded_and_the_longest_unused_goes_first() {
        let sessions = Sessions::default();
        for number in 0..=MOST {
            let now = START + Duration::from_millis(u64::try_from(number).unwrap());
            sessions.open(&number.to_string(), TokenId(1), now);
        }
        assert_eq!(sessions.lock().len(), MOST);
        assert_eq!(sessions.token_of("0", START), None);
        assert!(sessions.token_of("1", START).is_some());
    }

    #[test]
    fn nobody_is_led_elsewhere() {
        for next in
            ["", "//evil.example", "/\\evil.example", "https://evil.example", "evil", "/a\nb"]
        {
            assert_eq!(local(next), "/", "{next:?}");
        }
        assert_eq!(local("/deliveries?state=dead"), "/deliveries?state=dead");
    }
}
