//! Which secrets an inspector checks signatures with: those of the destinations that deliver to it.

use crate::inspector::{InspectorName, KnownSecret, KnownSecrets};
use crate::routing::{LiveRoutes, MappingRoute};

/// What the inspectors ask for secrets.
pub(super) fn known_secrets(routes: LiveRoutes) -> KnownSecrets {
    Box::new(move |name| {
        let routes = routes.current();
        let sending = routes.mappings().filter(|mapping| sends_to(mapping, name));
        let known = sending.flat_map(|mapping| {
            let sender = mapping.name.rsplit_once('/').map_or("", |(destination, _)| destination);
            mapping.shared_secrets.iter().map(move |secret| KnownSecret {
                sender: sender.to_owned(),
                secret: secret.clone(),
            })
        });
        known.collect()
    })
}

/// Whether a mapping's URL leads to the inspector of this name, here or behind any other host name
/// that this service may have.
fn sends_to(mapping: &MappingRoute, name: &InspectorName) -> bool {
    mapping.compiled().fixed_url().is_some_and(|url| {
        let mut path = url.path_segments().into_iter().flatten();
        path.next() == Some("inspect") && path.next() == Some(name.as_str())
    })
}
