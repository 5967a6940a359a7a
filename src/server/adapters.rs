//! Adapters: implementations of the small traits through which `intake`, `alerts`, `routing` and the
//! inspectors reach parts of the node that they do not depend on.

use std::sync::Arc;

use async_trait::async_trait;
use secrecy::SecretString;

use crate::alerts::{Publication, PublishAlert};
use crate::delivery::Dispatcher;
use crate::domain::auth::DestinationPath;
use crate::domain::id::{MappingId, NodeId};
use crate::inspector::{InspectorName, KnownSecret, KnownSecrets};
use crate::intake::{Dispatch, Intake};
use crate::routing::{LiveRoutes, MappingRoute, OpenSecret};
use crate::settings::secrets::{Keyring, Purpose, SecretError};
use crate::store::{LeasedDelivery, SealedSecret, StoreError};

/// Alerts are published as events through intake.
pub(super) struct IntakePublisher(pub(super) Arc<Intake>);

#[async_trait]
impl PublishAlert for IntakePublisher {
    async fn publish(
        &self,
        to: &DestinationPath,
        message: String,
    ) -> Result<Publication, StoreError> {
        let is_accepted = self.0.accept_internal(to, message).await?;
        Ok(if is_accepted { Publication::Accepted } else { Publication::NoDestination })
    }
}

impl Dispatch for Dispatcher {
    fn node_id(&self) -> NodeId {
        Self::node_id(self)
    }

    fn reserve(&self, mapping_id: MappingId, wanted: u32) -> u32 {
        Self::reserve(self, mapping_id, wanted)
    }

    fn release(&self, mapping_id: MappingId, unused: u32) {
        Self::release(self, mapping_id, unused);
    }

    fn dispatch(&self, deliveries: Vec<LeasedDelivery>) {
        Self::dispatch(self, deliveries);
    }

    fn notify_due(&self, mapping_ids: &[MappingId]) {
        Self::notify_due(self, mapping_ids);
    }
}

impl OpenSecret for Keyring {
    type Error = SecretError;

    fn open_secret(
        &self,
        sealed: &SealedSecret,
        purpose: Purpose,
    ) -> Result<SecretString, SecretError> {
        self.open(sealed, purpose)
    }
}

/// An inspector verifies signatures with the shared secrets of the destinations that deliver to it.
pub(super) fn known_secrets(routes: LiveRoutes) -> KnownSecrets {
    Box::new(move |name| {
        let routes = routes.current();
        let delivering = routes.mappings().filter(|mapping| delivers_to(mapping, name));
        let known = delivering.flat_map(|mapping| {
            let destination = mapping.name.rsplit_once('/').map_or("", |(path, _)| path);
            mapping.shared_secrets.iter().map(move |secret| KnownSecret {
                destination: destination.to_owned(),
                secret: secret.clone(),
            })
        });
        known.collect()
    })
}

/// Whether a mapping's URL is this inspector's. The host is not compared: the service may have several
/// names.
fn delivers_to(mapping: &MappingRoute, name: &InspectorName) -> bool {
    mapping.compiled().fixed_url().is_some_and(|url| {
        let mut path = url.path_segments().into_iter().flatten();
        path.next() == Some("inspect") && path.next() == Some(name.as_str())
    })
}
