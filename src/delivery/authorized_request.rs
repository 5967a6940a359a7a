//! Authorizes and sends one request by its destination's settings. When the receiver answers 401 to a
//! token, the token is renewed once and the request sent again, within the attempt's timeout.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::ExposeSecret as _;
use url::Url;

use super::context::Context;
use super::renderer::PrepareError;
use crate::domain::attempt::Outcome;
use crate::domain::error_chain;
use crate::domain::outbound_auth::Auth;
use crate::outbound_auth::AuthError;
use crate::routing::MappingRoute;
use crate::sender::{Exchange, SignedRequest, masked_url};

impl Context {
    /// Adds the destination's secret headers and token, marked as sensitive, and its secret query
    /// parameters. Fails when no token can be obtained: no request is sent without it; and when the
    /// URL must not get credentials.
    pub(super) async fn authorize(
        &self,
        route: &MappingRoute,
        url: &mut Url,
        headers: &mut HeaderMap,
    ) -> Result<(), PrepareError> {
        if route.has_credentials() {
            let is_literal = route.compiled().literal_origins().is_some();
            let admitted = route.settings.admits_credentials(url, is_literal);
            admitted.map_err(|refused| PrepareError::new(Outcome::Address, refused.to_string()))?;
            add_secret_parameters(route, url);
        }
        add_secret_headers(route, headers);
        if route.settings.auth != Auth::None {
            let timeout = route.timeout();
            let token = self.parts.auth.token(route.destination_id, timeout).await;
            headers.insert(AUTHORIZATION, token.map_err(|fault| unauthorized(&fault))?);
        }
        Ok(())
    }

    /// Sends a signed and authorized request. Secrets that the receiver echoes are masked.
    pub(super) async fn send(&self, route: &MappingRoute, outgoing: SignedRequest) -> Exchange {
        if !route.has_credentials() {
            return self.parts.sender.send(outgoing).await;
        }
        let started = Instant::now();
        let resend = route.settings.auth.client().is_some().then(|| SignedRequest {
            method: outgoing.method.clone(),
            url: outgoing.url.clone(),
            headers: outgoing.headers.clone(),
            spellings: outgoing.spellings.clone(),
            body: outgoing.body.clone(),
            timeout: outgoing.timeout,
            multistatus_bytes: outgoing.multistatus_bytes,
        });
        let mut secrets = secret_values(&outgoing.headers);
        let parameters = route.secret_parameters.iter();
        secrets.extend(parameters.map(|(_, value)| value.expose_secret().to_owned()));
        let mut exchange = self.parts.sender.send(outgoing).await;
        if let Some(mut resend) = resend
            && exchange.status == Some(StatusCode::UNAUTHORIZED.as_u16())
            && let Some(refused) = resend.headers.get(AUTHORIZATION).cloned()
        {
            let timeout = route.timeout();
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
                    exchange.local = unauthorized.local;
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

fn add_secret_parameters(route: &MappingRoute, url: &mut Url) {
    if route.secret_parameters.is_empty() {
        return;
    }
    // Text is appended, so that the mapping's own query keeps its bytes.
    let mut query = url.query().unwrap_or_default().to_owned();
    for (name, value) in route.secret_parameters.iter() {
        let value = utf8_percent_encode(value.expose_secret(), NON_ALPHANUMERIC);
        let mark = if query.is_empty() { "" } else { "&" };
        query.push_str(&format!("{mark}{name}={value}"));
    }
    url.set_query(Some(&query));
}

/// A request's URL as it is recorded.
pub(super) fn recorded_url(route: &MappingRoute, url: &Url) -> String {
    masked_url(url, route.secret_parameters.iter().map(|(name, _)| name.as_str()))
}

fn unauthorized(error: &AuthError) -> PrepareError {
    let local = error.lacking();
    PrepareError { local, ..PrepareError::new(Outcome::Auth, error_chain::display(error)) }
}

/// A shorter part of a value is not masked on its own: it may be any word.
const MIN_PART: usize = 8;

/// The secrets in a request's headers: sensitive values without their scheme, the password of Basic
/// authentication, and the long parts of a value, such as a cookie's: a receiver may echo one of them alone.
fn secret_values(headers: &HeaderMap) -> Vec<String> {
    let mut secrets = Vec::new();
    let sensitive = headers.values().filter(|value| value.is_sensitive());
    for text in sensitive.filter_map(|value| value.to_str().ok()) {
        let parts = text.split([' ', '=', ',', ';', '"']).filter(|part| part.len() >= MIN_PART);
        let Some((scheme, rest)) = text.split_once(' ').filter(|(scheme, _)| is_scheme(scheme))
        else {
            secrets.push(text.to_owned());
            secrets.extend(parts.filter(|part| *part != text).map(ToOwned::to_owned));
            continue;
        };
        secrets.push(rest.to_owned());
        secrets.extend(parts.filter(|part| *part != rest).map(ToOwned::to_owned));
        let decoded = STANDARD.decode(rest).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"));
        if let Some(Ok(pair)) = decoded.map(String::from_utf8) {
            secrets.extend(pair.split_once(':').map(|(_, password)| password.to_owned()));
        }
    }
    secrets
}

/// Whether the first word of a value is an authentication scheme (RFC 9110, 11.1) and no secret.
fn is_scheme(word: &str) -> bool {
    ["basic", "bearer", "token", "apikey", "digest"]
        .iter()
        .any(|scheme| word.eq_ignore_ascii_case(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_s_secret_is_masked_with_its_scheme_and_without() {
        let secrets = |text: &'static str| {
            let mut value = HeaderValue::from_static(text);
            value.set_sensitive(true);
            secret_values(&HeaderMap::from_iter([(AUTHORIZATION, value)]))
        };
        assert_eq!(secrets("Bearer abc"), ["abc"]);
        assert_eq!(secrets("s3cret"), ["s3cret"]);
        assert_eq!(secrets("SSWS 0123456789"), ["SSWS 0123456789", "0123456789"]);
        assert_eq!(secrets("Token token=\"0123456789\""), ["token=\"0123456789\"", "0123456789"]);
        assert_eq!(secrets("id=1; session=0123456789"), ["id=1; session=0123456789", "0123456789"]);
        let basic = "Basic dXNlcjpzM2NyZXQtcGFzcw==";
        assert_eq!(
            secrets(basic),
            ["dXNlcjpzM2NyZXQtcGFzcw==", "dXNlcjpzM2NyZXQtcGFzcw", "s3cret-pass"]
        );
        let plain = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static("abc"))]);
        assert!(secret_values(&plain).is_empty(), "not sensitive");
    }
}
