//! Authentication by bearer token. The tokens are held in memory, so that a request reads no table;
//! tokens are created and revoked here, so that memory and store agree.

use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;

use crate::domain::audit::{Action, NewEntry};
use crate::domain::auth::{Act, Caller, Forbidden, Role, Scope, UNKNOWN_ACTOR};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::id::TokenId;
use crate::settings::secrets::{SecretError, digest, generate};
use crate::store::{AuditLog, NewToken, Revocation, StoreError, Token, Tokens};

mod rate_limit;
mod token_request;

pub use rate_limit::{Allowance, WINDOW};
pub use token_request::{TokenFieldError, TokenSpec};

use rate_limit::Window;

/// The name of the token that is created at the first start, for the command line on the same
/// machine.
pub const OPERATOR: &str = "operator";

/// The address that a connection came from; a request carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// Why authentication failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticationError {
    /// The token is unknown or was revoked.
    #[error("the token is unknown or was revoked")]
    Unknown,
    /// The token has expired.
    #[error("the token has expired")]
    Expired,
}

/// Why a token was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateTokenError {
    /// The request is invalid; each error names its field.
    #[error("the token request is invalid")]
    Invalid(Vec<TokenFieldError>),
    /// It would have more rights than the creator's token.
    #[error(transparent)]
    Forbidden(Forbidden),
    /// The name is taken.
    #[error("token {0:?} already exists")]
    NameTaken(String),
    /// The system gave no random bytes.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
}

/// A token that was created; its secret is shown once.
#[derive(Debug)]
pub struct CreatedToken {
    /// The token as it is stored.
    pub token: Token,
    /// Its secret.
    pub secret: SecretString,
}

/// An active token.
struct ActiveToken {
    token: Token,
    /// The time of its last use, in microseconds; 0: not used since it was loaded.
    used_at: AtomicI64,
    /// The time of last use that the store has.
    noted_at: AtomicI64,
    /// Its requests in the current rate limit window.
    window: Window,
}

impl ActiveToken {
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

/// Failed sign-ins that are recorded in a minute.
const REFUSALS_A_MINUTE: u32 = 10;

/// Limits the failed sign-ins in the audit log, so that an attacker cannot fill it.
#[derive(Debug, Default)]
struct Refusals {
    minute: i64,
    kept: u32,
    unkept: u64,
}

impl Refusals {
    /// The number of failed sign-ins that were not recorded since the last one that was; none where
    /// this one is not recorded either.
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

/// Authenticates bearer tokens and owns their life cycle.
pub struct Authenticator {
    tokens: Arc<dyn Tokens>,
    audit: Arc<dyn AuditLog>,
    clock: Arc<dyn Clock>,
    live: RwLock<Arc<[Arc<ActiveToken>]>>,
    refusals: Mutex<Refusals>,
    /// Serializes changes, so that a reload cannot replace the result of a later one.
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
    /// Loads the store's tokens. The token of the machine's token file is stored as an admin's, in
    /// place of the one that had its name before.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails.
    pub async fn open(
        tokens: Arc<dyn Tokens>,
        audit: Arc<dyn AuditLog>,
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
        tokens.admit_token(token, Act::of_the_service("start", clock.now())).await?;
        let changing = tokio::sync::Mutex::default();
        let live = RwLock::new(Arc::new([]) as Arc<[_]>);
        let authenticator =
            Self { tokens, audit, clock, live, refusals: Mutex::default(), changing };
        authenticator.reload().await?;
        if !authenticator.live().iter().any(|it| it.token.made.digest == is_let_in) {
            tracing::warn!(
                "the token in the token file was revoked: the command line needs another"
            );
        }
        Ok(authenticator)
    }

    fn live(&self) -> Arc<[Arc<ActiveToken>]> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reloads the store's tokens.
    async fn reload(&self) -> Result<(), StoreError> {
        let before = self.live();
        let tokens = self.tokens.tokens().await?;
        let live = tokens.into_iter().map(|token| {
            // The entry in memory is kept: it has a time of last use that is not stored yet.
            let held = before.iter().find(|it| it.token.id == token.id);
            held.map_or_else(|| Arc::new(ActiveToken::of(token)), Arc::clone)
        });
        let live = live.collect();
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = live;
        Ok(())
    }

    /// Authenticates a token.
    ///
    /// # Errors
    /// [`AuthenticationError`] otherwise.
    pub fn authenticate(
        &self,
        secret: &str,
        from: Option<Peer>,
    ) -> Result<Caller, AuthenticationError> {
        let given = digest(secret);
        // Every token is compared in constant time, so that timing does not reveal which one
        // matched.
        let mut found = None;
        for live in self.live().iter() {
            if bool::from(live.token.made.digest.ct_eq(&given)) {
                found = Some(Arc::clone(live));
            }
        }
        self.admit(found.as_deref(), from)
    }

    /// Authenticates a session by the id of its token. A token that was revoked or has expired
    /// since is refused.
    ///
    /// # Errors
    /// [`AuthenticationError`] otherwise.
    pub fn authenticate_session(
        &self,
        token_id: TokenId,
        from: Option<Peer>,
    ) -> Result<Caller, AuthenticationError> {
        let live = self.live();
        let found = live.iter().find(|it| it.token.id == token_id);
        self.admit(found.map(|it| &**it), from)
    }

    /// Whether this token is active. The check does not count as a use.
    #[must_use]
    pub fn is_in_force(&self, token_id: TokenId) -> bool {
        let now = self.clock.now();
        self.live().iter().any(|it| it.token.id == token_id && !it.has_ended(now))
    }

