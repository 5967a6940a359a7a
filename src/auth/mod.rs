//! Who is let in: the tokens in force, held in memory, so that letting one in reads no table. Making
//! and revoking them goes through here, so that what is held is always what is stored.

use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;

use crate::domain::audit::{Action, NewEntry};
use crate::domain::auth::{Act, Caller, Forbidden, Role, Scope};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::id::TokenId;
use crate::settings::secrets::{SecretError, digest, generate};
use crate::store::{NewToken, Revocation, Store, StoreError, Token};

mod rate_limit;
mod token_request;

pub use rate_limit::{Allowance, WINDOW};
pub use token_request::{AskedToken, TokenFault};

use rate_limit::Window;

/// The name of the token that is made at first start, for the command line on the same machine.
pub const OPERATOR: &str = "operator";

/// The address that a connection came from; a request carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No token like this was made here, or it was revoked.
    #[error("the token is unknown or was revoked")]
    Unknown,
    /// The token has ended.
    #[error("the token has expired")]
    Expired,
}

/// Why a token was not made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// What was asked for is not right; each fault has its field.
    #[error("the token cannot be as it is asked for")]
    Asked(Vec<TokenFault>),
    /// It would have more rights than the token that it is made with.
    #[error(transparent)]
    Beyond(Forbidden),
    /// There is a token of this name.
    #[error("there is a token {0:?} already")]
    Taken(String),
    /// There is no randomness.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// It was not stored.
    #[error(transparent)]
    Store(StoreError),
}

/// A token that was made; its text is shown this once.
#[derive(Debug)]
pub struct Made {
    /// The token as it is kept.
    pub token: Token,
    /// Its text.
    pub secret: SecretString,
}

/// A token in force.
struct Live {
    token: Token,
    /// When it was last used, in microseconds; 0: not since it is held.
    used_at: AtomicI64,
    /// What of that the store knows.
    noted_at: AtomicI64,
    /// Its requests in the running minute.
    window: Window,
}

impl Live {
    fn of(token: Token) -> Self {
        let used_at = token.last_used_at.map_or(0, Timestamp::as_micros);
        Self {
            token,
            used_at: AtomicI64::new(used_at),
            noted_at: AtomicI64::new(used_at),
            window: Window::default(),
        }
    }

    fn has_ended(&self, now: Timestamp) -> bool {
        self.token.made.expires_at.is_some_and(|at| at <= now)
    }
}

/// Refused sign-ins kept on record in a minute.
const REFUSALS_A_MINUTE: u32 = 10;

/// Which refused sign-ins are kept on record: nobody fills the log from outside.
#[derive(Debug, Default)]
struct Refusals {
    minute: i64,
    kept: u32,
    unkept: u64,
}

impl Refusals {
    /// Whether one is kept now; with it, how many were not since the last that was.
    fn keep(&mut self, now: Timestamp) -> Option<u64> {
        let minute = now.as_seconds().div_euclid(60);
        if minute != self.minute {
            (self.minute, self.kept) = (minute, 0);
        }
        if self.kept == REFUSALS_A_MINUTE {
            self.unkept += 1;
            return None;
        }
        self.kept += 1;
        Some(std::mem::take(&mut self.unkept))
    }
}

fn address(from: Option<Peer>) -> String {
    from.map_or_else(|| "unknown".to_owned(), |Peer(address)| address.to_string())
}

/// The tokens in force.
pub struct Authenticator {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    live: RwLock<Arc<[Arc<Live>]>>,
    refusals: Mutex<Refusals>,
    /// One change at a time: what was read earlier must not be put in force later.
    changing: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Authenticator")
            .field("tokens", &self.live().len())
            .finish_non_exhaustive()
    }
}

