//! Connecting destinations whose auth somebody has to grant in a browser: where to send it, what it
//! brings back, how it stands. The way back is open to anybody and does nothing without a state
//! that was given out here.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{Refusal, Service};
use crate::domain::audit::Action;
use crate::domain::auth::{Caller, Operator};
use crate::domain::destination::Destination;
use crate::outbound_auth::{AuthorizationError, Callback, ConnectError};
use crate::pipeline::ConnectionView;
use crate::store::{Pipeline, StoreError};

/// A connection that was begun.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BegunView {
    /// The page to open in a browser.
    pub authorize_url: String,
    /// Until when it can be used.
    pub expires_at: String,
}

/// Source and destination by name.
pub type Names = (String, String);

fn destination<'p>(
    pipeline: &'p Pipeline,
    (source, name): &Names,
) -> Result<&'p Destination, Refusal> {
    let source_id = pipeline.sources.iter().find(|one| one.name == *source).map(|one| one.id);
    let mut found = pipeline.destinations.iter();
    found
        .find(|one| Some(one.source_id) == source_id && one.name == *name)
        .ok_or_else(|| Refusal::Missing(format!("destination {source}/{name}")))
}

fn nothing_to_connect() -> Refusal {
    Refusal::Conflict("its auth is not authorization_code: there is nothing to connect".to_owned())
}

impl Service {
    /// How a destination's connection stands.
    ///
    /// # Errors
    /// [`Refusal`] when there is none to have.
    pub async fn connection(
        &self,
        caller: &Caller,
        names: &Names,
    ) -> Result<ConnectionView, Refusal> {
        let pipeline = self.pipeline(caller).await?;
        let destination = destination(&pipeline, names)?;
        ConnectionView::of(&pipeline, destination).ok_or_else(nothing_to_connect)
    }

    /// Begins to connect a destination: the page to open in a browser.
    ///
    /// # Errors
    /// [`Refusal`] when there is nothing to connect.
    pub async fn connect(&self, operator: &Operator, names: &Names) -> Result<BegunView, Refusal> {
        operator.reaches(&names.0, &names.1)?;
        let pipeline = self.store.pipeline().await?;
        let id = destination(&pipeline, names)?.id;
        let begun = self.auth.begin(id, &self.callback_url).map_err(|error| match error {
            AuthorizationError::NothingToConnect => nothing_to_connect(),
            AuthorizationError::Url(error) => Refusal::Conflict(error.to_string()),
            AuthorizationError::Secret(error) => error.into(),
        })?;
        let expires_at = begun.expires_at.to_iso();
        let after = json!({"expires_at": expires_at});
        let subject = format!("{}/{}", names.0, names.1);
        self.note(operator, Action::BeginConnect, subject, (None, Some(after))).await?;
        // Without an entry the way is not given out, and nobody can go it.
        Ok(BegunView { authorize_url: begun.authorize_url.to_string(), expires_at })
    }

    /// Ends a destination's connection: its deliveries are held from now on.
    ///
    /// # Errors
    /// [`Refusal`] when there is none to end.
    pub async fn disconnect(
        &self,
        operator: &Operator,
        names: &Names,
    ) -> Result<ConnectionView, Refusal> {
        operator.reaches(&names.0, &names.1)?;
        let pipeline = self.store.pipeline().await?;
        let found = destination(&pipeline, names)?;
        if !found.settings.auth.needs_connection() {
            return Err(nothing_to_connect());
        }
        let id = found.id;
        let act = operator.act(self.clock.now());
        match self.auth.disconnect(id, "disconnected by an operator", act.clone()).await {
            // Its tokens were just replaced: once more, on what it is now.
            Err(StoreError::Conflict) => {
                self.node.reload().await;
                self.auth.disconnect(id, "disconnected by an operator", act.clone()).await?;
            }
            other => other?,
        }
        self.node.reload().await;
        self.connection(operator, names).await
    }

    /// What a browser brought back from an authorization server: the destination's path once it is
    /// connected.
    ///
    /// # Errors
    /// [`ConnectError`] when it is not.
    pub async fn finish_connection(&self, brought: Callback) -> Result<String, ConnectError> {
        let path = self.auth.finish(brought).await?;
        tracing::info!(destination = path, "connected: its deliveries go out");
        self.node.reload().await;
        self.node.wake();
        Ok(path)
    }
}
