//! Authorizes and sends one request by its destination's settings. When the receiver answers 401 to a
//! token, the token is renewed once and the request sent again, within the attempt's timeout.

use std::time::Instant;

use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use super::context::Context;
use super::renderer::PrepareError;
use crate::domain::attempt::Outcome;
use crate::domain::error_chain;
use crate::domain::outbound_auth::Auth;
use crate::outbound_auth::AuthError;
use crate::routing::MappingRoute;
use crate::sender::{Exchange, SignedRequest};

impl Context {
    /// Adds the destination's secret headers and token, marked as sensitive. Fails when no token can be
    /// obtained: no request is sent without it.
    pub(super) async fn authorize(
        &self,
        route: &MappingRoute,
        headers: &mut HeaderMap,
    ) -> Result<(), PrepareError> {
        add_secret_headers(route, headers);
        if route.settings.auth != Auth::None {
            let timeout = route.settings.timeout();
            let token = self.parts.auth.token(route.destination_id, timeout).await;
            headers.insert(AUTHORIZATION, token.map_err(|fault| unauthorized(&fault))?);
        }
        Ok(())
    }

    /// Sends a signed and authorized request. Secrets that the receiver echoes are masked.
    pub(super) async fn send(&self, route: &MappingRoute, outgoing: SignedRequest) -> Exchange {
        if route.settings.auth == Auth::None && route.secret_headers.is_empty() {
            return self.parts.sender.send(outgoing).await;
        }
        let started = Instant::now();
        let resend = route.settings.auth.client().is_some().then(|| SignedRequest {
            method: outgoing.method.clone(),
            url: outgoing.url.clone(),
            headers: outgoing.headers.clone(),
            body: outgoing.body.clone(),
            timeout: outgoing.timeout,
            multistatus_bytes: outgoing.multistatus_bytes,
        });
        let mut secrets = secret_values(&outgoing.headers);
        let mut exchange = self.parts.sender.send(outgoing).await;
        if let Some(mut resend) = resend
            && exchange.status == Some(StatusCode::UNAUTHORIZED.as_u16())
            && let Some(refused) = resend.headers.get(AUTHORIZATION).cloned()
        {
            let timeout = route.settings.timeout();
            match self.parts.auth.renew(route.destination_id, timeout, &refused).await {
                Ok(Some(token)) => {
                    resend.headers.insert(AUTHORIZATION, token);
                    resend.timeout = resend.timeout.saturating_sub(exchange.duration);
                    secrets.extend(secret_values(&resend.headers));
                    exchange = self.parts.sender.send(resend).await;
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

/// Adds an empty token in the place of [`Context::authorize`]'s, for a preview: no token is requested.
pub(super) fn add_placeholder_authorization(route: &MappingRoute, headers: &mut HeaderMap) {
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

fn unauthorized(error: &AuthError) -> PrepareError {
    PrepareError { outcome: Outcome::Auth, error: error_chain::display(error) }
}

/// The secrets in a request's headers: sensitive values, without the `Bearer` scheme.
fn secret_values(headers: &HeaderMap) -> Vec<String> {
    let sensitive = headers.values().filter(|value| value.is_sensitive());
    let texts = sensitive.filter_map(|value| value.to_str().ok());
    texts.map(|text| text.strip_prefix("Bearer ").unwrap_or(text).to_owned()).collect()
}
