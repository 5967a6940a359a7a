//! One exchange with an authorization server: credentials, a code or a refresh token against
//! tokens. It keeps nothing; its errors hold no secret, whatever the server answers.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use bytes::Bytes;
use oauth2::basic::{BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenType};
use oauth2::{
    AccessToken, AsyncHttpClient, AuthType, AuthorizationCode, ClientId, ClientSecret,
    EmptyExtraTokenFields, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse,
    PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError, Scope, StandardRevocableToken,
    StandardTokenIntrospectionResponse, TokenResponse, TokenUrl,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer, Serialize};
use url::Url;

use crate::domain::attempt::Outcome;
use crate::domain::outbound_auth::{ClientAuth, CodeClient, OauthClient};
use crate::sender::{Outgoing, Sender, Unanswered};

/// So much is shown of what a server says, in characters.
const SHOWN: usize = 200;
/// The code by which a server says that a grant is over (RFC 6749, 5.2).
const OVER: &str = "invalid_grant";

/// Tokens as a server gives them.
#[derive(Debug)]
pub(super) struct Tokens {
    pub(super) access: SecretString,
    pub(super) refresh: Option<SecretString>,
    pub(super) expires_in: Option<Duration>,
}

/// A server gave no token.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GrantError {
    /// It did not answer, or its address is refused.
    #[error("the token endpoint did not answer")]
    Unanswered(#[from] Unanswered),
    /// It says no.
    #[error("the token endpoint refuses: {error}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The error's code, with the server's words.
        error: String,
        /// Whether it says that the grant itself is over.
        is_over: bool,
    },
    /// What it answered is no token.
    #[error("the token endpoint answered {status}, and {why}")]
    NoToken {
        /// The HTTP status.
        status: u16,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The settings hold a URL that is none.
    #[error("{0:?} is not a URL")]
    Url(String),
}

impl GrantError {
    /// Whether no later try can have another end: somebody has to grant it anew.
    pub(super) const fn is_over(&self) -> bool {
        match self {
            Self::Refused { is_over, .. } => *is_over,
            Self::Unanswered(_) | Self::NoToken { .. } | Self::Url(_) => false,
        }
    }
}

/// A code that a browser brought, with what it is bound to.
pub(super) struct Code {
    pub(super) client: CodeClient,
    pub(super) code: SecretString,
    pub(super) verifier: SecretString,
    pub(super) redirect_url: String,
}

/// Where to ask, and as whom.
pub(super) struct Server<'a> {
    pub(super) sender: &'a Sender,
    pub(super) timeout: Duration,
    pub(super) secret: Option<&'a SecretString>,
}

impl Server<'_> {
    /// With the service's own credentials.
    pub(super) async fn client_credentials(
        &self,
        client: &OauthClient,
    ) -> Result<Tokens, GrantError> {
        let asking = self.client(client, &client.token_url)?;
        let scopes = client.scopes.iter().cloned().map(Scope::new);
        let mut request = asking.exchange_client_credentials().add_scopes(scopes);
        for (name, value) in &client.parameters {
            request = request.add_extra_param(name, value);
        }
        let asker = Asker::new(self);
        let answer = request.request_async(&asker).await;
        asker.read(answer, &[])
    }

    /// With the code that a browser brought.
    pub(super) async fn code(&self, granted: &Code) -> Result<Tokens, GrantError> {
        let Code { client, code, verifier, redirect_url } = granted;
        let redirect_url = RedirectUrl::new(redirect_url.clone())
            .map_err(|_not_a_url| GrantError::Url(redirect_url.clone()))?;
        let asking =
            self.client(&client.client, &client.client.token_url)?.set_redirect_uri(redirect_url);
        let request = asking
            .exchange_code(AuthorizationCode::new(code.expose_secret().to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose_secret().to_owned()));
        let asker = Asker::new(self);
        let answer = request.request_async(&asker).await;
        asker.read(answer, &[code, verifier])
    }

    /// With the refresh token of an earlier answer.
    pub(super) async fn refresh(
        &self,
        client: &CodeClient,
        refresh: &SecretString,
    ) -> Result<Tokens, GrantError> {
        let url = client.refresh_url.as_ref().unwrap_or(&client.client.token_url);
        let asking = self.client(&client.client, url)?;
        let token = RefreshToken::new(refresh.expose_secret().to_owned());
        let asker = Asker::new(self);
        let answer = asking.exchange_refresh_token(&token).request_async(&asker).await;
        asker.read(answer, &[refresh])
    }

    fn client(&self, client: &OauthClient, url: &str) -> Result<Asking, GrantError> {
        let url =
            TokenUrl::new(url.to_owned()).map_err(|_not_a_url| GrantError::Url(url.to_owned()))?;
        let mut asking =
            oauth2::Client::new(ClientId::new(client.client_id.clone())).set_token_uri(url);
        asking = asking.set_auth_type(match client.client_auth {
            ClientAuth::Basic => AuthType::BasicAuth,
            ClientAuth::Body => AuthType::RequestBody,
        });
        Ok(match self.secret {
            Some(secret) => {
                asking.set_client_secret(ClientSecret::new(secret.expose_secret().to_owned()))
            }
            None => asking,
        })
    }
}

