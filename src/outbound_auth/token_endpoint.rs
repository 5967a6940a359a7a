//! The OAuth 2.0 token endpoint: exchanges client credentials, an authorization code or a refresh token
//! for tokens. Stateless; its errors contain no secret, even if the server echoes one.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::StatusCode;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
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
use crate::domain::header_spelling::HeaderSpellings;
use crate::domain::outbound_auth::{ClientAuth, CodeClient, OauthClient};
use crate::sender::{Failure, Sender, SignedRequest, mask_secret};

/// The most that is quoted of a server's error, in characters.
const MAX_QUOTED_CHARS: usize = 200;
/// The error code of an expired or revoked grant (RFC 6749, 5.2).
const INVALID_GRANT: &str = "invalid_grant";

/// The tokens of a response.
#[derive(Debug)]
pub(super) struct Tokens {
    pub(super) access: SecretString,
    pub(super) refresh: Option<SecretString>,
    pub(super) expires_in: Option<Duration>,
}

/// The token endpoint issued no token.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TokenEndpointError {
    /// No response was received, or the address is refused.
    #[error("no response from the token endpoint")]
    NoResponse(#[from] Failure),
    /// It refused the request.
    #[error("the token endpoint refused: {error}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The error's code and the server's description.
        error: String,
        /// Whether the grant itself expired or was revoked.
        is_invalid_grant: bool,
    },
    /// The response contains no usable token.
    #[error("the token endpoint answered {status}: {why}")]
    NoToken {
        /// The HTTP status.
        status: u16,
        /// What is wrong with the response.
        why: String,
    },
    /// A URL in the settings is malformed.
    #[error("{0:?} is not a URL")]
    Url(String),
}

impl TokenEndpointError {
    /// Whether a retry cannot succeed: an operator has to connect again.
    pub(super) const fn is_invalid_grant(&self) -> bool {
        match self {
            Self::Refused { is_invalid_grant, .. } => *is_invalid_grant,
            Self::NoResponse(_) | Self::NoToken { .. } | Self::Url(_) => false,
        }
    }
}

/// An authorization code with the PKCE verifier and redirect URL that it is bound to.
pub(super) struct GrantedCode {
    pub(super) client: CodeClient,
    pub(super) code: SecretString,
    pub(super) verifier: SecretString,
    pub(super) redirect_url: String,
}

/// A token endpoint with the client's secret.
pub(super) struct TokenEndpoint<'a> {
    pub(super) sender: &'a Sender,
    pub(super) timeout: Duration,
    pub(super) secret: Option<&'a SecretString>,
}

impl TokenEndpoint<'_> {
    /// Client credentials grant.
    pub(super) async fn client_credentials(
        &self,
        client: &OauthClient,
    ) -> Result<Tokens, TokenEndpointError> {
        let oauth = self.client(client, &client.token_url)?;
        let scopes = client.scopes.iter().cloned().map(Scope::new);
        let mut request = oauth.exchange_client_credentials().add_scopes(scopes);
        for (name, value) in &client.parameters {
            request = request.add_extra_param(name, value);
        }
        let http = HttpAdapter::new(self, client);
        let response = request.request_async(&http).await;
        http.read(response, &[])
    }

    /// Authorization code grant.
    pub(super) async fn code(&self, granted: &GrantedCode) -> Result<Tokens, TokenEndpointError> {
        let GrantedCode { client, code, verifier, redirect_url } = granted;
        let redirect_url = RedirectUrl::new(redirect_url.clone())
            .map_err(|_not_a_url| TokenEndpointError::Url(redirect_url.clone()))?;
        let oauth =
            self.client(&client.client, &client.client.token_url)?.set_redirect_uri(redirect_url);
        let request = oauth
            .exchange_code(AuthorizationCode::new(code.expose_secret().to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose_secret().to_owned()));
        let http = HttpAdapter::new(self, &client.client);
        let response = request.request_async(&http).await;
        http.read(response, &[code, verifier])
    }

    /// Refresh token grant.
    pub(super) async fn refresh(
        &self,
        client: &CodeClient,
        refresh: &SecretString,
    ) -> Result<Tokens, TokenEndpointError> {
        let url = client.refresh_url.as_ref().unwrap_or(&client.client.token_url);
        let oauth = self.client(&client.client, url)?;
        let token = RefreshToken::new(refresh.expose_secret().to_owned());
        let http = HttpAdapter::new(self, &client.client);
        let response = oauth.exchange_refresh_token(&token).request_async(&http).await;
        http.read(response, &[refresh])
    }

    fn client(
        &self,
        client: &OauthClient,
        url: &str,
    ) -> Result<ConfiguredClient, TokenEndpointError> {
        let url = TokenUrl::new(url.to_owned())
            .map_err(|_not_a_url| TokenEndpointError::Url(url.to_owned()))?;
        let mut oauth =
            oauth2::Client::new(ClientId::new(client.client_id.clone())).set_token_uri(url);
        oauth = oauth.set_auth_type(match client.client_auth {
            ClientAuth::Basic | ClientAuth::BasicUnencoded => AuthType::BasicAuth,
            ClientAuth::Body => AuthType::RequestBody,
        });
        Ok(match self.secret {
            Some(secret) => {
                oauth.set_client_secret(ClientSecret::new(secret.expose_secret().to_owned()))
            }
            None => oauth,
        })
    }
}

