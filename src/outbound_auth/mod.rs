//! What authorizes a destination's requests: bearer tokens as given, OAuth 2.0 tokens got, kept,
//! refreshed and connected. Tokens in use are here; what must outlive the process is in the store,
//! sealed. It sends nothing to receivers: that is the dispatcher's.

mod account;
mod consent;
mod fault;
mod grant;

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
use crate::store::{CredentialSlot, Pipeline, Store, StoreError};

pub use consent::{BeginError, Begun};
pub use fault::{AuthFault, ConnectError};
pub use grant::GrantError;

use account::{Account, Terms, Tools};
use consent::{Consents, StateRefused};

/// What the room works with.
pub struct AuthParts {
    /// Where connections are kept.
    pub store: Arc<dyn Store>,
    /// What asks token endpoints.
    pub sender: Arc<Sender>,
    /// What seals tokens.
    pub keyring: Arc<Keyring>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// Every destination's tokens; cheap to clone.
#[derive(Clone)]
pub struct Auth {
    tools: Arc<Tools>,
    accounts: Arc<RwLock<HashMap<DestinationId, Arc<Account>>>>,
    consents: Arc<Consents>,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Auth").finish_non_exhaustive()
    }
}

/// What a browser brings from an authorization server.
#[derive(Debug)]
pub struct Return {
    /// What it was sent there with.
    pub state: String,
    /// What tokens are got with.
    pub code: Option<SecretString>,
    /// Why there is no code, as the server says it.
    pub error: Option<String>,
}

impl Auth {
    /// The longest that a token endpoint may take. Twice this, once ahead of a request and once
    /// after it was refused, is within what a lease lasts beyond the request's own time.
    pub const LONGEST: Duration = Duration::from_secs(5);

    /// Nobody's tokens yet.
    #[must_use]
    pub fn new(parts: AuthParts) -> Self {
        let AuthParts { store, sender, keyring, clock } = parts;
        Self {
            tools: Arc::new(Tools { store, sender, keyring, clock, changed: Notify::new() }),
            accounts: Arc::default(),
            consents: Arc::default(),
        }
    }

    /// Takes over what is set up. What stays as it was keeps its tokens.
    ///
    /// # Errors
    /// When a secret cannot be opened; everything stays as it was.
    pub fn take_over(&self, pipeline: &Pipeline) -> Result<(), SecretError> {
        let mut accounts = HashMap::new();
        for destination in &pipeline.destinations {
            if destination.settings.auth != AuthSettings::None {
                accounts.insert(destination.id, self.account_of(pipeline, destination)?);
            }
        }
        *self.accounts.write().unwrap_or_else(PoisonError::into_inner) = accounts;
        Ok(())
    }

    fn account_of(
        &self,
        pipeline: &Pipeline,
        destination: &Destination,
    ) -> Result<Arc<Account>, SecretError> {
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
        if let Some(account) = self.account(destination.id) {
            // The store may have been read before this account's last change was written.
            let is_current = account.number() >= connection.map_or(0, |it| it.number);
            let terms = &account.terms;
            if is_current && terms.auth == *auth && terms.secret_id == secret_id {
                return Ok(account);
            }
        }
        let keyring = &self.tools.keyring;
        let source = pipeline.sources.iter().find(|one| one.id == destination.source_id);
        let source = source.map_or("", |source| source.name.as_str());
        let terms = Terms {
            destination_id: destination.id,
            path: format!("{source}/{}", destination.name),
            auth: auth.clone(),
            secret: sealed.map(|sealed| keyring.open(sealed, purpose)).transpose()?,
            secret_id,
        };
        Account::new(terms, connection, keyring).map(Arc::new)
    }

