//! Who asks: the bearer token, compared by its SHA-256 in constant time.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

use super::Api;
use super::problem::Problem;
use crate::clock::Timestamp;
use crate::secrets::digest;
use crate::store::{Store, StoreError, Token};

/// The name of the token that is made at first start.
const OPERATOR: &str = "operator";

/// Who asked: the name of the token that was given.
#[derive(Clone, Debug)]
pub(super) struct Actor(pub(super) String);

/// Lets the operator's token in, in place of the one that was let in under its name before.
///
/// # Errors
/// [`StoreError`] when it cannot be read or written.
pub async fn install_operator_token(
    store: &dyn Store,
    token: &SecretString,
    now: Timestamp,
) -> Result<(), StoreError> {
    let digest = digest(token.expose_secret());
    let known = store.tokens().await?;
    if known.iter().any(|token| token.name == OPERATOR && token.digest == digest) {
        return Ok(());
    }
    store.put_token(Token { name: OPERATOR.to_owned(), digest, created_at: now }).await
}

pub(super) async fn authenticate(
    State(api): State<Arc<Api>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let given = bearer(request.headers()).ok_or_else(Problem::unauthorized)?;
    let given = digest(given);
    let tokens = api.desk.store.tokens().await?;
    // Every token is compared: the time taken tells nothing about which one matched.
    let mut actor = None;
    for token in tokens {
        if bool::from(token.digest.ct_eq(&given)) {
            actor = Some(Actor(token.name));
        }
    }
    request.extensions_mut().insert(actor.ok_or_else(Problem::unauthorized)?);
    Ok(next.run(request).await)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