type ConfiguredClient = oauth2::Client<
    BasicErrorResponse,
    TokenResponseBody,
    StandardTokenIntrospectionResponse<EmptyExtraTokenFields, BasicTokenType>,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// Sends the requests of the `oauth2` crate with our HTTP client, and remembers the status.
struct HttpAdapter<'a> {
    server: &'a TokenEndpoint<'a>,
    /// The `Authorization` in the place of the crate's, which is form-encoded.
    authorization: Option<HeaderValue>,
    status: AtomicU16,
    content_type: Mutex<String>,
}

impl<'c> AsyncHttpClient<'c> for HttpAdapter<'_> {
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Failure>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            if let Some(authorization) = &self.authorization {
                head.headers.insert(AUTHORIZATION, authorization.clone());
            }
            let url = Url::parse(&head.uri.to_string()).map_err(|_not_a_url| {
                Failure::new(Outcome::Render, "the token endpoint's URL is malformed")
            })?;
            let outgoing = SignedRequest {
                method: head.method,
                url,
                headers: head.headers,
                spellings: HeaderSpellings::default(),
                body: Bytes::from(body),
                timeout: self.server.timeout,
                multistatus_bytes: 0,
            };
            let response = self.server.sender.fetch(outgoing).await?;
            self.status.store(response.status().as_u16(), Ordering::Relaxed);
            let content_type = response.headers().get(CONTENT_TYPE);
            let content_type = content_type.and_then(|value| value.to_str().ok());
            *self.content_type.lock().unwrap_or_else(PoisonError::into_inner) =
                content_type.unwrap_or("none").to_owned();
            Ok(lenient(response))
        })
    }
}

