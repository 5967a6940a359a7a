//! The current snapshot of routes, swapped atomically.

use std::sync::{Arc, PoisonError, RwLock};

use super::snapshot::Routes;

/// The current snapshot; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct LiveRoutes(Arc<RwLock<Arc<Routes>>>);

impl LiveRoutes {
    /// Starts with this snapshot.
    #[must_use]
    pub fn new(routes: Routes) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(routes))))
    }

    /// The current snapshot.
    #[must_use]
    pub fn current(&self) -> Arc<Routes> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the snapshot.
    pub fn swap(&self, routes: Routes) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(routes);
    }
}
