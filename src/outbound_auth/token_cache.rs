//! One destination's tokens: requested when needed, refreshed before they expire and after a receiver
//! refused them, with one request in flight (single flight) and exponential backoff after an error. A
//! new token is stored before it is used.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{Mutex, Notify};

use super::error::AuthError;
use super::stored_tokens::{sealed, unsealed};
use super::token_endpoint::{GrantedCode, TokenEndpoint, Tokens};
use crate::domain::auth::Act;
use crate::domain::clock::{Clock, Moment};
use crate::domain::error_chain;
use crate::domain::id::DestinationId;
use crate::domain::outbound_auth::{Auth, CodeClient};
use crate::domain::service_time::ServiceTime;
use crate::sender::Sender;
use crate::settings::secrets::{Keyring, SecretError};
use crate::store::{
    Connection, ConnectionChange, ConnectionState, PipelineStore, RefreshTurn, StoreError,
};

/// A token is refreshed this long before it expires, or after three quarters of its lifetime if that is
/// later.
const REFRESH_AHEAD: Duration = Duration::from_secs(60);
/// Backoff after the first failed request; it doubles up to the maximum.
const MIN_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// A token that is refused this soon after it replaced a refused one is not replaced again.
const RENEWAL_COOLDOWN: Duration = Duration::from_secs(10);
/// How often a node looks whether another has refreshed the tokens.
const TURN_INTERVAL: Duration = Duration::from_millis(100);

/// What all token caches share.
pub(super) struct Resources {
    pub(super) store: Arc<dyn PipelineStore>,
    pub(super) sender: Arc<Sender>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) clock: Arc<dyn Clock>,
    /// Notified when a connection was lost or changed elsewhere: the pipeline has to be reloaded.
    pub(super) changed: Notify,
}

/// The settings of a token cache.
pub(super) struct CacheConfig {
    pub(super) destination_id: DestinationId,
    /// `source/destination`, for logs.
    pub(super) path: String,
    pub(super) auth: Auth,
    /// The bearer token or the client secret, and the id of its row.
    pub(super) secret: Option<SecretString>,
    pub(super) secret_id: Option<[u8; 16]>,
}

/// One destination's tokens.
pub(super) struct TokenCache {
    pub(super) config: CacheConfig,
    /// The version of the stored connection; increases with every change.
    number: AtomicI64,
    current: RwLock<Option<Arc<AccessToken>>>,
    refresh_state: Mutex<RefreshState>,
}

/// The current access token as a header value.
struct AccessToken {
    header: HeaderValue,
    refresh_at: Option<ServiceTime>,
    expires_at: Option<ServiceTime>,
}

/// The state of token requests. Its lock is held during a request, which makes it single flight.
#[derive(Default)]
struct RefreshState {
    refresh: Option<SecretString>,
    /// Why it is not connected; none while it is.
    disconnected_why: Option<String>,
    /// Received but not stored yet, with the time of the response.
    unstored: Option<(Tokens, Moment)>,
    failed: Option<FailedRequest>,
    renewed_at: Option<ServiceTime>,
}

struct FailedRequest {
    fault: AuthError,
    retry_at: ServiceTime,
    backoff: Duration,
}

impl AccessToken {
    fn new(
        prefix: &str,
        access: &SecretString,
        got_at: ServiceTime,
        expires_at: Option<ServiceTime>,
    ) -> Option<Self> {
        let mut header =
            HeaderValue::try_from(format!("{prefix} {}", access.expose_secret())).ok()?;
        header.set_sensitive(true);
        let refresh_at = expires_at.map(|at| at - REFRESH_AHEAD.min(at.since(got_at) / 4));
        Some(Self { header, refresh_at, expires_at })
    }

    fn is_fresh(&self, now: ServiceTime) -> bool {
        self.refresh_at.is_none_or(|at| now < at)
    }

    fn is_valid(&self, now: ServiceTime) -> bool {
        self.expires_at.is_none_or(|at| now < at)
    }
}

/// The result of obtaining a token.
enum Obtained {
    /// A token to send.
    Token(HeaderValue),
    /// The refused token had just replaced another refused one: no further renewal.
    Exhausted,
}

