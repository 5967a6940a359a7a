//! One destination's tokens: got when they are needed, refreshed ahead of their end and when they
//! are refused, by one request at a time. A token that replaces another is stored before it is
//! used; a failure is not repeated before a wait has passed.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, Notify};
use zeroize::{Zeroize, Zeroizing};

use super::fault::AuthFault;
use super::grant::{Code, Server, Tokens};
use crate::domain::auth::Act;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::id::DestinationId;
use crate::domain::outbound_auth::{Auth, CodeClient};
use crate::domain::secret::SealedSecret;
use crate::sender::Sender;
use crate::settings::secrets::{Keyring, Purpose, SecretError};
use crate::store::{Connection, ConnectionChange, ConnectionState, PipelineStore, StoreError};

/// A token is refreshed this long before its end, or a quarter of its life if that is less.
const AHEAD: Duration = Duration::from_secs(60);
/// The wait after a first failure; it doubles up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A token that is refused so soon after it replaced a refused one is not replaced again.
const RENEWED_ONCE: Duration = Duration::from_secs(10);

/// What accounts work with.
pub(super) struct Tools {
    pub(super) store: Arc<dyn PipelineStore>,
    pub(super) sender: Arc<Sender>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) clock: Arc<dyn Clock>,
    /// A connection was lost or changed by somebody else: what is set up is to be read again.
    pub(super) changed: Notify,
}

/// What an account is made of.
pub(super) struct Terms {
    pub(super) destination_id: DestinationId,
    /// `source/destination`, for logs.
    pub(super) path: String,
    pub(super) auth: Auth,
    /// The bearer token or the client's secret, and the row it is from.
    pub(super) secret: Option<SecretString>,
    pub(super) secret_id: Option<[u8; 16]>,
}

/// One destination's tokens.
pub(super) struct Account {
    pub(super) terms: Terms,
    /// Of the connection that it stands by; only rises.
    number: AtomicI64,
    live: RwLock<Option<Arc<Live>>>,
    flight: Mutex<Flight>,
}

/// A token in use.
struct Live {
    header: HeaderValue,
    refresh_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
}

/// What only whoever asks the server touches.
#[derive(Default)]
struct Flight {
    refresh: Option<SecretString>,
    /// Why it is not connected.
    unconnected: Option<String>,
    /// Got and not stored yet.
    unstored: Option<(Tokens, Timestamp)>,
    failed: Option<Failed>,
    renewed_at: Option<Timestamp>,
}

struct Failed {
    fault: AuthFault,
    again_at: Timestamp,
    wait: Duration,
}

/// Both tokens of a connection, as they are sealed.
#[derive(Serialize, Deserialize)]
struct Kept {
    access_token: String,
    #[serde(default)]
    refresh_token: Option<String>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.access_token.zeroize();
        self.refresh_token.zeroize();
    }
}

impl Live {
    fn new(
        access: &SecretString,
        got_at: Timestamp,
        expires_at: Option<Timestamp>,
    ) -> Option<Self> {
        let mut header =
            HeaderValue::try_from(format!("Bearer {}", access.expose_secret())).ok()?;
        header.set_sensitive(true);
        let refresh_at = expires_at.map(|at| at - AHEAD.min(at.since(got_at) / 4));
        Some(Self { header, refresh_at, expires_at })
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        self.refresh_at.is_none_or(|at| now < at)
    }

    fn is_valid(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|at| now < at)
    }
}

/// What a token request may end with, beside a token.
enum Renewal {
    /// A token to try with.
    Token(HeaderValue),
    /// The one that was refused has just replaced another that was.
    Exhausted,
}

