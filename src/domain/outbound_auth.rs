//! How a destination's requests are authorized: the settings, none of them secret, and what they
//! mean for whether deliveries can go out. Tokens and secrets are not here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a destination's requests are authorized.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Auth {
    /// Not at all.
    #[default]
    None,
    /// By a token that the operator gives.
    Bearer,
    /// By tokens that the service gets with its own credentials (RFC 6749, 4.4).
    ClientCredentials(OauthClient),
    /// By tokens that somebody grants in a browser, once (RFC 6749, 4.1, with RFC 7636).
    AuthorizationCode(CodeClient),
}

/// What the service is to an authorization server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OauthClient {
    /// Where tokens are got.
    pub token_url: String,
    /// The client's name there.
    pub client_id: String,
    /// How its secret is shown.
    #[serde(default)]
    pub client_auth: ClientAuth,
    /// What is asked for.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Parameters beside those of the standard: of the token request with client credentials, of
    /// the authorization request with a code.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
}

/// The same, where somebody has to grant it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CodeClient {
    /// Where a browser is sent to.
    pub authorize_url: String,
    /// Where tokens are refreshed; none: where they are got.
    #[serde(default)]
    pub refresh_url: Option<String>,
    /// The rest.
    #[serde(flatten)]
    pub client: OauthClient,
}

/// How a client shows its secret (RFC 6749, 2.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// As HTTP Basic.
    #[default]
    Basic,
    /// In the request's body.
    Body,
}

impl Auth {
    /// The word for its kind.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Bearer => "bearer",
            Self::ClientCredentials(_) => "client_credentials",
            Self::AuthorizationCode(_) => "authorization_code",
        }
    }

    /// The client, of the kinds that have one.
    #[must_use]
    pub const fn client(&self) -> Option<&OauthClient> {
        match self {
            Self::None | Self::Bearer => None,
            Self::ClientCredentials(client) => Some(client),
            Self::AuthorizationCode(code) => Some(&code.client),
        }
    }

    /// Whether somebody has to connect it before anything can be sent.
    #[must_use]
    pub const fn needs_connection(&self) -> bool {
        matches!(self, Self::AuthorizationCode(_))
    }

    /// Whether a connection made under `self` is good under `other`: the same client at the same
    /// server, asking for the same.
    #[must_use]
    pub fn keeps_connection(&self, other: &Self) -> bool {
        let (Self::AuthorizationCode(one), Self::AuthorizationCode(other)) = (self, other) else {
            return false;
        };
        one.authorize_url == other.authorize_url
            && one.client.scopes == other.client.scopes
            && one.is_same(other)
    }

    /// Whether a secret given under `self` may be used under `other`: it goes to the same places
    /// and belongs to the same client.
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
            },
        };
        change(&mut code);
        Auth::AuthorizationCode(code)
    }

    #[test]
    fn a_connection_outlives_only_what_does_not_concern_it() {
        let one = code(|_| {});
        assert!(one.keeps_connection(&code(|it| it.client.client_auth = ClientAuth::Body)));
        assert!(!one.keeps_connection(&code(|it| it.client.client_id = "other".to_owned())));
        assert!(!one.keeps_connection(&code(|it| it.client.scopes.clear())));
        assert!(!one.keeps_connection(&code(|it| it.authorize_url.push('2'))));
        assert!(!one.keeps_connection(&code(|it| it.refresh_url = Some("https://x".to_owned()))));
        assert!(!one.keeps_connection(&Auth::Bearer));
    }

    #[test]
    fn a_secret_is_not_kept_for_another_place() {
        let one = code(|_| {});
        assert!(one.keeps_secret(&code(|it| it.client.scopes.clear())));
        assert!(!one.keeps_secret(&code(|it| it.client.token_url.push('2'))));
        assert!(!one.keeps_secret(&code(|it| it.refresh_url = Some("https://x".to_owned()))));
        assert!(!one.keeps_secret(&Auth::None));
        assert!(Auth::Bearer.keeps_secret(&Auth::Bearer));
    }

    #[test]
    fn settings_are_written_flat_and_read_back() {
        let text = serde_json::to_string(&code(|_| {})).expect("JSON");
        assert!(text.starts_with(r#"{"kind":"authorization_code","authorize_url":"#), "{text}");
        assert_eq!(serde_json::from_str::<Auth>(&text).expect("settings"), code(|_| {}));
        assert_eq!(serde_json::from_str::<Auth>(r#"{"kind":"bearer"}"#).expect("ok"), Auth::Bearer);
    }
}