impl TokenCache {
    /// The cache of a destination with its stored connection.
    pub(super) fn new(
        config: CacheConfig,
        connection: Option<&Connection>,
        (keyring, clock): (&Keyring, &dyn Clock),
    ) -> Result<Self, SecretError> {
        let mut refresh_state = RefreshState::default();
        let mut token = None;
        match (&config.auth, connection.map(|it| &it.state)) {
            (Auth::Bearer, _) => {
                let got_at = ServiceTime::default();
                let prefix = config.auth.token_prefix();
                let secret = config.secret.as_ref();
                token = secret.and_then(|it| AccessToken::new(prefix, it, got_at, None));
            }
            (Auth::AuthorizationCode(_), None) => {
                refresh_state.disconnected_why = Some("it was never connected".to_owned());
            }
            (Auth::AuthorizationCode(_), Some(ConnectionState::Lost { fault })) => {
                refresh_state.disconnected_why = Some(fault.clone());
            }
            (
                Auth::AuthorizationCode(_),
                Some(ConnectionState::Connected { tokens, expires_at }),
            ) => {
                let (access, refresh) = unsealed(tokens, keyring)?;
                let got_at = clock.to_service(tokens.created_at);
                let expires_at = expires_at.map(|at| clock.to_service(at));
                token = AccessToken::new(config.auth.token_prefix(), &access, got_at, expires_at);
                refresh_state.refresh = refresh;
            }
            (Auth::None | Auth::ClientCredentials(_), _) => {}
        }
        Ok(Self {
            config,
            number: AtomicI64::new(connection.map_or(0, |it| it.number)),
            current: RwLock::new(token.map(Arc::new)),
            refresh_state: Mutex::new(refresh_state),
        })
    }

    pub(super) fn number(&self) -> i64 {
        self.number.load(Ordering::SeqCst)
    }

    fn current(&self) -> Option<Arc<AccessToken>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_current(&self, token: Option<AccessToken>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = token.map(Arc::new);
    }

    /// A token that can be sent without a request: a fresh one, or one that expires soon while another
    /// task is refreshing it.
    pub(super) fn cached(&self, now: ServiceTime) -> Option<HeaderValue> {
        let token = self.current()?;
        let usable =
            token.is_fresh(now) || token.is_valid(now) && self.refresh_state.try_lock().is_err();
        usable.then(|| token.header.clone())
    }

    /// A token, requested if necessary.
    pub(super) async fn token(
        &self,
        resources: &Resources,
        timeout: Duration,
    ) -> Result<HeaderValue, AuthError> {
        match self.obtain(resources, timeout, None).await? {
            Obtained::Token(header) => Ok(header),
            Obtained::Exhausted => Err(AuthError::Changing),
        }
    }

    /// A token other than the one that a receiver refused; none if there cannot be another.
    pub(super) async fn renew(
        &self,
        resources: &Resources,
        timeout: Duration,
        refused: &HeaderValue,
    ) -> Result<Option<HeaderValue>, AuthError> {
        match self.obtain(resources, timeout, Some(refused)).await? {
            Obtained::Token(header) => Ok(Some(header)),
            Obtained::Exhausted => Ok(None),
        }
    }

    async fn obtain(
        &self,
        resources: &Resources,
        timeout: Duration,
        refused: Option<&HeaderValue>,
    ) -> Result<Obtained, AuthError> {
        let mut refresh_state = self.refresh_state.lock().await;
        let now = resources.clock.service_now();
        let usable = self.current().filter(|token| refused != Some(&token.header));
        if let Some(token) = usable.as_ref().filter(|token| token.is_fresh(now)) {
            return Ok(Obtained::Token(token.header.clone()));
        }
        let is_renewal = refused.is_some() && usable.is_none();
        if is_renewal && refresh_state.renewed_at.is_some_and(|at| now < at + RENEWAL_COOLDOWN) {
            return Ok(Obtained::Exhausted);
        }
        let backoff = refresh_state.failed.as_ref().filter(|failed| now < failed.retry_at);
        let result = match backoff {
            Some(failed) => Err(failed.fault.clone()),
            None => self.request(resources, timeout, &mut refresh_state).await,
        };
        match (result, usable.filter(|token| token.is_valid(now))) {
            (Ok(header), _) => {
                refresh_state.renewed_at =
                    if is_renewal { Some(now) } else { refresh_state.renewed_at };
                Ok(Obtained::Token(header))
            }
            // The refresh failed, but the current token has not expired.
            (
                Err(AuthError::NoToken(_) | AuthError::Unstored(_) | AuthError::Unsealed(_)),
                Some(token),
            ) => Ok(Obtained::Token(token.header.clone())),
            (Err(fault), _) => Err(fault),
        }
    }

