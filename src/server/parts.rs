//! What a service is built from: its settings, and what tests replace (clock, seed, resolver, threads).

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use tokio::runtime::Handle;

use super::error::AppError;
use crate::domain::clock::{Clock, SystemClock};
use crate::functions::PoolOptions;
use crate::sender::Resolve;
use crate::settings::{Origin, Settings};
use crate::store::DeliveryQueue;

/// Gives the outbox that deliveries use in place of the store's.
pub type WrapOutbox = Box<dyn FnOnce(Arc<dyn DeliveryQueue>) -> Arc<dyn DeliveryQueue> + Send>;

/// What an app is built from.
pub struct AppParts {
    /// The settings in force.
    pub settings: Settings,
    /// The origin of each setting by name; those not listed are defaults.
    pub origins: BTreeMap<&'static str, Origin>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Seeds jitter, and the ids of messages without one.
    pub seed: u64,
    /// Resolves destinations' host names; none: the system's resolver.
    pub resolver: Option<Arc<dyn Resolve>>,
    /// Root certificates beside the platform's.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// Limits of insert functions; the number of workers is a setting.
    pub functions: PoolOptions,
    /// Whether the maintenance schedule runs; a test may run duties itself.
    pub scheduled: bool,
    /// Wraps the outbox of deliveries; none: as it is. A test makes its steps slow, or fail.
    pub wrap_outbox: Option<WrapOutbox>,
    /// The runtime of deliveries; none: threads of its own. A test passes its own to control the order.
    pub deliver_on: Option<Handle>,
}

impl AppParts {
    /// The parts of a production service.
    ///
    /// # Errors
    /// When the system's random number generator fails.
    pub fn new(settings: Settings) -> Result<Self, AppError> {
        Ok(Self {
            settings,
            origins: BTreeMap::new(),
            clock: Arc::new(SystemClock::new()),
            seed: getrandom::u64().map_err(AppError::Randomness)?,
            resolver: None,
            extra_roots: Vec::new(),
            functions: PoolOptions::default(),
            scheduled: true,
            wrap_outbox: None,
            deliver_on: None,
        })
    }
}
