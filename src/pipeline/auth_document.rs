//! The `auth` section of a destination document: how its requests are authorized.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::given_secret::GivenSecret;
use crate::domain::outbound_auth::{Auth, ClientAuth, CodeClient, OauthClient};

/// How a destination's requests are authorized.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthDocument {
    /// Which way; it tells which of the other fields there are.
    pub kind: AuthKind,
    /// The token of `bearer`; left out: kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<GivenSecret>,
    /// Where a browser is sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorize_url: Option<String>,
    /// Where tokens are got.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_url: Option<String>,
    /// Where they are refreshed; left out: where they are got.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_url: Option<String>,
    /// The client's name at the authorization server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Its secret; left out: kept, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<GivenSecret>,
    /// How it shows its secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_auth: Option<ClientAuth>,
    /// What is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// Parameters beside those of the standard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<BTreeMap<String, String>>,
}

/// The ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthKind {
    /// Not at all.
    #[default]
    None,
    /// By a token that is given.
    Bearer,
    /// OAuth 2.0 with the service's own credentials.
    ClientCredentials,
    /// OAuth 2.0 with somebody's consent.
    AuthorizationCode,
}

impl AuthKind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Bearer => "bearer",
            Self::ClientCredentials => "client_credentials",
            Self::AuthorizationCode => "authorization_code",
        }
    }
}

impl AuthDocument {
    /// The settings, without secrets. What is missing is empty: the check tells it.
    #[must_use]
    pub fn settings(&self) -> Auth {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let client = || OauthClient {
            token_url: text(&self.token_url),
            client_id: text(&self.client_id),
            client_auth: self.client_auth.unwrap_or_default(),
            scopes: self.scopes.clone().unwrap_or_default(),
            parameters: self.parameters.clone().unwrap_or_default(),
        };
        match self.kind {
            AuthKind::None => Auth::None,
            AuthKind::Bearer => Auth::Bearer,
            AuthKind::ClientCredentials => Auth::ClientCredentials(client()),
            AuthKind::AuthorizationCode => Auth::AuthorizationCode(CodeClient {
                authorize_url: text(&self.authorize_url),
                refresh_url: self.refresh_url.clone(),
                client: client(),
            }),
        }
    }

    /// Each field with whether it is there, and the kinds it belongs to.
    pub(super) fn fields(&self) -> [(&'static str, bool, &'static [AuthKind]); 9] {
        use AuthKind::{AuthorizationCode, Bearer, ClientCredentials};
        const BOTH: &[AuthKind] = &[ClientCredentials, AuthorizationCode];
        [
            ("token", self.token.is_some(), &[Bearer]),
            ("authorize_url", self.authorize_url.is_some(), &[AuthorizationCode]),
            ("token_url", self.token_url.is_some(), BOTH),
            ("refresh_url", self.refresh_url.is_some(), &[AuthorizationCode]),
            ("client_id", self.client_id.is_some(), BOTH),
            ("client_secret", self.client_secret.is_some(), BOTH),
            ("client_auth", self.client_auth.is_some(), BOTH),
            ("scopes", self.scopes.is_some(), BOTH),
            ("parameters", self.parameters.is_some(), BOTH),
        ]
    }
}
