//! Authorizes requests to destinations: static bearer tokens and OAuth 2.0 (client credentials and
//! authorization code with PKCE). Caches access tokens in memory; connections are stored encrypted. It
//! sends nothing to receivers: that is `delivery`.

mod authorization;
mod error;
mod stored_tokens;
mod token_cache;
mod token_endpoint;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::HeaderValue;
use secrecy::SecretString;
use tokio::sync::Notify;

use crate::domain::auth::Act;
use crate::domain::clock::Clock;
use crate::domain::destination::Destination;
use crate::domain::id::DestinationId;
use crate::domain::outbound_auth::Auth as AuthSettings;
use crate::sender::Sender;
use crate::settings::secrets::{Keyring, Purpose, SecretError};
use crate::store::{CredentialSlot, Pipeline, PipelineStore, StoreError};

pub use authorization::{AuthorizationError, AuthorizationRequest, Origin};
pub use error::{AuthError, ConnectError};
pub use token_endpoint::TokenEndpointError;

use authorization::{PendingAuthorizations, StateRefused};
use token_cache::{CacheConfig, Resources, TokenCache};

/// How often a replaced cache is looked for.
const REPLACEMENT_INTERVAL: Duration = Duration::from_millis(20);

/// The dependencies of an authorizer.
pub struct AuthorizerParts {
    /// Stores connections.
    pub store: Arc<dyn PipelineStore>,
    /// Sends token requests.
    pub sender: Arc<Sender>,
    /// Encrypts tokens.
    pub keyring: Arc<Keyring>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

/// The tokens of all destinations; cheap to clone.
#[derive(Clone)]
pub struct Authorizer {
    resources: Arc<Resources>,
    caches: Arc<RwLock<HashMap<DestinationId, Arc<TokenCache>>>>,
    pending: Arc<PendingAuthorizations>,
}

impl std::fmt::Debug for Authorizer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Authorizer").finish_non_exhaustive()
    }
}

/// The parameters of the OAuth callback.
#[derive(Debug)]
pub struct Callback {
    /// The state of the authorization request.
    pub state: String,
    /// The authorization code.
    pub code: Option<SecretString>,
    /// The server's error in place of a code.
    pub error: Option<String>,
    /// The value that the browser kept since it began.
    pub browser: Option<String>,
}

impl Authorizer {
    /// Maximum timeout of a token request. An attempt makes at most two, before the request and after a
    /// 401; both fit into the lease beyond the request's own timeout.
    pub const MAX_TIMEOUT: Duration = Duration::from_secs(5);

    /// An authorizer without tokens; [`Self::reload`] loads the destinations.
    #[must_use]
    pub fn new(parts: AuthorizerParts) -> Self {
        let AuthorizerParts { store, sender, keyring, clock } = parts;
        Self {
            resources: Arc::new(Resources {
                store,
                sender,
                keyring,
                clock,
                changed: Notify::new(),
            }),
            caches: Arc::default(),
            pending: Arc::default(),
        }
    }

    /// Applies a new version of the pipeline. Destinations whose auth did not change keep their tokens.
    ///
    /// # Errors
    /// When a secret cannot be decrypted; the previous version stays in effect.
    pub fn reload(&self, pipeline: &Pipeline) -> Result<(), SecretError> {
        let mut caches = HashMap::new();
        for destination in &pipeline.destinations {
            if destination.settings.auth != AuthSettings::None {
                caches.insert(destination.id, self.cache_of(pipeline, destination)?);
            }
        }
        *self.caches.write().unwrap_or_else(PoisonError::into_inner) = caches;
        Ok(())
    }

    fn cache_of(
        &self,
        pipeline: &Pipeline,
        destination: &Destination,
    ) -> Result<Arc<TokenCache>, SecretError> {
        let auth = &destination.settings.auth;
        let (slot, purpose) = match auth {
            AuthSettings::Bearer => (CredentialSlot::BearerToken, Purpose::BearerToken),
            AuthSettings::None
            | AuthSettings::ClientCredentials(_)
            | AuthSettings::AuthorizationCode(_) => {
                (CredentialSlot::ClientSecret, Purpose::ClientSecret)
            }
        };
        let sealed = pipeline.credential(destination.id, &slot);
        let secret_id = sealed.map(|secret| secret.id);
        let connection = pipeline.connection(destination.id);
        if let Some(cache) = self.cache(destination.id) {
            // The pipeline may have been read before this cache's last change was committed.
            let is_current = cache.number() >= connection.map_or(0, |it| it.number);
            let config = &cache.config;
            if is_current && config.auth == *auth && config.secret_id == secret_id {
                return Ok(cache);
            }
        }
        let keyring = &self.resources.keyring;
        let source = pipeline.sources.iter().find(|one| one.id == destination.source_id);
        let source = source.map_or("", |source| source.name.as_str());
        let config = CacheConfig {
            destination_id: destination.id,
            path: format!("{source}/{}", destination.name),
            auth: auth.clone(),
            secret: sealed.map(|sealed| keyring.open(sealed, purpose)).transpose()?,
            secret_id,
        };
        let clock = &*self.resources.clock;
        TokenCache::new(config, connection, (keyring, clock)).map(Arc::new)
    }

