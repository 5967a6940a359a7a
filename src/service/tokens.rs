//! Tokens: listed without their text, made, revoked. The text of one is in the answer that makes it
//! and nowhere else.

use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::deliveries::Page;
use super::{Refusal, Service};
use crate::auth::{AskedToken, MakeError};
use crate::domain::auth::{Admin, Caller};
use crate::domain::clock::Timestamp;
use crate::domain::id::{Noun, PublicId};
use crate::pipeline::Fault;
use crate::store::{Revocation, Token};

/// A token that is asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// What it should be called: shown as the actor of what is done with it.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    pub name: String,
    /// What it may do: `viewer`, `operator` or `admin`.
    #[schema(pattern = "^(viewer|operator|admin)$")]
    pub role: String,
    /// The destinations that it is limited to, `source/destination` each; left out: no limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 100)]
    pub destinations: Option<Vec<String>>,
    /// When it ends; left out: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
}

/// A token as it is shown: never with its text.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// Its id.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// What it may do.
    pub role: String,
    /// The destinations that it is limited to; none: no limits.
    pub destinations: Option<Vec<String>>,
    /// When it was made.
    pub created_at: String,
    /// The token that it was made with; `postrider` for the one of the token file.
    pub created_by: String,
    /// When it ends; none: never.
    pub expires_at: Option<String>,
    /// When it was last used.
    pub last_used_at: Option<String>,
}

/// A token that was made.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MadeToken {
    /// Its text, shown this once.
    pub secret: String,
    /// The token.
    pub token: TokenView,
}

impl TokenView {
    fn of(token: &Token) -> Self {
        let made = &token.made;
        let destinations = made.scope.limits();
        Self {
            id: PublicId::new(Noun::Token, token.created_at, token.id.0).to_string(),
            name: made.name.clone(),
            role: made.role.as_str().to_owned(),
            destinations: destinations.map(|paths| paths.iter().map(ToString::to_string).collect()),
            created_at: token.created_at.to_iso(),
            created_by: token.created_by.clone(),
            expires_at: made.expires_at.map(Timestamp::to_iso),
            last_used_at: token.last_used_at.map(Timestamp::to_iso),
        }
    }
}

impl From<MakeError> for Refusal {
    fn from(error: MakeError) -> Self {
        let text = error.to_string();
        match error {
            MakeError::Asked(faults) => Self::Invalid(
                faults.into_iter().map(|fault| Fault::new(fault.field, fault.message)).collect(),
            ),
            MakeError::Beyond(forbidden) => Self::Forbidden(forbidden),
            MakeError::Taken(_) => Self::Conflict(text),
            MakeError::Secret(error) => error.into(),
            MakeError::Store(error) => error.into(),
        }
    }
}

impl Service {
    /// The tokens that the caller may see, by name.
    #[must_use]
    pub fn tokens(&self, caller: &Caller) -> Page<TokenView> {
        let items = self.authenticator.tokens(caller).iter().map(TokenView::of).collect();
        Page::whole(items)
    }

    /// Makes a token with no more rights than the caller's.
    ///
    /// # Errors
    /// [`Refusal`], with each fault; none is made then.
    pub async fn make_token(
        &self,
        admin: &Admin,
        request: TokenRequest,
    ) -> Result<MadeToken, Refusal> {
        let TokenRequest { name, role, destinations, expires_at } = request;
        let asked = AskedToken { name, role, destinations, expires_at };
        let made = self.authenticator.make(&asked, admin).await?;
        let secret = made.secret.expose_secret().to_owned();
        Ok(MadeToken { secret, token: TokenView::of(&made.token) })
    }

    /// Revokes a token by name.
    ///
    /// # Errors
    /// [`Refusal`] when there is none, or it is the last that can make others.
    pub async fn revoke_token(&self, admin: &Admin, name: &str) -> Result<(), Refusal> {
        match self.authenticator.revoke(name, admin).await? {
            Revocation::Revoked => Ok(()),
            Revocation::Unknown => Err(Refusal::Missing(format!("token {name:?}"))),
            Revocation::LastAdmin => Err(Refusal::Conflict(
                "it is the last token that can make others: make another admin's first, without \
                 limits and without an end"
                    .to_owned(),
            )),
        }
    }
}
