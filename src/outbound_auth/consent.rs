//! Connections that were begun and wait for a browser to come back: each with its state, good for
//! one use within ten minutes, and the verifier that its code is bound to (RFC 7636). In memory
//! only: after a restart it is begun again.

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

use super::account::Account;
use super::grant::GrantError;
use crate::domain::clock::Timestamp;
use crate::domain::outbound_auth::CodeClient;
use crate::settings::secrets::{SecretError, digest, generate};

/// How long a browser may take.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// Connections that may be begun at once; the oldest makes room.
const AT_ONCE: usize = 256;

/// A connection that was begun.
pub(super) struct Pending {
    state: [u8; 32],
    expires_at: Timestamp,
    pub(super) account: Arc<Account>,
    pub(super) verifier: SecretString,
    pub(super) redirect_url: String,
}

/// Where to send the browser.
#[derive(Clone, Debug)]
pub struct Begun {
    /// The authorization server's page.
    pub authorize_url: Url,
    /// Until when the browser may come back.
    pub expires_at: Timestamp,
}

/// Why a state is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StateRefused {
    Unknown,
    Expired,
}

/// Why nothing was begun.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The destination needs no connection.
    #[error("its auth is not authorization_code: there is nothing to connect")]
    NothingToConnect,
    /// A URL of its settings is none.
    #[error(transparent)]
    Url(#[from] GrantError),
    /// There is no randomness.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

#[derive(Default)]
pub(super) struct Consents(Mutex<VecDeque<Pending>>);

impl Consents {
    pub(super) fn begin(
        &self,
        account: Arc<Account>,
        client: &CodeClient,
        redirect_url: &str,
        now: Timestamp,
    ) -> Result<Begun, BeginError> {
        let (state, verifier) = (generate("")?, generate("")?);
        let authorize_url = authorize_url(client, redirect_url, &state, &verifier)?;
        let expires_at = now + PATIENCE;
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pending.retain(|it| it.expires_at > now);
        if pending.len() >= AT_ONCE {
            pending.pop_front();
        }
        pending.push_back(Pending {
            state: digest(state.expose_secret()),
            expires_at,
            account,
            verifier,
            redirect_url: redirect_url.to_owned(),
        });
        Ok(Begun { authorize_url, expires_at })
    }

    /// Takes what was begun under this state out: it is good for one use, whatever comes of it.
    pub(super) fn take(&self, state: &str, now: Timestamp) -> Result<Pending, StateRefused> {
        let given = digest(state);
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Every one is compared: the time taken tells nothing about which one matched.
        let mut found = None;
        for (index, it) in pending.iter().enumerate() {
            if bool::from(it.state.ct_eq(&given)) {
                found = Some(index);
            }
        }
        let taken = found.and_then(|index| pending.remove(index)).ok_or(StateRefused::Unknown)?;
        if taken.expires_at > now { Ok(taken) } else { Err(StateRefused::Expired) }
    }
}

/// The page with all that RFC 6749 (4.1.1) and RFC 7636 (4.3) have in it.
fn authorize_url(
    client: &CodeClient,
    redirect_url: &str,
    state: &SecretString,
    verifier: &SecretString,
) -> Result<Url, GrantError> {
    let page = AuthUrl::new(client.authorize_url.clone())
        .map_err(|_not_a_url| GrantError::Url(client.authorize_url.clone()))?;
    let back = RedirectUrl::new(redirect_url.to_owned())
        .map_err(|_not_a_url| GrantError::Url(redirect_url.to_owned()))?;
    let verifier = PkceCodeVerifier::new(verifier.expose_secret().to_owned());
    let asking = BasicClient::new(ClientId::new(client.client.client_id.clone()))
        .set_auth_uri(page)
        .set_redirect_uri(back);
    let mut request = asking
        .authorize_url(|| CsrfToken::new(state.expose_secret().to_owned()))
        .add_scopes(client.client.scopes.iter().cloned().map(Scope::new))
        .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
    for (name, value) in &client.client.parameters {
        request = request.add_extra_param(name, value);
    }
    Ok(request.url().0)
}