    fn account(&self, id: DestinationId) -> Option<Arc<Account>> {
        self.accounts.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// The `Authorization` of a request to this destination, which needs one. `timeout` is the
    /// request's own: a token endpoint gets no more.
    ///
    /// # Errors
    /// When there is no token to be had just now: the request must not be sent.
    pub async fn token(
        &self,
        id: DestinationId,
        timeout: Duration,
    ) -> Result<HeaderValue, AuthFault> {
        let account = self.account(id).ok_or(AuthFault::Changing)?;
        if let Some(header) = account.at_hand(self.tools.clock.now()) {
            return Ok(header);
        }
        let (tools, timeout) = (Arc::clone(&self.tools), timeout.min(Self::LONGEST));
        // In a task of its own: a caller that goes away must not lose a token that was got.
        let flying = tokio::spawn(async move { account.token(&tools, timeout).await });
        flying.await.unwrap_or(Err(AuthFault::Changing))
    }

    /// Another token, after a receiver refused this one; none when there can be no other.
    ///
    /// # Errors
    /// When there is no token to be had just now.
    pub async fn renew(
        &self,
        id: DestinationId,
        timeout: Duration,
        refused: &HeaderValue,
    ) -> Result<Option<HeaderValue>, AuthFault> {
        let account = self.account(id).ok_or(AuthFault::Changing)?;
        if account.terms.auth == AuthSettings::Bearer {
            return Ok(None);
        }
        let (tools, timeout) = (Arc::clone(&self.tools), timeout.min(Self::LONGEST));
        let refused = refused.clone();
        let flying = tokio::spawn(async move { account.renew(&tools, timeout, &refused).await });
        flying.await.unwrap_or(Err(AuthFault::Changing))
    }

    /// Begins to connect a destination: where to send a browser, which comes back to `redirect_url`.
    ///
    /// # Errors
    /// When there is nothing to connect.
    pub fn begin(&self, id: DestinationId, redirect_url: &str) -> Result<Begun, BeginError> {
        let account = self.account(id).ok_or(BeginError::NothingToConnect)?;
        let AuthSettings::AuthorizationCode(client) = &account.terms.auth else {
            return Err(BeginError::NothingToConnect);
        };
        let client = client.clone();
        self.consents.begin(account, &client, redirect_url, self.tools.clock.now())
    }

    /// Ends what [`Self::begin`] began. Returns `source/destination`, which is connected; what is
    /// set up is to be read again then.
    ///
    /// # Errors
    /// When it is not connected by this.
    pub async fn finish(&self, returned: Return) -> Result<String, ConnectError> {
        let now = self.tools.clock.now();
        let pending =
            self.consents.take(&returned.state, now).map_err(|refused| match refused {
                StateRefused::Unknown => ConnectError::UnknownState,
                StateRefused::Expired => ConnectError::ExpiredState,
            })?;
        if let Some(error) = returned.error {
            return Err(ConnectError::Refused(grant::quotable(&error, std::iter::empty())));
        }
        let code = returned.code.ok_or(ConnectError::NoCode)?;
        let account = Arc::clone(&pending.account);
        let current = self.account(account.terms.destination_id);
        let AuthSettings::AuthorizationCode(client) = account.terms.auth.clone() else {
            return Err(AuthFault::Changing.into());
        };
        // The account may have been made anew since; for other settings it does not count.
        let account = current
            .filter(|it| it.terms.auth.keeps_connection(&account.terms.auth))
            .ok_or(AuthFault::Changing)?;
        let tools = Arc::clone(&self.tools);
        let path = account.terms.path.clone();
        let code = grant::Code {
            client,
            code,
            verifier: pending.verifier,
            redirect_url: pending.redirect_url,
        };
        // In a task of its own: a browser that goes away must not lose what it has brought.
        let connecting =
            tokio::spawn(async move { account.connect(&tools, &code, Self::LONGEST).await });
        connecting.await.unwrap_or(Err(AuthFault::Changing))?;
        Ok(path)
    }

    /// Ends a destination's connection; what is set up is to be read again then.
    ///
    /// # Errors
    /// When the store does not take it; a conflict when the destination has none to end.
    pub async fn disconnect(
        &self,
        id: DestinationId,
        why: &str,
        act: Act,
    ) -> Result<(), StoreError> {
        let account = self.account(id).ok_or(StoreError::Conflict)?;
        account.disconnect(&self.tools, why.to_owned(), act).await
    }

    /// Resolves when a connection was lost, or changed by somebody else: what is set up is to be
    /// read again.
    pub async fn changed(&self) {
        self.tools.changed.notified().await;
    }
}