impl Account {
    /// The account of a destination as it is set up.
    pub(super) fn new(
        terms: Terms,
        connection: Option<&Connection>,
        keyring: &Keyring,
    ) -> Result<Self, SecretError> {
        let mut flight = Flight::default();
        let mut live = None;
        match (&terms.auth, connection.map(|it| &it.state)) {
            (Auth::Bearer, _) => {
                let got_at = Timestamp::default();
                live = terms.secret.as_ref().and_then(|token| Live::new(token, got_at, None));
            }
            (Auth::AuthorizationCode(_), None) => {
                flight.unconnected = Some("nobody has connected it yet".to_owned());
            }
            (Auth::AuthorizationCode(_), Some(ConnectionState::Lost { fault })) => {
                flight.unconnected = Some(fault.clone());
            }
            (
                Auth::AuthorizationCode(_),
                Some(ConnectionState::Connected { tokens, expires_at }),
            ) => {
                let (access, refresh) = unsealed(tokens, keyring)?;
                live = Live::new(&access, tokens.created_at, *expires_at);
                flight.refresh = refresh;
            }
            (Auth::None | Auth::ClientCredentials(_), _) => {}
        }
        Ok(Self {
            terms,
            number: AtomicI64::new(connection.map_or(0, |it| it.number)),
            live: RwLock::new(live.map(Arc::new)),
            flight: Mutex::new(flight),
        })
    }

    pub(super) fn number(&self) -> i64 {
        self.number.load(Ordering::SeqCst)
    }

