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
    /// The kind, which determines the other fields.
    pub kind: AuthKind,
    /// The token of `bearer`; left out: kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<GivenSecret>,
    /// The authorization endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorize_url: Option<String>,
    /// The token endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_url: Option<String>,
    /// The endpoint for refreshing; left out: the token endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_url: Option<String>,
    /// The client id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The client secret; left out: kept, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<GivenSecret>,
    /// The client authentication method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_auth: Option<ClientAuth>,
    /// The scopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// Additional parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<BTreeMap<String, String>>,
    /// The word before the token in `Authorization`; left out: `Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_prefix: Option<String>,
}

/// The kinds of authorization.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthKind {
    /// None.
    #[default]
    None,
    /// A static bearer token.
    Bearer,
    /// The OAuth 2.0 client credentials grant.
    ClientCredentials,
    /// The OAuth 2.0 authorization code grant.
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
    /// The settings, without secrets. Missing fields are empty; validation reports them.
    #[must_use]
    pub fn settings(&self) -> Auth {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let client = || OauthClient {
            token_url: text(&self.token_url),
            client_id: text(&self.client_id),
            client_auth: self.client_auth.unwrap_or_default(),
            scopes: self.scopes.clone().unwrap_or_default(),
            parameters: self.parameters.clone().unwrap_or_default(),
            token_prefix: self.token_prefix.clone(),
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

    /// Each field: its name, whether it is present, and the kinds that have it.
    pub(super) fn fields(&self) -> [(&'static str, bool, &'static [AuthKind]); 10] {
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
            ("token_prefix", self.token_prefix.is_some(), BOTH),
        ]
    }
}