/// `Authorization` with client id and secret as they are.
fn unencoded_basic(client_id: &str, secret: Option<&SecretString>) -> Option<HeaderValue> {
    let secret = secret.map_or("", |secret| secret.expose_secret());
    let pair = STANDARD.encode(format!("{client_id}:{secret}"));
    let mut value = HeaderValue::try_from(format!("Basic {pair}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

type RequestFailure = RequestTokenError<Failure, BasicErrorResponse>;

impl<'a> HttpAdapter<'a> {
    fn new(server: &'a TokenEndpoint<'a>, client: &OauthClient) -> Self {
        let authorization = match client.client_auth {
            ClientAuth::Basic | ClientAuth::Body => None,
            ClientAuth::BasicUnencoded => unencoded_basic(&client.client_id, server.secret),
        };
        let (status, content_type) = (AtomicU16::new(0), Mutex::default());
        Self { server, authorization, status, content_type }
    }

    /// The tokens, or the error. `secrets` are those sent beside the client's secret: the server may
    /// echo them, and they are masked in errors.
    fn read(
        &self,
        response: Result<TokenResponseBody, RequestFailure>,
        secrets: &[&SecretString],
    ) -> Result<Tokens, TokenEndpointError> {
        let status = self.status.load(Ordering::Relaxed);
        let no_token = |why: &str| {
            let kind = self.content_type.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let kind = self.quotable(&kind, secrets);
            TokenEndpointError::NoToken { status, why: format!("{why} (content type {kind})") }
        };
        let refused = |response: &BasicErrorResponse| {
            let code = response.error().as_ref().to_owned();
            let is_invalid_grant = code == INVALID_GRANT && status < 500;
            let message = match response.error_description() {
                Some(message) if !message.is_empty() => format!("{code} ({message})"),
                Some(_) | None => code,
            };
            TokenEndpointError::Refused {
                status,
                error: self.quotable(&message, secrets),
                is_invalid_grant,
            }
        };
        match response {
            Ok(response) => response.tokens().map_err(no_token),
            Err(RequestTokenError::ServerResponse(response)) => Err(refused(&response)),
            Err(RequestTokenError::Request(failure)) => Err(failure.into()),
            // Some servers send an error with status 200.
            Err(RequestTokenError::Parse(_, body)) => {
                match serde_json::from_slice::<BasicErrorResponse>(&body) {
                    Ok(response) => Err(refused(&response)),
                    Err(_neither) => {
                        Err(no_token("the response is neither a token nor an OAuth error"))
                    }
                }
            }
            Err(RequestTokenError::Other(_)) => {
                Err(no_token("the response is neither a token nor an OAuth error"))
            }
        }
    }

    fn quotable(&self, message: &str, secrets: &[&SecretString]) -> String {
        quotable(message, secrets.iter().copied().chain(self.server.secret))
    }
}

/// A response as RFC 6749 (5.1) has it: any 2xx with a JSON object or a form is a token response, whatever
/// its content type. A token that was issued is lost if its response is not understood.
fn lenient(mut response: HttpResponse) -> HttpResponse {
    if !response.status().is_success() {
        return response;
    }
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().remove(CONTENT_TYPE);
    let body = response.body();
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
    if !text.starts_with(b"{") && text.windows(FORM_TOKEN.len()).any(|it| it == FORM_TOKEN) {
        let fields = form_urlencoded::parse(text);
        let fields: serde_json::Map<_, _> =
            fields.map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect();
        *response.body_mut() = serde_json::Value::Object(fields).to_string().into_bytes();
    } else if text.len() < body.len() {
        *response.body_mut() = text.to_vec();
    }
    response
}

/// The field of a form that makes it a token response.
const FORM_TOKEN: &[u8] = b"access_token=";

/// A server's error in one line of bounded length, with the secrets masked.
pub(super) fn quotable<'s>(
    message: &str,
    secrets: impl Iterator<Item = &'s SecretString>,
) -> String {
    let mut message = message.to_owned();
    for secret in secrets {
        mask_secret(&mut message, secret.expose_secret());
    }
    let plain = message.chars().map(|one| if one.is_control() { ' ' } else { one });
    let mut text: String = plain.take(MAX_QUOTED_CHARS).collect();
    if text.len() < message.len() {
        text.push('…');
    }
    text
}

/// The used fields of a token response. Lenient where servers deviate from RFC 6749 (5.1): a lifetime
/// as text, a missing type.
#[derive(Debug, Serialize, Deserialize)]
struct TokenResponseBody {
    access_token: AccessToken,
    #[serde(default, deserialize_with = "or_default")]
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

impl TokenResponse for TokenResponseBody {
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

/// The value, or the default for null.
fn or_default<'de, D: Deserializer<'de>>(input: D) -> Result<TokenType, D::Error> {
    Option::<TokenType>::deserialize(input).map(Option::unwrap_or_default)
}

/// An integer, a decimal or the text of one; none for anything else.
fn seconds<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    let value = serde_json::Value::deserialize(input)?;
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    let number = number.filter(|number| (1.0..1e12).contains(number));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within the limits above; fractions of a second are dropped"
    )]
    Ok(number.map(|number| number as u64))
}

impl TokenResponseBody {
    fn tokens(self) -> Result<Tokens, &'static str> {
        if !self.token_type.0.eq_ignore_ascii_case("bearer") {
            return Err("its token_type is not bearer");
        }
        let access = self.access_token.into_secret();
        if access.is_empty() || !access.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("its access_token is empty or not a valid header value");
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
        let response: TokenResponseBody =
            serde_json::from_str(text).map_err(|error| error.to_string())?;
        let tokens = response.tokens()?;
        let seconds = tokens.expires_in.map(|span| span.as_secs());
        Ok((tokens.access.expose_secret().to_owned(), seconds, tokens.refresh.is_some()))
    }

    #[test]
    fn token_responses_are_parsed_leniently() {
        let good = [
            (r#"{"access_token":"a","token_type":"Bearer","expires_in":60}"#, Some(60), false),
            (r#"{"access_token":"a","token_type":"bearer","expires_in":"60"}"#, Some(60), false),
            (r#"{"access_token":"a","expires_in":59.9,"refresh_token":"r"}"#, Some(59), true),
            (r#"{"access_token":"a","expires_in":0,"refresh_token":""}"#, None, false),
            (r#"{"access_token":"a","expires_in":-1,"scope":["x"]}"#, None, false),
            (r#"{"access_token":"a","token_type":null,"refresh_token":"r"}"#, None, true),
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
    fn any_success_with_a_token_is_a_token_response() {
        let read = |status: u16, content_type: &str, body: &str| {
            let mut response = HttpResponse::new(body.as_bytes().to_vec());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response.headers_mut().insert(CONTENT_TYPE, content_type.parse().unwrap());
            lenient(response)
        };
        let json = r#"{"access_token":"a","token_type":null}"#;
        for (status, kind) in [(200, "text/plain"), (201, "application/json"), (203, "text/html")] {
            let response = read(status, kind, json);
            assert_eq!(response.status(), StatusCode::OK, "{status} {kind}");
            assert!(!response.headers().contains_key(CONTENT_TYPE));
            assert_eq!(response.body(), json.as_bytes());
        }
        let response = read(200, "text/plain", "\u{feff}{}\n");
        assert_eq!(response.body(), b"{}");
        let kind = "application/x-www-form-urlencoded";
        let response = read(200, kind, "access_token=a%2Bb&refresh_token=r&token_type=bearer");
        let body = std::str::from_utf8(response.body()).unwrap();
        let tokens: TokenResponseBody = serde_json::from_str(body).unwrap();
        assert_eq!(tokens.tokens().unwrap().access.expose_secret(), "a+b");
        let refused = read(400, "text/plain", "{}");
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "an error stays one");
    }

    #[test]
    fn server_errors_are_quoted_in_one_line_without_secrets() {
        let secret = SecretString::from("hunter2");
        let quoted = quotable("no\n<b>hunter2</b>", [&secret].into_iter());
        assert_eq!(quoted, "no <b>***</b>");
        let long = quotable(&"é".repeat(500), std::iter::empty());
        assert_eq!(long.chars().count(), MAX_QUOTED_CHARS + 1);
    }
}