    fn admit(
        &self,
        live: Option<&ActiveToken>,
        from: Option<Peer>,
    ) -> Result<Caller, AuthenticationError> {
        let live = live.ok_or(AuthenticationError::Unknown)?;
        let now = self.clock.now();
        if live.has_ended(now) {
            return Err(AuthenticationError::Expired);
        }
        live.used_at.fetch_max(now.as_micros(), Ordering::Relaxed);
        let made = &live.token.made;
        Ok(Caller {
            token_id: live.token.id,
            name: made.name.clone(),
            created_at: live.token.created_at,
            role: made.role,
            scope: made.scope.clone(),
            from: address(from),
            request_id: None,
        })
    }

    /// Authenticates a sign-in and records it in the audit log. At most `REFUSALS_A_MINUTE`
    /// failed sign-ins a minute are recorded; the next entry has the number of those that were left
    /// out. A failing store does not prevent signing in, so that an operator can look at what is
    /// wrong with it.
    ///
    /// # Errors
    /// [`AuthenticationError`] when the token is not active.
    pub async fn sign_in(
        &self,
        secret: &str,
        from: Option<Peer>,
    ) -> Result<Caller, AuthenticationError> {
        let now = self.clock.now();
        let admitted = self.authenticate(secret, from);
        match &admitted {
            Ok(caller) => self.note(caller.act(now), Action::SignIn, &caller.name, None).await,
            Err(refusal) => {
                let unkept = self.refusals.lock().unwrap_or_else(PoisonError::into_inner).keep(now);
                if let Some(unkept) = unkept {
                    let after = json!({"because": refusal.to_string(), "not_kept_before": unkept});
                    let act = Act {
                        actor: UNKNOWN_ACTOR.to_owned(),
                        from: address(from),
                        ..Act::of_the_service("", now)
                    };
                    self.note(act, Action::RefuseSignIn, "", Some(after)).await;
                }
            }
        }
        admitted
    }

    /// Records a sign-out in the audit log.
    pub async fn sign_out(&self, caller: &Caller) {
        self.note(caller.act(self.clock.now()), Action::SignOut, &caller.name, None).await;
    }

    /// Writes an audit entry; where the store fails, the log has it.
    async fn note(&self, act: Act, action: Action, subject: &str, after: Option<Value>) {
        let (actor, from) = (act.actor.clone(), act.from.clone());
        let done = NewEntry { action, subject: subject.to_owned(), before: None, after };
        if let Err(error) = self.audit.append_audit(act, done).await {
            let action = action.as_str();
            tracing::error!(action, actor, from, %error, "not in the audit log: the store failed");
        }
    }

    /// Counts a request against the rate limit of the caller's token.
    #[must_use]
    pub fn count_request(&self, caller: &Caller, quota: u32) -> Allowance {
        let live = self.live();
        let now = self.clock.service_now();
        let found = live.iter().find(|it| it.token.id == caller.token_id);
        // A token that was revoked concurrently has no allowance.
        found.map_or(Allowance { quota, left: None, reset_s: WINDOW.as_secs() }, |live| {
            live.window.spend(quota, now)
        })
    }

    /// The tokens that the caller may list, by name: those whose scope is within the caller's.
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

    /// Creates a token with no more rights than the caller's.
    ///
    /// # Errors
    /// [`CreateTokenError`].
    pub async fn make(
        &self,
        asked: &TokenSpec,
        caller: &Caller,
    ) -> Result<CreatedToken, CreateTokenError> {
        let now = self.clock.now();
        let terms = asked.check(caller, now)?;
        let secret = generate("prt_")?;
        let token = terms.token(digest(secret.expose_secret()));
        let _one_at_a_time = self.changing.lock().await;
        let name = token.name.clone();
        let token = match self.tokens.create_token(token, caller.act(now)).await {
            Err(StoreError::Conflict) => return Err(CreateTokenError::NameTaken(name)),
            other => other.map_err(CreateTokenError::Store)?,
        };
        self.reload().await.map_err(CreateTokenError::Store)?;
        Ok(CreatedToken { token, secret })
    }

    /// Revokes a token by name. A token outside the caller's scope is unknown to it.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails.
    pub async fn revoke(&self, name: &str, caller: &Caller) -> Result<Revocation, StoreError> {
        if !self.tokens(caller).iter().any(|token| token.made.name == name) {
            return Ok(Revocation::Unknown);
        }
        let _one_at_a_time = self.changing.lock().await;
        let revocation = self.tokens.revoke_token(name, caller.act(self.clock.now())).await?;
        self.reload().await?;
        Ok(revocation)
    }

    /// Stores the times of last use that have changed: a maintenance task, so that a request costs
    /// no commit.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails; the next run retries.
    pub async fn store_last_used(&self) -> Result<(), StoreError> {
        let live = self.live();
        let changed: Vec<_> = live
            .iter()
            .map(|it| (it, it.used_at.load(Ordering::Relaxed)))
            .filter(|(it, used_at)| *used_at > it.noted_at.load(Ordering::Relaxed))
            .collect();
        let uses = changed.iter().map(|(it, at)| (it.token.id, Timestamp::from_micros(*at)));
        self.tokens.record_token_uses(uses.collect()).await?;
        for (it, used_at) in changed {
            it.noted_at.fetch_max(used_at, Ordering::Relaxed);
        }
        Ok(())
    }
}
