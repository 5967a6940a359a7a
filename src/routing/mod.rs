//! Routing: an immutable snapshot of sources, destinations and compiled mappings, built from the
//! pipeline. Intake matches events against it and delivery renders by it; a change of the pipeline swaps
//! the snapshot.

mod build;
mod live;
mod route;
mod snapshot;
mod source;

pub use build::OpenSecret;
pub use live::LiveRoutes;
pub use route::{DestinationRoute, MappingRoute};
pub use snapshot::Routes;
pub use source::SourceRoute;