    fn cache(&self, id: DestinationId) -> Option<Arc<TokenCache>> {
        self.caches.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// The `Authorization` of a request to this destination. `timeout` is the request's own and bounds
    /// the token request too.
    ///
    /// # Errors
    /// When no token is available: the request must not be sent.
    pub async fn token(
        &self,
        id: DestinationId,
        timeout: Duration,
    ) -> Result<HeaderValue, AuthError> {
        let timeout = timeout.min(Self::MAX_TIMEOUT);
        let until = tokio::time::Instant::now() + timeout;
        let mut cache = self.cache(id).ok_or(AuthError::Changing)?;
        loop {
            if let Some(header) = cache.cached(self.resources.clock.service_now()) {
                return Ok(header);
            }
            let (resources, asked) = (Arc::clone(&self.resources), Arc::clone(&cache));
            // In a separate task: a cancelled caller must not lose a token that was issued.
            let request = tokio::spawn(async move { asked.token(&resources, timeout).await });
            match request.await.unwrap_or(Err(AuthError::Changing)) {
                // Another node has refreshed the tokens.
                Err(AuthError::Changing) => cache = self.replacement(&cache, until).await?,
                done => return done,
            }
        }
    }

    /// The cache that replaces this one once the pipeline is reloaded.
    async fn replacement(
        &self,
        replaced: &Arc<TokenCache>,
        until: tokio::time::Instant,
    ) -> Result<Arc<TokenCache>, AuthError> {
        while tokio::time::Instant::now() < until {
            let cache = self.cache(replaced.config.destination_id).ok_or(AuthError::Changing)?;
            if !Arc::ptr_eq(&cache, replaced) {
                return Ok(cache);
            }
            tokio::time::sleep(REPLACEMENT_INTERVAL).await;
        }
        Err(AuthError::Changing)
    }

    /// A new token after a receiver refused this one; none if there cannot be another.
    ///
    /// # Errors
    /// When no token is available.
    pub async fn renew(
        &self,
        id: DestinationId,
        timeout: Duration,
        refused: &HeaderValue,
    ) -> Result<Option<HeaderValue>, AuthError> {
        let cache = self.cache(id).ok_or(AuthError::Changing)?;
        if cache.config.auth == AuthSettings::Bearer {
            return Ok(None);
        }
        let (resources, timeout) = (Arc::clone(&self.resources), timeout.min(Self::MAX_TIMEOUT));
        let refused = refused.clone();
        let request = tokio::spawn(async move { cache.renew(&resources, timeout, &refused).await });
        request.await.unwrap_or(Err(AuthError::Changing))
    }

    /// Starts the authorization of a destination.
    ///
    /// # Errors
    /// When the destination's auth needs no authorization.
    pub fn begin(
        &self,
        id: DestinationId,
        origin: &Origin<'_>,
    ) -> Result<AuthorizationRequest, AuthorizationError> {
        let cache = self.cache(id).ok_or(AuthorizationError::NothingToConnect)?;
        let AuthSettings::AuthorizationCode(client) = &cache.config.auth else {
            return Err(AuthorizationError::NothingToConnect);
        };
        let client = client.clone();
        self.pending.begin(cache, &client, origin, self.resources.clock.service_now())
    }

    /// Completes what [`Self::begin`] started and returns the connected `source/destination`. The caller
    /// reloads the pipeline.
    ///
    /// # Errors
    /// When the destination is not connected.
    pub async fn finish(&self, callback: Callback) -> Result<String, ConnectError> {
        let now = self.resources.clock.service_now();
        let browser = callback.browser.as_deref();
        let pending = self.pending.take(&callback.state, browser, now);
        let pending = pending.map_err(|refused| match refused {
            StateRefused::Unknown => ConnectError::UnknownState,
            StateRefused::Expired => ConnectError::ExpiredState,
            StateRefused::OtherBrowser => ConnectError::OtherBrowser,
        })?;
        if let Some(error) = callback.error {
            return Err(ConnectError::Refused(token_endpoint::quotable(
                &error,
                std::iter::empty(),
            )));
        }
        let code = callback.code.ok_or(ConnectError::NoCode)?;
        let cache = Arc::clone(&pending.cache);
        let current = self.cache(cache.config.destination_id);
        let AuthSettings::AuthorizationCode(client) = cache.config.auth.clone() else {
            return Err(AuthError::Changing.into());
        };
        // The pipeline may have been reloaded since; the authorization is void if the settings changed.
        let cache = current
            .filter(|it| it.config.auth.keeps_connection(&cache.config.auth))
            .ok_or(AuthError::Changing)?;
        let resources = Arc::clone(&self.resources);
        let path = cache.config.path.clone();
        let code = token_endpoint::GrantedCode {
            client,
            code,
            verifier: pending.verifier,
            redirect_url: pending.redirect_url,
        };
        // In a separate task: a closed browser must not lose the code.
        let connecting =
            tokio::spawn(async move { cache.connect(&resources, &code, Self::MAX_TIMEOUT).await });
        connecting.await.unwrap_or(Err(AuthError::Changing))?;
        Ok(path)
    }

    /// Ends a destination's connection. The caller reloads the pipeline.
    ///
    /// # Errors
    /// When the store fails; a conflict when the destination has no connection.
    pub async fn disconnect(
        &self,
        id: DestinationId,
        why: &str,
        act: Act,
    ) -> Result<(), StoreError> {
        let cache = self.cache(id).ok_or(StoreError::Conflict)?;
        cache.disconnect(&self.resources, why.to_owned(), act).await
    }

    /// Resolves when a connection was lost or changed elsewhere: the pipeline has to be reloaded.
    pub async fn changed(&self) {
        self.resources.changed.notified().await;
    }
}