    async fn request(
        &self,
        resources: &Resources,
        timeout: Duration,
        refresh_state: &mut RefreshState,
    ) -> Result<HeaderValue, AuthError> {
        let result = match &self.config.auth {
            Auth::ClientCredentials(client) => {
                let endpoint = self.endpoint(resources, timeout);
                match endpoint.client_credentials(client).await {
                    Ok(tokens) => self.use_tokens(&tokens, resources.clock.service_now()),
                    Err(error) => Err(error.into()),
                }
            }
            Auth::AuthorizationCode(client) => {
                self.refresh(resources, timeout, client, refresh_state).await
            }
            Auth::None | Auth::Bearer => Err(AuthError::Changing),
        };
        match &result {
            Ok(_) => refresh_state.failed = None,
            Err(AuthError::NotConnected(_) | AuthError::Changing) => {}
            // Nothing was asked of the authorization server.
            Err(fault) if fault.lacking().is_some() => {}
            Err(fault) => {
                let backoff =
                    refresh_state.failed.as_ref().map_or(MIN_BACKOFF, |failed| failed.backoff * 2);
                let backoff = backoff.min(MAX_BACKOFF);
                let retry_at = resources.clock.service_now() + backoff;
                tracing::warn!(
                    destination = self.config.path,
                    retry_in_s = backoff.as_secs(),
                    "{}",
                    error_chain::display(fault)
                );
                refresh_state.failed =
                    Some(FailedRequest { fault: fault.clone(), retry_at, backoff });
            }
        }
        result
    }