type Asking = oauth2::Client<
    BasicErrorResponse,
    TokenAnswer,
    StandardTokenIntrospectionResponse<EmptyExtraTokenFields, BasicTokenType>,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// Sends what the `oauth2` crate makes, by our client.
struct Asker<'a> {
    server: &'a Server<'a>,
    status: AtomicU16,
}

impl<'c> AsyncHttpClient<'c> for Asker<'_> {
    type Error = Unanswered;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Unanswered>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let url = Url::parse(&head.uri.to_string()).map_err(|_not_a_url| Unanswered {
                outcome: Outcome::Render,
                words: "the token endpoint's URL cannot be requested".to_owned(),
            })?;
            let outgoing = Outgoing {
                method: head.method,
                url,
                headers: head.headers,
                body: Bytes::from(body),
                timeout: self.server.timeout,
                multistatus_bytes: 0,
            };
            let answer = self.server.sender.ask(outgoing).await?;
            self.status.store(answer.status().as_u16(), Ordering::Relaxed);
            Ok(answer)
        })
    }
}

type Refusal = RequestTokenError<Unanswered, BasicErrorResponse>;

impl<'a> Asker<'a> {
    const fn new(server: &'a Server<'a>) -> Self {
        Self { server, status: AtomicU16::new(0) }
    }

    /// What came of it. `told` is what the server was told beside the client's secret: it may say
    /// it back, and shall not be quoted with it.
    fn read(
        &self,
        answer: Result<TokenAnswer, Refusal>,
        told: &[&SecretString],
    ) -> Result<Tokens, GrantError> {
        let status = self.status.load(Ordering::Relaxed);
        let no_token = |why| GrantError::NoToken { status, why };
        let refused = |response: &BasicErrorResponse| {
            let code = response.error().as_ref().to_owned();
            let is_over = code == OVER && status < 500;
            let words = match response.error_description() {
                Some(words) if !words.is_empty() => format!("{code} ({words})"),
                Some(_) | None => code,
            };
            GrantError::Refused { status, error: self.quotable(&words, told), is_over }
        };
        match answer {
            Ok(answer) => answer.tokens().map_err(no_token),
            Err(RequestTokenError::ServerResponse(response)) => Err(refused(&response)),
            Err(RequestTokenError::Request(unanswered)) => Err(unanswered.into()),
            // Some servers say no with a 200.
            Err(RequestTokenError::Parse(_, body)) => {
                match serde_json::from_slice::<BasicErrorResponse>(&body) {
                    Ok(response) => Err(refused(&response)),
                    Err(_neither) => Err(no_token("nothing that is a token or an OAuth error")),
                }
            }
            Err(RequestTokenError::Other(_)) => {
                Err(no_token("nothing that is a token or an OAuth error"))
            }
        }
    }

    fn quotable(&self, words: &str, told: &[&SecretString]) -> String {
        quotable(words, told.iter().copied().chain(self.server.secret))
    }
}

/// What a server says, in one line of bounded length and without the secrets that it was told.
pub(super) fn quotable<'s>(words: &str, told: impl Iterator<Item = &'s SecretString>) -> String {
    let mut words = words.to_owned();
    for secret in told.map(|it| it.expose_secret()).filter(|secret| !secret.is_empty()) {
        words = words.replace(secret, "***");
    }
    let plain = words.chars().map(|one| if one.is_control() { ' ' } else { one });
    let mut text: String = plain.take(SHOWN).collect();
    if text.len() < words.len() {
        text.push('…');
    }
    text
}

