//! Tokens: list, create, revoke. The secret of a token is only in the answer that creates it.

use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::page::Page;
use super::{Service, ServiceError};
use crate::auth::{CreateTokenError, TokenSpec};
use crate::domain::auth::{Admin, Caller};
use crate::domain::clock::Timestamp;
use crate::domain::id::{Noun, PublicId};
use crate::pipeline::FieldError;
use crate::store::{Revocation, Token};

/// A request for a token.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// Its name: the actor in the audit log.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    pub name: String,
    /// Its role: `viewer`, `operator` or `admin`.
    #[schema(pattern = "^(viewer|operator|admin)$")]
    pub role: String,
    /// The destinations of its scope, each `source/destination`; left out: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 100)]
    pub destinations: Option<Vec<String>>,
    /// When it expires; left out: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
}

/// A token, without its secret.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: String,
    /// The destinations of its scope; none: everything.
    pub destinations: Option<Vec<String>>,
    /// When it was created.
    pub created_at: String,
    /// The token that created it; `postrider` for the one in the token file.
    pub created_by: String,
    /// When it expires; none: never.
    pub expires_at: Option<String>,
    /// When it was last used.
    pub last_used_at: Option<String>,
}

/// A created token.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MadeToken {
    /// Its secret, shown once.
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

impl From<CreateTokenError> for ServiceError {
    fn from(error: CreateTokenError) -> Self {
        let text = error.to_string();
        match error {
            CreateTokenError::Invalid(faults) => Self::Invalid(
                faults
                    .into_iter()
                    .map(|fault| FieldError::new(fault.field, fault.message))
                    .collect(),
            ),
            CreateTokenError::Forbidden(forbidden) => Self::Forbidden(forbidden),
            CreateTokenError::NameTaken(_) => Self::Conflict(text),
            CreateTokenError::Secret(error) => error.into(),
            CreateTokenError::Store(error) => error.into(),
        }
    }
}

impl Service {
    /// The tokens within the caller's scope, by name.
    #[must_use]
    pub fn tokens(&self, caller: &Caller) -> Page<TokenView> {
        let items = self.authenticator.tokens(caller).iter().map(TokenView::of).collect();
        Page::whole(items)
    }

    /// Creates a token with no more rights than the caller's.
    ///
    /// # Errors
    /// [`ServiceError`], with each error; none is created then.
    pub async fn make_token(
        &self,
        admin: &Admin,
        request: TokenRequest,
    ) -> Result<MadeToken, ServiceError> {
        let TokenRequest { name, role, destinations, expires_at } = request;
        let spec = TokenSpec { name, role, destinations, expires_at };
        let made = self.authenticator.make(&spec, admin).await?;
        let secret = made.secret.expose_secret().to_owned();
        Ok(MadeToken { secret, token: TokenView::of(&made.token) })
    }

    /// Revokes a token by name.
    ///
    /// # Errors
    /// [`ServiceError`] when there is none, or it is the last unlimited admin token.
    pub async fn revoke_token(&self, admin: &Admin, name: &str) -> Result<(), ServiceError> {
        match self.authenticator.revoke(name, admin).await? {
            Revocation::Revoked => Ok(()),
            Revocation::Unknown => Err(ServiceError::Missing(format!("token {name:?}"))),
            Revocation::LastAdmin => Err(ServiceError::Conflict(
                "it is the last token that can create others: create another admin token first, \
                 without a scope and without an expiry"
                    .to_owned(),
            )),
        }
    }
}
