//! One request under way: what a destination's settings say about how it is sent.

use super::Shared;
use crate::route::MappingRoute;
use crate::sender::{Exchange, Outgoing};

impl Shared {
    /// Sends a signed request.
    pub(super) async fn send(&self, _route: &MappingRoute, outgoing: Outgoing) -> Exchange {
        self.parts.sender.send(outgoing).await
    }
}