/// A server's answer, as far as it is used. What RFC 6749 (5.1) requires and servers get wrong is
/// taken all the same: a lifetime as text, no type.
#[derive(Debug, Serialize, Deserialize)]
struct TokenAnswer {
    access_token: AccessToken,
    #[serde(default)]
    token_type: TokenType,
    #[serde(default, deserialize_with = "seconds")]
    expires_in: Option<u64>,
    #[serde(default)]
    refresh_token: Option<RefreshToken>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct TokenType(String);

impl Default for TokenType {
    fn default() -> Self {
        Self("bearer".to_owned())
    }
}

impl oauth2::TokenType for TokenType {}

impl TokenResponse for TokenAnswer {
    type TokenType = TokenType;

    fn access_token(&self) -> &AccessToken {
        &self.access_token
    }

    fn token_type(&self) -> &TokenType {
        &self.token_type
    }

    fn expires_in(&self) -> Option<Duration> {
        self.expires_in.map(Duration::from_secs)
    }

    fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh_token.as_ref()
    }

    fn scopes(&self) -> Option<&Vec<Scope>> {
        None
    }
}

/// A whole number, a decimal or the text of one; none for anything else.
fn seconds<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    let value = serde_json::Value::deserialize(input)?;
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    let number = number.filter(|number| (1.0..1e12).contains(number));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within the limits above, and a part of a second does not count"
    )]
    Ok(number.map(|number| number as u64))
}

impl TokenAnswer {
    fn tokens(self) -> Result<Tokens, &'static str> {
        if !self.token_type.0.eq_ignore_ascii_case("bearer") {
            return Err("its tokens are not of the type bearer");
        }
        let access = self.access_token.into_secret();
        if access.is_empty() || !access.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("its token is empty or cannot stand in a header");
        }
        let refresh = self.refresh_token.map(RefreshToken::into_secret);
        Ok(Tokens {
            access: SecretString::from(access),
            refresh: refresh.filter(|token| !token.is_empty()).map(SecretString::from),
            expires_in: self.expires_in.map(Duration::from_secs),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(String, Option<u64>, bool), String> {
        let answer: TokenAnswer = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let tokens = answer.tokens()?;
        let seconds = tokens.expires_in.map(|span| span.as_secs());
        Ok((tokens.access.expose_secret().to_owned(), seconds, tokens.refresh.is_some()))
    }

    #[test]
    fn answers_are_taken_as_servers_give_them() {
        let good = [
            (r#"{"access_token":"a","token_type":"Bearer","expires_in":60}"#, Some(60), false),
            (r#"{"access_token":"a","token_type":"bearer","expires_in":"60"}"#, Some(60), false),
            (r#"{"access_token":"a","expires_in":59.9,"refresh_token":"r"}"#, Some(59), true),
            (r#"{"access_token":"a","expires_in":0,"refresh_token":""}"#, None, false),
            (r#"{"access_token":"a","expires_in":-1,"scope":["x"]}"#, None, false),
            (r#"{"access_token":"a","expires_in":null,"refresh_token":null}"#, None, false),
            (r#"{"access_token":"a","expires_in":"soon","id_token":{}}"#, None, false),
        ];
        for (text, seconds, refresh) in good {
            assert_eq!(read(text), Ok(("a".to_owned(), seconds, refresh)), "{text}");
        }
        for bad in [
            "{}",
            "[]",
            r#"{"access_token":""}"#,
            r#"{"access_token":null}"#,
            r#"{"access_token":"a\r\nX: y"}"#,
            r#"{"access_token":"a b"}"#,
            r#"{"access_token":"a","token_type":"mac"}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_a_server_says_is_quoted_without_secrets_in_one_short_line() {
        let secret = SecretString::from("hunter2");
        let quoted = quotable("no\n<b>hunter2</b>", [&secret].into_iter());
        assert_eq!(quoted, "no <b>***</b>");
        let long = quotable(&"é".repeat(500), std::iter::empty());
        assert_eq!(long.chars().count(), SHOWN + 1);
    }
}