    fn live(&self) -> Option<Arc<Live>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_live(&self, live: Option<Live>) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = live.map(Arc::new);
    }

    /// A token that can be used without asking anybody: a fresh one, or one that ends soon while
    /// somebody else is getting its successor.
    pub(super) fn at_hand(&self, now: Timestamp) -> Option<HeaderValue> {
        let live = self.live()?;
        let usable = live.is_fresh(now) || live.is_valid(now) && self.flight.try_lock().is_err();
        usable.then(|| live.header.clone())
    }

    /// A token, after asking for one where that is needed.
    pub(super) async fn token(
        &self,
        tools: &Tools,
        timeout: Duration,
    ) -> Result<HeaderValue, AuthFault> {
        match self.obtain(tools, timeout, None).await? {
            Renewal::Token(header) => Ok(header),
            Renewal::Exhausted => Err(AuthFault::Changing),
        }
    }

    /// Another token than the one that a receiver refused; none when there can be no other.
    pub(super) async fn renew(
        &self,
        tools: &Tools,
        timeout: Duration,
        refused: &HeaderValue,
    ) -> Result<Option<HeaderValue>, AuthFault> {
        match self.obtain(tools, timeout, Some(refused)).await? {
            Renewal::Token(header) => Ok(Some(header)),
            Renewal::Exhausted => Ok(None),
        }
    }

    async fn obtain(
        &self,
        tools: &Tools,
        timeout: Duration,
        refused: Option<&HeaderValue>,
    ) -> Result<Renewal, AuthFault> {
        let mut flight = self.flight.lock().await;
        let now = tools.clock.now();
        let usable = self.live().filter(|live| refused != Some(&live.header));
        if let Some(live) = usable.as_ref().filter(|live| live.is_fresh(now)) {
            return Ok(Renewal::Token(live.header.clone()));
        }
        let is_renewal = refused.is_some() && usable.is_none();
        if is_renewal && flight.renewed_at.is_some_and(|at| now < at + RENEWED_ONCE) {
            return Ok(Renewal::Exhausted);
        }
        let waits = flight.failed.as_ref().filter(|failed| now < failed.again_at);
        let result = match waits {
            Some(failed) => Err(failed.fault.clone()),
            None => self.ask(tools, timeout, &mut flight).await,
        };
        match (result, usable.filter(|live| live.is_valid(now))) {
            (Ok(header), _) => {
                flight.renewed_at = if is_renewal { Some(now) } else { flight.renewed_at };
                Ok(Renewal::Token(header))
            }
            // It ends soon and is good until then.
            (
                Err(AuthFault::NoToken(_) | AuthFault::Unstored(_) | AuthFault::Unsealed(_)),
                Some(live),
            ) => Ok(Renewal::Token(live.header.clone())),
            (Err(fault), _) => Err(fault),
        }
    }

    async fn ask(
        &self,
        tools: &Tools,
        timeout: Duration,
        flight: &mut Flight,
    ) -> Result<HeaderValue, AuthFault> {
        let result = match &self.terms.auth {
            Auth::ClientCredentials(client) => {
                let server = self.server(tools, timeout);
                match server.client_credentials(client).await {
                    Ok(tokens) => self.use_tokens(&tokens, tools.clock.now()),
                    Err(error) => Err(error.into()),
                }
            }
            Auth::AuthorizationCode(client) => self.refresh(tools, timeout, client, flight).await,
            Auth::None | Auth::Bearer => Err(AuthFault::Changing),
        };
        match &result {
            Ok(_) => flight.failed = None,
            Err(AuthFault::NotConnected(_) | AuthFault::Changing) => {}
            Err(fault) => {
                let wait = flight.failed.as_ref().map_or(FIRST_WAIT, |failed| failed.wait * 2);
                let wait = wait.min(LONGEST_WAIT);
                let again_at = tools.clock.now() + wait;
                tracing::warn!(
                    destination = self.terms.path, again_at = %again_at, "{}", fault.in_words()
                );
                flight.failed = Some(Failed { fault: fault.clone(), again_at, wait });
            }
        }
        result
    }

    async fn refresh(
        &self,
        tools: &Tools,
        timeout: Duration,
        client: &CodeClient,
        flight: &mut Flight,
    ) -> Result<HeaderValue, AuthFault> {
        if let Some(why) = &flight.unconnected {
            return Err(AuthFault::NotConnected(why.clone()));
        }
        if let Some((tokens, got_at)) = flight.unstored.take() {
            let header = self.keep(tools, flight, tokens, got_at).await?;
            let now = tools.clock.now();
            if self.live().is_some_and(|live| live.is_valid(now)) {
                return Ok(header);
            }
        }
        let Some(refresh) = flight.refresh.clone() else {
            let why = "its access token is good no more, and there is no refresh token";
            return Err(self.lose(tools, flight, why.to_owned()).await);
        };
        match self.server(tools, timeout).refresh(client, &refresh).await {
            Ok(tokens) => self.keep(tools, flight, tokens, tools.clock.now()).await,
            Err(error) if error.is_over() => Err(self.lose(tools, flight, error.to_string()).await),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the tokens that a code was good for.
    pub(super) async fn connect(
        &self,
        tools: &Tools,
        code: &Code,
        timeout: Duration,
    ) -> Result<(), AuthFault> {
        let mut flight = self.flight.lock().await;
        let tokens = self.server(tools, timeout).code(code).await?;
        // A refresh token of the connection before belongs to a grant that may be over.
        flight.refresh = None;
        flight.unstored = None;
        self.keep(tools, &mut flight, tokens, tools.clock.now()).await?;
        flight.unconnected = None;
        flight.failed = None;
        flight.renewed_at = None;
        Ok(())
    }

    /// Ends the connection.
    pub(super) async fn disconnect(
        &self,
        tools: &Tools,
        why: String,
        act: Act,
    ) -> Result<(), StoreError> {
        let mut flight = self.flight.lock().await;
        let state = ConnectionState::Lost { fault: why.clone() };
        self.store(tools, state, act).await?;
        self.forget(&mut flight, why);
        Ok(())
    }

    fn server<'a>(&'a self, tools: &'a Tools, timeout: Duration) -> Server<'a> {
        Server { sender: &tools.sender, timeout, secret: self.terms.secret.as_ref() }
    }

    /// Stores tokens and only then uses them: a refresh token is good once at many servers, and a
    /// crash between its use and its successor's commit would lose the connection.
    async fn keep(
        &self,
        tools: &Tools,
        flight: &mut Flight,
        tokens: Tokens,
        got_at: Timestamp,
    ) -> Result<HeaderValue, AuthFault> {
        if let Some(refresh) = &tokens.refresh {
            flight.refresh = Some(refresh.clone());
        }
        let expires_at = tokens.expires_in.map(|span| got_at + span);
        let sealed = sealed(&tokens, flight.refresh.as_ref(), &tools.keyring, got_at)
            .map_err(|error| AuthFault::Unsealed(Arc::new(error)))?;
        let state = ConnectionState::Connected { tokens: sealed, expires_at };
        match self.store(tools, state, by_itself(tools)).await {
            Ok(()) => self.use_tokens(&tokens, got_at),
            Err(StoreError::Conflict) => Err(AuthFault::Changing),
            Err(error) => {
                flight.unstored = Some((tokens, got_at));
                Err(AuthFault::Unstored(Arc::new(error)))
            }
        }
    }

    fn use_tokens(&self, tokens: &Tokens, got_at: Timestamp) -> Result<HeaderValue, AuthFault> {
        let expires_at = tokens.expires_in.map(|span| got_at + span);
        let live = Live::new(&tokens.access, got_at, expires_at).ok_or(AuthFault::Changing)?;
        let header = live.header.clone();
        self.set_live(Some(live));
        Ok(header)
    }

    /// The grant is over: deliveries are held from now on.
    async fn lose(&self, tools: &Tools, flight: &mut Flight, why: String) -> AuthFault {
        let lost = ConnectionState::Lost { fault: why.clone() };
        match self.store(tools, lost, by_itself(tools)).await {
            Ok(()) => {
                let destination = &self.terms.path;
                tracing::warn!(destination, why, "not connected any more: its deliveries are held");
                self.forget(flight, why.clone());
                tools.changed.notify_one();
                AuthFault::NotConnected(why)
            }
            Err(StoreError::Conflict) => AuthFault::Changing,
            Err(error) => AuthFault::Unstored(Arc::new(error)),
        }
    }

    fn forget(&self, flight: &mut Flight, why: String) {
        *flight = Flight { unconnected: Some(why), ..Flight::default() };
        self.set_live(None);
    }

    async fn store(
        &self,
        tools: &Tools,
        state: ConnectionState,
        act: Act,
    ) -> Result<(), StoreError> {
        let change = ConnectionChange {
            destination_id: self.terms.destination_id,
            expected_number: self.number(),
            state,
        };
        match tools.store.change_connection(change, act).await {
            Ok(number) => {
                self.number.store(number, Ordering::SeqCst);
                Ok(())
            }
            Err(error) => {
                if matches!(error, StoreError::Conflict) {
                    // Somebody else changed it: this account is to be made anew.
                    tools.changed.notify_one();
                }
                Err(error)
            }
        }
    }
}

fn sealed(
    tokens: &Tokens,
    refresh: Option<&SecretString>,
    keyring: &Keyring,
    got_at: Timestamp,
) -> Result<SealedSecret, SecretError> {
    let kept = Kept {
        access_token: tokens.access.expose_secret().to_owned(),
        refresh_token: refresh.map(|token| token.expose_secret().to_owned()),
    };
    let text = Zeroizing::new(serde_json::to_string(&kept).unwrap_or_default());
    keyring.seal(&SecretString::from(text.as_str()), Purpose::Connection, got_at)
}

fn unsealed(
    sealed: &SealedSecret,
    keyring: &Keyring,
) -> Result<(SecretString, Option<SecretString>), SecretError> {
    let text = keyring.open(sealed, Purpose::Connection)?;
    let kept: Kept = serde_json::from_str(text.expose_secret())
        .map_err(|_not_what_was_sealed| SecretError::Tampered)?;
    let secret = |text: &str| SecretString::from(text);
    Ok((secret(&kept.access_token), kept.refresh_token.as_deref().map(secret)))
}

/// An act of the service itself: a grant that came or went.
fn by_itself(tools: &Tools) -> Act {
    Act::of_the_service("oauth", tools.clock.now())
}