    async fn refresh(
        &self,
        resources: &Resources,
        timeout: Duration,
        client: &CodeClient,
        refresh_state: &mut RefreshState,
    ) -> Result<HeaderValue, AuthError> {
        if let Some(why) = &refresh_state.disconnected_why {
            return Err(AuthError::NotConnected(why.clone()));
        }
        if let Some((tokens, got_at)) = refresh_state.unstored.take() {
            let header = self.store_then_use(resources, refresh_state, tokens, got_at).await?;
            let now = resources.clock.service_now();
            if self.current().is_some_and(|token| token.is_valid(now)) {
                return Ok(header);
            }
        }
        let Some(refresh) = refresh_state.refresh.clone() else {
            let why = "its access token expired or was refused, and there is no refresh token";
            return Err(self.set_lost(resources, refresh_state, why.to_owned()).await);
        };
        self.take_turn(resources, timeout).await?;
        match self.endpoint(resources, timeout).refresh(client, &refresh).await {
            Ok(tokens) => {
                self.store_then_use(resources, refresh_state, tokens, resources.clock.moment())
                    .await
            }
            Err(error) if error.is_invalid_grant() => {
                Err(self.set_lost(resources, refresh_state, error.to_string()).await)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until this node alone may refresh these tokens. Once another has, the pipeline is to be reloaded.
    async fn take_turn(&self, resources: &Resources, timeout: Duration) -> Result<(), AuthError> {
        let until = tokio::time::Instant::now() + timeout;
        while tokio::time::Instant::now() < until {
            let id = self.config.destination_id;
            match resources.store.begin_refresh(id, self.number()).await {
                Ok(RefreshTurn::Mine) => return Ok(()),
                Ok(RefreshTurn::Replaced) => break,
                Ok(RefreshTurn::Others) => tokio::time::sleep(TURN_INTERVAL).await,
                Err(error) => return Err(AuthError::Unstored(Arc::new(error))),
            }
        }
        resources.changed.notify_one();
        Err(AuthError::Changing)
    }

    /// Exchanges an authorization code for tokens.
    pub(super) async fn connect(
        &self,
        resources: &Resources,
        code: &GrantedCode,
        timeout: Duration,
    ) -> Result<(), AuthError> {
        let mut refresh_state = self.refresh_state.lock().await;
        let tokens = self.endpoint(resources, timeout).code(code).await?;
        // A refresh token of the previous connection belongs to a grant that may be revoked.
        refresh_state.refresh = None;
        refresh_state.unstored = None;
        self.store_then_use(resources, &mut refresh_state, tokens, resources.clock.moment())
            .await?;
        refresh_state.disconnected_why = None;
        refresh_state.failed = None;
        refresh_state.renewed_at = None;
        Ok(())
    }

    /// Ends the connection: deliveries are held.
    pub(super) async fn disconnect(
        &self,
        resources: &Resources,
        why: String,
        act: Act,
    ) -> Result<(), StoreError> {
        let mut refresh_state = self.refresh_state.lock().await;
        let state = ConnectionState::Lost { fault: why.clone() };
        self.store(resources, state, act).await?;
        self.clear(&mut refresh_state, why);
        Ok(())
    }

    fn endpoint<'a>(&'a self, resources: &'a Resources, timeout: Duration) -> TokenEndpoint<'a> {
        TokenEndpoint { sender: &resources.sender, timeout, secret: self.config.secret.as_ref() }
    }

    /// Commits tokens before they are used: many servers accept a refresh token once, and a crash after
    /// its use and before the commit of its successor would lose the connection.
    async fn store_then_use(
        &self,
        resources: &Resources,
        refresh_state: &mut RefreshState,
        tokens: Tokens,
        got_at: Moment,
    ) -> Result<HeaderValue, AuthError> {
        if let Some(refresh) = &tokens.refresh {
            refresh_state.refresh = Some(refresh.clone());
        }
        let expires_at = tokens.expires_in.map(|span| got_at.wall + span);
        let refresh = refresh_state.refresh.as_ref();
        let sealed = sealed(&tokens, refresh, &resources.keyring, got_at.wall)
            .map_err(|error| AuthError::Unsealed(Arc::new(error)))?;
        let state = ConnectionState::Connected { tokens: sealed, expires_at };
        match self.store(resources, state, service_act(resources)).await {
            Ok(()) => self.use_tokens(&tokens, got_at.service),
            Err(StoreError::Conflict) => Err(AuthError::Changing),
            Err(error) => {
                refresh_state.unstored = Some((tokens, got_at));
                Err(AuthError::Unstored(Arc::new(error)))
            }
        }
    }

    fn use_tokens(&self, tokens: &Tokens, got_at: ServiceTime) -> Result<HeaderValue, AuthError> {
        let expires_at = tokens.expires_in.map(|span| got_at + span);
        let prefix = self.config.auth.token_prefix();
        let token = AccessToken::new(prefix, &tokens.access, got_at, expires_at);
        let token = token.ok_or(AuthError::Changing)?;
        let header = token.header.clone();
        self.set_current(Some(token));
        Ok(header)
    }

    /// Records that the grant expired or was revoked: deliveries are held.
    async fn set_lost(
        &self,
        resources: &Resources,
        refresh_state: &mut RefreshState,
        why: String,
    ) -> AuthError {
        let lost = ConnectionState::Lost { fault: why.clone() };
        match self.store(resources, lost, service_act(resources)).await {
            Ok(()) => {
                let destination = &self.config.path;
                tracing::warn!(destination, why, "connection lost: its deliveries are held");
                self.clear(refresh_state, why.clone());
                resources.changed.notify_one();
                AuthError::NotConnected(why)
            }
            Err(StoreError::Conflict) => AuthError::Changing,
            Err(error) => AuthError::Unstored(Arc::new(error)),
        }
    }

    fn clear(&self, refresh_state: &mut RefreshState, why: String) {
        *refresh_state = RefreshState { disconnected_why: Some(why), ..RefreshState::default() };
        self.set_current(None);
    }

    async fn store(
        &self,
        resources: &Resources,
        state: ConnectionState,
        act: Act,
    ) -> Result<(), StoreError> {
        let change = ConnectionChange {
            destination_id: self.config.destination_id,
            expected_number: self.number(),
            state,
        };
        match resources.store.change_connection(change, act).await {
            Ok(number) => {
                self.number.store(number, Ordering::SeqCst);
                Ok(())
            }
            Err(error) => {
                if matches!(error, StoreError::Conflict) {
                    // Changed concurrently: a reload replaces this cache.
                    resources.changed.notify_one();
                }
                Err(error)
            }
        }
    }
}

/// An audited act of the service itself: a connection changed.
fn service_act(resources: &Resources) -> Act {
    Act::of_the_service("oauth", resources.clock.now())
}
