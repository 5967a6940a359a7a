//! Pending OAuth authorizations: each has a single-use state that expires after ten minutes and a PKCE
//! verifier (RFC 7636). In memory only: a restart discards them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oauth2::basic::BasicClient;
use oauth2::{
    AuthUrl, ClientId, CsrfToken, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope,
};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;
use url::Url;

use super::token_cache::TokenCache;
use super::token_endpoint::TokenEndpointError;
use crate::domain::outbound_auth::CodeClient;
use crate::domain::service_time::ServiceTime;
use crate::settings::secrets::{SecretError, digest, generate};

/// Lifetime of a state.
const STATE_LIFETIME: Duration = Duration::from_secs(10 * 60);
/// Maximum pending authorizations; the oldest is dropped.
const MAX_PENDING: usize = 256;

/// An authorization that waits for the browser's callback.
pub(super) struct PendingAuthorization {
    state: [u8; 32],
    /// The digest of the value that the browser keeps.
    browser: [u8; 32],
    expires_at: ServiceTime,
    pub(super) cache: Arc<TokenCache>,
    pub(super) verifier: SecretString,
    pub(super) redirect_url: String,
}

/// Who begins an authorization.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Where the browser is redirected back to.
    pub redirect_url: &'a str,
    /// A secret value that the browser which began keeps in a cookie: no other one completes it.
    pub browser: &'a str,
}

/// The page to open in a browser.
#[derive(Clone, Debug)]
pub struct AuthorizationRequest {
    /// The authorization server's page.
    pub authorize_url: Url,
    /// When the state expires.
    pub expires_at: ServiceTime,
}

/// Why a state is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StateRefused {
    Unknown,
    Expired,
    /// Another browser came back than began.
    OtherBrowser,
}

/// Why no authorization was started.
#[derive(Debug, thiserror::Error)]
pub enum AuthorizationError {
    /// The destination needs no connection.
    #[error("its auth is not authorization_code: there is nothing to connect")]
    NothingToConnect,
    /// A URL in its settings is malformed.
    #[error(transparent)]
    Url(#[from] TokenEndpointError),
    /// No randomness is available.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

#[derive(Default)]
pub(super) struct PendingAuthorizations(Mutex<VecDeque<PendingAuthorization>>);

impl PendingAuthorizations {
    pub(super) fn begin(
        &self,
        cache: Arc<TokenCache>,
        client: &CodeClient,
        origin: &Origin<'_>,
        now: ServiceTime,
    ) -> Result<AuthorizationRequest, AuthorizationError> {
        let redirect_url = origin.redirect_url;
        let (state, verifier) = (generate("")?, generate("")?);
        let authorize_url = authorize_url(client, redirect_url, &state, &verifier)?;
        let expires_at = now + STATE_LIFETIME;
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pending.retain(|it| it.expires_at > now);
        if pending.len() >= MAX_PENDING {
            pending.pop_front();
        }
        pending.push_back(PendingAuthorization {
            state: digest(state.expose_secret()),
            browser: digest(origin.browser),
            expires_at,
            cache,
            verifier,
            redirect_url: redirect_url.to_owned(),
        });
        Ok(AuthorizationRequest { authorize_url, expires_at })
    }

    /// Removes the authorization with this state: single use, whether it succeeds or not.
    pub(super) fn take(
        &self,
        state: &str,
        browser: Option<&str>,
        now: ServiceTime,
    ) -> Result<PendingAuthorization, StateRefused> {
        let given = digest(state);
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // All are compared, so that timing does not reveal which one matched.
        let mut found = None;
        for (index, it) in pending.iter().enumerate() {
            if bool::from(it.state.ct_eq(&given)) {
                found = Some(index);
            }
        }
        let taken = found.and_then(|index| pending.remove(index)).ok_or(StateRefused::Unknown)?;
        if taken.expires_at <= now {
            return Err(StateRefused::Expired);
        }
        let given = browser.map(digest).unwrap_or_default();
        if bool::from(taken.browser.ct_eq(&given)) {
            Ok(taken)
        } else {
            Err(StateRefused::OtherBrowser)
        }
    }
}

/// The authorization URL with the parameters of RFC 6749 (4.1.1) and RFC 7636 (4.3).
fn authorize_url(
    client: &CodeClient,
    redirect_url: &str,
    state: &SecretString,
    verifier: &SecretString,
) -> Result<Url, TokenEndpointError> {
    let authorize_url = AuthUrl::new(client.authorize_url.clone())
        .map_err(|_not_a_url| TokenEndpointError::Url(client.authorize_url.clone()))?;
    let redirect_url = RedirectUrl::new(redirect_url.to_owned())
        .map_err(|_not_a_url| TokenEndpointError::Url(redirect_url.to_owned()))?;
    let verifier = PkceCodeVerifier::new(verifier.expose_secret().to_owned());
    let oauth = BasicClient::new(ClientId::new(client.client.client_id.clone()))
        .set_auth_uri(authorize_url)
        .set_redirect_uri(redirect_url);
    let mut request = oauth
        .authorize_url(|| CsrfToken::new(state.expose_secret().to_owned()))
        .add_scopes(client.client.scopes.iter().cloned().map(Scope::new))
        .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
    for (name, value) in &client.client.parameters {
        request = request.add_extra_param(name, value);
    }
    Ok(request.url().0)
}
