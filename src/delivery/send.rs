//! One request under way: what a destination's settings say about how it is authorized and sent.
//! A token that a receiver refuses is renewed once and the request made once more, within the
//! attempt's time.

use std::time::Instant;

use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use super::Shared;
use super::renderer::Unprepared;
use crate::domain::attempt::Outcome;
use crate::domain::error_chain;
use crate::domain::outbound_auth::Auth;
use crate::outbound_auth::AuthError;
use crate::routing::MappingRoute;
use crate::sender::{Exchange, Outgoing};

impl Shared {
    /// Adds what the destination's requests are authorized by, marked as sensitive. Without a token
    /// there is no request.
    pub(super) async fn authorize(
        &self,
        route: &MappingRoute,
        headers: &mut HeaderMap,
    ) -> Result<(), Unprepared> {
        add_secret_headers(route, headers);
        if route.settings.auth != Auth::None {
            let timeout = route.settings.timeout();
            let token = self.parts.auth.token(route.destination_id, timeout).await;
            headers.insert(AUTHORIZATION, token.map_err(|fault| unauthorized(&fault))?);
        }
        Ok(())
    }

    /// Sends a signed and authorized request. What the receiver echoes of its secrets is masked.
    pub(super) async fn send(&self, route: &MappingRoute, outgoing: Outgoing) -> Exchange {
        if route.settings.auth == Auth::None && route.secret_headers.is_empty() {
            return self.parts.sender.send(outgoing).await;
        }
        let started = Instant::now();
        let again = route.settings.auth.client().is_some().then(|| Outgoing {
            method: outgoing.method.clone(),
            url: outgoing.url.clone(),
            headers: outgoing.headers.clone(),
            body: outgoing.body.clone(),
            timeout: outgoing.timeout,
            multistatus_bytes: outgoing.multistatus_bytes,
        });
        let mut secrets = secrets(&outgoing.headers);
        let mut exchange = self.parts.sender.send(outgoing).await;
        if let Some(mut again) = again
            && exchange.status == Some(StatusCode::UNAUTHORIZED.as_u16())
            && let Some(refused) = again.headers.get(AUTHORIZATION).cloned()
        {
            let timeout = route.settings.timeout();
            match self.parts.auth.renew(route.destination_id, timeout, &refused).await {
                Ok(Some(token)) => {
                    again.headers.insert(AUTHORIZATION, token);
                    again.timeout = again.timeout.saturating_sub(exchange.duration);
                    secrets.extend(self::secrets(&again.headers));
                    exchange = self.parts.sender.send(again).await;
                }
                Ok(None) => {}
                Err(fault) => {
                    let unauthorized = unauthorized(&fault);
                    exchange.outcome = unauthorized.outcome;
                    exchange.error = Some(format!("answered 401, and {}", unauthorized.error));
                }
            }
            exchange.duration = started.elapsed();
        }
        exchange.redact(secrets.iter().map(String::as_str));
        exchange
    }
}

/// Adds what stands where [`Shared::authorize`] would add something, for a request that is only shown: no
/// token is asked for.
pub(super) fn stand_in_for_authorization(route: &MappingRoute, headers: &mut HeaderMap) {
    add_secret_headers(route, headers);
    if route.settings.auth != Auth::None {
        let mut hidden = HeaderValue::from_static("");
        hidden.set_sensitive(true);
        headers.insert(AUTHORIZATION, hidden);
    }
}

fn add_secret_headers(route: &MappingRoute, headers: &mut HeaderMap) {
    for (name, value) in route.secret_headers.iter() {
        headers.insert(name.clone(), value.clone());
    }
}

fn unauthorized(error: &AuthError) -> Unprepared {
    Unprepared { outcome: Outcome::Auth, error: error_chain::display(error) }
}

/// What of a request's headers is secret: whole values, and tokens without the word before them.
fn secrets(headers: &HeaderMap) -> Vec<String> {
    let sensitive = headers.values().filter(|value| value.is_sensitive());
    let texts = sensitive.filter_map(|value| value.to_str().ok());
    texts.map(|text| text.strip_prefix("Bearer ").unwrap_or(text).to_owned()).collect()
}