impl Authenticator {
    /// Takes the store's tokens into use; the token of the machine's token file is let in as an
    /// admin's, in place of the one that was let in under its name before.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read or written.
    pub async fn open(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        operator: &SecretString,
    ) -> Result<Self, StoreError> {
        let token = NewToken {
            name: OPERATOR.to_owned(),
            role: Role::Admin,
            scope: Scope::Everything,
            digest: digest(operator.expose_secret()),
            expires_at: None,
        };
        let is_let_in = token.digest;
        store.admit_token(token, Act::of_the_service("start", clock.now())).await?;
        let changing = tokio::sync::Mutex::default();
        let live = RwLock::new(Arc::new([]) as Arc<[_]>);
        let authenticator = Self { store, clock, live, refusals: Mutex::default(), changing };
        authenticator.reload().await?;
        if !authenticator.live().iter().any(|it| it.token.made.digest == is_let_in) {
            tracing::warn!(
                "the token of the token file was revoked: the command line needs another"
            );
        }
        Ok(authenticator)
    }

    fn live(&self) -> Arc<[Arc<Live>]> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the store's tokens into use.
    async fn reload(&self) -> Result<(), StoreError> {
        let before = self.live();
        let tokens = self.store.tokens().await?;
        let live = tokens.into_iter().map(|token| {
            // What is held goes on being held: it knows uses that the store does not yet.
            let held = before.iter().find(|it| it.token.id == token.id);
            held.map_or_else(|| Arc::new(Live::of(token)), Arc::clone)
        });
        let live = live.collect();
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = live;
        Ok(())
    }

    /// Lets in whoever brings a token in force.
    ///
    /// # Errors
    /// [`Refusal`] otherwise.
    pub fn authenticate(&self, secret: &str, from: Option<Peer>) -> Result<Caller, Refusal> {
        let given = digest(secret);
        // Every token is compared: the time taken tells nothing about which one matched.
        let mut found = None;
        for live in self.live().iter() {
            if bool::from(live.token.made.digest.ct_eq(&given)) {
                found = Some(Arc::clone(live));
            }
        }
        self.admit(found.as_deref(), from)
    }

    /// Lets in whoever was let in before by the token with this key, as a session does; a token that
    /// was revoked or has ended since lets nobody in.
    ///
    /// # Errors
    /// [`Refusal`] otherwise.
    pub fn admit_again(&self, token_id: TokenId, from: Option<Peer>) -> Result<Caller, Refusal> {
        let live = self.live();
        let found = live.iter().find(|it| it.token.id == token_id);
        self.admit(found.map(|it| &**it), from)
    }

    /// Whether the token with this key lets anybody in. To ask is no use of it.
    #[must_use]
    pub fn is_in_force(&self, token_id: TokenId) -> bool {
        let now = self.clock.now();
        self.live().iter().any(|it| it.token.id == token_id && !it.has_ended(now))
    }

    fn admit(&self, live: Option<&Live>, from: Option<Peer>) -> Result<Caller, Refusal> {
        let live = live.ok_or(Refusal::Unknown)?;
        let now = self.clock.now();
        if live.has_ended(now) {
            return Err(Refusal::Expired);
        }
        live.used_at.fetch_max(now.as_micros(), Ordering::Relaxed);
        let made = &live.token.made;
        Ok(Caller {
            token_id: live.token.id,
            name: made.name.clone(),
            role: made.role,
            scope: made.scope.clone(),
            from: address(from),
            request_id: None,
        })
    }

    /// Lets somebody in who signs in with a token, and keeps on record that it happened or was
    /// refused. Of refusals so many a minute are kept; the next one that is tells how many were not.
    /// A store that takes nothing keeps nobody out: what is wrong with it can be looked at.
    ///
    /// # Errors
    /// [`Refusal`] for who is not let in.
    pub async fn sign_in(&self, secret: &str, from: Option<Peer>) -> Result<Caller, Refusal> {
        let now = self.clock.now();
        let admitted = self.authenticate(secret, from);
        match &admitted {
            Ok(caller) => self.note(caller.act(now), Action::SignIn, &caller.name, None).await,
            Err(refusal) => {
                let unkept = self.refusals.lock().unwrap_or_else(PoisonError::into_inner).keep(now);
                if let Some(unkept) = unkept {
                    let after = json!({"because": refusal.to_string(), "not_kept_before": unkept});
                    let act = Act {
                        actor: "unknown".to_owned(),
                        from: address(from),
                        ..Act::of_the_service("", now)
                    };
                    self.note(act, Action::RefuseSignIn, "", Some(after)).await;
                }
            }
        }
        admitted
    }

