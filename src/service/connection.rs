//! The OAuth authorization code flow of a destination: begin, callback, state, disconnect. The
//! callback needs no token; it has no effect without a `state` that was issued here.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{Service, ServiceError};
use crate::domain::audit::Action;
use crate::domain::auth::{Caller, Operator};
use crate::domain::destination::Destination;
use crate::outbound_auth::{AuthorizationError, Callback, ConnectError, Origin};
use crate::pipeline::ConnectionView;
use crate::store::{Pipeline, StoreError};

/// Everything but the unreserved characters (RFC 3986, 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Where a destination is connected.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BegunView {
    /// The page to open in a browser: an operator signs in there, begins, and is led to the authorization
    /// server. Only the browser that began completes it.
    pub authorize_url: String,
}

/// An authorization that a browser has begun.
#[derive(Clone, Debug)]
pub struct Authorization {
    /// The authorization server's page.
    pub url: String,
    /// When it expires.
    pub expires_at: String,
}

/// A source and a destination, by name.
pub type Names = (String, String);

fn destination<'p>(
    pipeline: &'p Pipeline,
    (source, name): &Names,
) -> Result<&'p Destination, ServiceError> {
    let source_id = pipeline.sources.iter().find(|one| one.name == *source).map(|one| one.id);
    let mut found = pipeline.destinations.iter();
    found
        .find(|one| Some(one.source_id) == source_id && one.name == *name)
        .ok_or_else(|| ServiceError::Missing(format!("destination {source}/{name}")))
}

fn nothing_to_connect() -> ServiceError {
    ServiceError::Conflict(
        "its auth kind is not authorization_code: it needs no connection".to_owned(),
    )
}

impl Service {
    /// The state of a destination's connection.
    ///
    /// # Errors
    /// [`ServiceError`] when the destination needs no connection.
    pub async fn connection(
        &self,
        caller: &Caller,
        names: &Names,
    ) -> Result<ConnectionView, ServiceError> {
        let pipeline = self.pipeline(caller).await?;
        let destination = destination(&pipeline, names)?;
        ConnectionView::of(&pipeline, destination).ok_or_else(nothing_to_connect)
    }

    /// The page of this service on which a browser begins the flow for a destination.
    ///
    /// # Errors
    /// [`ServiceError`] when the destination needs no connection.
    pub async fn connect_page(
        &self,
        operator: &Operator,
        names: &Names,
    ) -> Result<BegunView, ServiceError> {
        operator.check_scope(&names.0, &names.1)?;
        let pipeline = self.store.pipeline().await?;
        if !destination(&pipeline, names)?.settings.auth.needs_connection() {
            return Err(nothing_to_connect());
        }
        let encoded = |name: &str| utf8_percent_encode(name, RESERVED).to_string();
        let (source, name) = (encoded(&names.0), encoded(&names.1));
        let base = &self.base_url;
        let page = format!("{base}/sources/{source}/destinations/{name}#connection");
        Ok(BegunView { authorize_url: page })
    }

    /// Starts the flow for a destination in a browser and returns the authorization server's page. `browser`
    /// is a secret value that the browser keeps: no other one completes the flow.
    ///
    /// # Errors
    /// [`ServiceError`] when the destination needs no connection.
    pub async fn connect(
        &self,
        operator: &Operator,
        names: &Names,
        browser: &str,
    ) -> Result<Authorization, ServiceError> {
        operator.check_scope(&names.0, &names.1)?;
        let pipeline = self.store.pipeline().await?;
        let id = destination(&pipeline, names)?.id;
        let origin = Origin { redirect_url: &self.callback_url, browser };
        let begun = self.auth.begin(id, &origin).map_err(|error| match error {
            AuthorizationError::NothingToConnect => nothing_to_connect(),
            AuthorizationError::Url(error) => ServiceError::Conflict(error.to_string()),
            AuthorizationError::Secret(error) => error.into(),
        })?;
        let expires_at = self.clock.to_wall(begun.expires_at).to_iso();
        let after = json!({"expires_at": expires_at});
        let subject = format!("{}/{}", names.0, names.1);
        self.note(operator, Action::BeginConnect, subject, (None, Some(after))).await?;
        // Without an audit entry the URL is not returned.
        Ok(Authorization { url: begun.authorize_url.to_string(), expires_at })
    }

    /// Ends a destination's connection; its deliveries are held from then on.
    ///
    /// # Errors
    /// [`ServiceError`] when the destination needs no connection.
    pub async fn disconnect(
        &self,
        operator: &Operator,
        names: &Names,
    ) -> Result<ConnectionView, ServiceError> {
        operator.check_scope(&names.0, &names.1)?;
        let pipeline = self.store.pipeline().await?;
        let found = destination(&pipeline, names)?;
        if !found.settings.auth.needs_connection() {
            return Err(nothing_to_connect());
        }
        let id = found.id;
        let act = operator.act(self.clock.now());
        match self.auth.disconnect(id, "disconnected by an operator", act.clone()).await {
            // The tokens were refreshed concurrently: retry on the new ones.
            Err(StoreError::Conflict) => {
                self.node.reload().await?;
                self.auth.disconnect(id, "disconnected by an operator", act.clone()).await?;
            }
            other => other?,
        }
        self.node.reload().await?;
        self.connection(operator, names).await
    }

    /// Handles the callback of an authorization server and returns the destination's path once it
    /// is connected.
    ///
    /// # Errors
    /// [`ConnectError`] when it is not connected.
    pub async fn finish_connection(&self, brought: Callback) -> Result<String, ConnectError> {
        let path = self.auth.finish(brought).await?;
        tracing::info!(destination = path, "connected: its deliveries are released");
        self.node.wake();
        // The connection stands either way, and the node retries.
        if let Err(error) = self.node.reload().await {
            tracing::error!(%error, "a connected destination is still held");
        }
        Ok(path)
    }
}
