//! Outbound authorization of a destination's requests: its settings, and whether a stored connection or
//! secret remains valid when they change. Holds no token and no secret.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The authorization of a destination's requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Auth {
    /// None.
    #[default]
    None,
    /// A bearer token set by the operator.
    Bearer,
    /// OAuth client credentials (RFC 6749, 4.4).
    ClientCredentials(OauthClient),
    /// OAuth authorization code with PKCE (RFC 6749, 4.1, and RFC 7636), granted once in a browser.
    AuthorizationCode(CodeClient),
}

/// An OAuth client at an authorization server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OauthClient {
    /// The token endpoint.
    pub token_url: String,
    /// The client id.
    pub client_id: String,
    /// How the client authenticates.
    #[serde(default)]
    pub client_auth: ClientAuth,
    /// The requested scopes.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Extra parameters: of the token request for client credentials, of the authorization request for
    /// an authorization code.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
    /// The word before the token in `Authorization`; none: `Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_prefix: Option<String>,
}

/// An OAuth client of the authorization code grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CodeClient {
    /// The authorization endpoint.
    pub authorize_url: String,
    /// The endpoint that refreshes tokens; none: the token endpoint.
    #[serde(default)]
    pub refresh_url: Option<String>,
    /// The client.
    #[serde(flatten)]
    pub client: OauthClient,
}

/// Client authentication (RFC 6749, 2.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// HTTP Basic, client id and secret form-encoded.
    #[default]
    Basic,
    /// HTTP Basic, client id and secret as they are: Segment does so, and some servers expect it.
    BasicUnencoded,
    /// In the request body.
    Body,
}

impl Auth {
    /// The name of its kind.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Bearer => "bearer",
            Self::ClientCredentials(_) => "client_credentials",
            Self::AuthorizationCode(_) => "authorization_code",
        }
    }

    /// The OAuth client; none for kinds without one.
    #[must_use]
    pub const fn client(&self) -> Option<&OauthClient> {
        match self {
            Self::None | Self::Bearer => None,
            Self::ClientCredentials(client) => Some(client),
            Self::AuthorizationCode(code) => Some(&code.client),
        }
    }

    /// The word before the token in `Authorization`.
    #[must_use]
    pub fn token_prefix(&self) -> &str {
        self.client().and_then(|it| it.token_prefix.as_deref()).unwrap_or("Bearer")
    }

    /// Whether the destination must be connected before deliveries are sent.
    #[must_use]
    pub const fn needs_connection(&self) -> bool {
        matches!(self, Self::AuthorizationCode(_))
    }

    /// Whether a connection made under `self` remains valid under `other`: same client, same server, same
    /// scopes.
    #[must_use]
    pub fn keeps_connection(&self, other: &Self) -> bool {
        let (Self::AuthorizationCode(one), Self::AuthorizationCode(other)) = (self, other) else {
            return false;
        };
        one.authorize_url == other.authorize_url
            && one.client.scopes == other.client.scopes
            && one.is_same(other)
    }

    /// Whether a secret set under `self` may be used under `other`: same endpoints, same client.
    #[must_use]
    pub fn keeps_secret(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bearer, Self::Bearer) => true,
            (Self::ClientCredentials(one), Self::ClientCredentials(other)) => one.is_same(other),
            (Self::AuthorizationCode(one), Self::AuthorizationCode(other)) => one.is_same(other),
            (
                Self::None | Self::Bearer | Self::ClientCredentials(_) | Self::AuthorizationCode(_),
                _,
            ) => false,
        }
    }
}

impl OauthClient {
    fn is_same(&self, other: &Self) -> bool {
        self.token_url == other.token_url && self.client_id == other.client_id
    }
}

impl CodeClient {
    fn is_same(&self, other: &Self) -> bool {
        self.client.is_same(&other.client) && self.refresh_url == other.refresh_url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(change: impl FnOnce(&mut CodeClient)) -> Auth {
        let mut code = CodeClient {
            authorize_url: "https://id.test/authorize".to_owned(),
            refresh_url: None,
            client: OauthClient {
                token_url: "https://id.test/token".to_owned(),
                client_id: "client".to_owned(),
                client_auth: ClientAuth::Basic,
                scopes: vec!["events".to_owned()],
                parameters: BTreeMap::new(),
                token_prefix: None,
            },
        };
        change(&mut code);
        Auth::AuthorizationCode(code)
    }

    #[test]
    fn a_connection_is_kept_only_while_client_server_and_scopes_are_the_same() {
        let one = code(|_| {});
        assert!(one.keeps_connection(&code(|it| it.client.client_auth = ClientAuth::Body)));
        assert!(!one.keeps_connection(&code(|it| it.client.client_id = "other".to_owned())));
        assert!(!one.keeps_connection(&code(|it| it.client.scopes.clear())));
        assert!(!one.keeps_connection(&code(|it| it.authorize_url.push('2'))));
        assert!(!one.keeps_connection(&code(|it| it.refresh_url = Some("https://x".to_owned()))));
        assert!(!one.keeps_connection(&Auth::Bearer));
    }

    #[test]
    fn a_secret_is_never_kept_for_another_endpoint_or_client() {
        let one = code(|_| {});
        assert!(one.keeps_secret(&code(|it| it.client.scopes.clear())));
        assert!(!one.keeps_secret(&code(|it| it.client.token_url.push('2'))));
        assert!(!one.keeps_secret(&code(|it| it.refresh_url = Some("https://x".to_owned()))));
        assert!(!one.keeps_secret(&Auth::None));
        assert!(Auth::Bearer.keeps_secret(&Auth::Bearer));
    }

    #[test]
    fn auth_settings_serialize_flat_and_round_trip() {
        let text = serde_json::to_string(&code(|_| {})).expect("JSON");
        assert!(text.starts_with(r#"{"kind":"authorization_code","authorize_url":"#), "{text}");
        assert_eq!(serde_json::from_str::<Auth>(&text).expect("settings"), code(|_| {}));
        assert_eq!(serde_json::from_str::<Auth>(r#"{"kind":"bearer"}"#).expect("ok"), Auth::Bearer);
    }
}