    /// Keeps on record that somebody signed out.
    pub async fn sign_out(&self, caller: &Caller) {
        self.note(caller.act(self.clock.now()), Action::SignOut, &caller.name, None).await;
    }

    /// Keeps something on record; where the store does not take it, the log has it.
    async fn note(&self, act: Act, action: Action, subject: &str, after: Option<Value>) {
        let (actor, from) = (act.actor.clone(), act.from.clone());
        let done = NewEntry { action, subject: subject.to_owned(), before: None, after };
        if let Err(error) = self.store.note(act, done).await {
            let action = action.as_str();
            tracing::error!(action, actor, from, %error, "not on record: the store did not take it");
        }
    }

    /// Counts a request of this caller's token against its quota of a minute.
    #[must_use]
    pub fn spend(&self, caller: &Caller, quota: u32) -> Allowance {
        let live = self.live();
        let now = self.clock.now();
        let found = live.iter().find(|it| it.token.id == caller.token_id);
        // A token that was revoked in this moment has nothing left.
        found.map_or(Allowance { quota, left: None, reset_s: WINDOW.as_secs() }, |live| {
            live.window.spend(quota, now)
        })
    }

    /// The tokens that this caller may see, by name: those that reach nothing that it does not.
    #[must_use]
    pub fn tokens(&self, caller: &Caller) -> Vec<Token> {
        let live = self.live();
        let seen = live.iter().filter(|it| caller.scope.contains(&it.token.made.scope));
        seen.map(|it| {
            let used_at = it.used_at.load(Ordering::Relaxed);
            let last_used_at = (used_at > 0).then(|| Timestamp::from_micros(used_at));
            Token { last_used_at, ..it.token.clone() }
        })
        .collect()
    }

    /// Makes a token with no more rights than the caller's.
    ///
    /// # Errors
    /// [`MakeError`].
    pub async fn make(&self, asked: &AskedToken, caller: &Caller) -> Result<Made, MakeError> {
        let now = self.clock.now();
        let terms = asked.check(caller, now)?;
        let secret = generate("prt_")?;
        let token = terms.token(digest(secret.expose_secret()));
        let _one_at_a_time = self.changing.lock().await;
        let name = token.name.clone();
        let token = match self.store.create_token(token, caller.act(now)).await {
            Err(StoreError::Conflict) => return Err(MakeError::Taken(name)),
            other => other.map_err(MakeError::Store)?,
        };
        self.reload().await.map_err(MakeError::Store)?;
        Ok(Made { token, secret })
    }

    /// Revokes a token by name; one that the caller may not see is unknown to it.
    ///
    /// # Errors
    /// [`StoreError`] when it was not stored.
    pub async fn revoke(&self, name: &str, caller: &Caller) -> Result<Revocation, StoreError> {
        if !self.tokens(caller).iter().any(|token| token.made.name == name) {
            return Ok(Revocation::Unknown);
        }
        let _one_at_a_time = self.changing.lock().await;
        let revocation = self.store.revoke_token(name, caller.act(self.clock.now())).await?;
        self.reload().await?;
        Ok(revocation)
    }

    /// Stores when tokens were last used, where that has changed: a duty's step, so that a request
    /// costs no commit.
    ///
    /// # Errors
    /// [`StoreError`] when it was not stored; the next run tries again.
    pub async fn note_uses(&self) -> Result<(), StoreError> {
        let live = self.live();
        let changed: Vec<_> = live
            .iter()
            .map(|it| (it, it.used_at.load(Ordering::Relaxed)))
            .filter(|(it, used_at)| *used_at > it.noted_at.load(Ordering::Relaxed))
            .collect();
        let uses = changed.iter().map(|(it, at)| (it.token.id, Timestamp::from_micros(*at)));
        self.store.note_token_uses(uses.collect()).await?;
        for (it, used_at) in changed {
            it.noted_at.fetch_max(used_at, Ordering::Relaxed);
        }
        Ok(())
    }
}
