//! What deliveries change of pauses and waits: a mapping is paused when its receiver is gone, waits that
//! receivers asked for are stored, and so are the ends of drains. Each is written in the background and retried.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::dispatcher::Dispatcher;
use super::limiter::Limiter;
use super::scheduler;
use crate::domain::auth::Act;
use crate::domain::id::MappingId;
use crate::domain::pause::{PauseCause, PauseTarget};
use crate::domain::service_time::ServiceTime;
use crate::store::StoreError;

/// The wait before a failed write is retried.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The part of the service that the audit log names.
const PART: &str = "delivery";

/// A change to be written.
enum Change {
    /// The receiver of this mapping answered 410.
    Gone(MappingId),
    /// The receivers of these mappings asked for no request, or their wait was ended. What is written is how it
    /// stands then, so that of several changes the newest is kept.
    Waits(Vec<MappingId>),
    /// The drain that began then has ended.
    Drained(PauseTarget, ServiceTime),
}

impl Context {
    /// Pauses a mapping whose receiver answered 410.
    pub(super) fn pause_gone(self: &Arc<Self>, mapping_id: MappingId) {
        self.write(Change::Gone(mapping_id));
    }

    /// Stores until when receivers asked for no request.
    pub(super) fn store_receiver_waits(
        self: &Arc<Self>,
        mappings: Vec<MappingId>,
        until: ServiceTime,
    ) {
        let Some(first) = mappings.first() else { return };
        let (mapping, until_at) =
            (self.mapping_name(*first), self.parts.clock.to_wall(until).to_iso());
        tracing::warn!(mapping, until_at, "its receiver asked for no request until then");
        self.write(Change::Waits(mappings));
    }

    /// Stores the ends of drains.
    pub(super) fn store_ended_drains(self: &Arc<Self>, limiter: &Limiter) {
        for (target, resumed_at) in limiter.take_drained() {
            self.write(Change::Drained(target, resumed_at));
        }
    }

    fn mapping_name(&self, mapping_id: MappingId) -> String {
        let routes = self.parts.routes.current();
        routes.mapping(mapping_id).map_or_else(|| "(removed)".to_owned(), |it| it.name.clone())
    }

    /// Writes in the background, until the store has it or the process stops.
    fn write(self: &Arc<Self>, change: Change) {
        let context = Arc::clone(self);
        // Until it is stored, no wait that other nodes know replaces it.
        self.unshared.wait_write_begins();
        self.tasks.spawn(async move {
            while let Err(error) = context.write_once(&change).await {
                tracing::error!(%error, "a pause or a wait could not be stored; retrying");
                tokio::select! {
                    () = tokio::time::sleep(RETRY_AFTER) => {}
                    () = context.stopping.cancelled() => return,
                }
            }
            context.unshared.wait_write_ends();
        });
    }

    async fn write_once(&self, change: &Change) -> Result<(), StoreError> {
        let store = &self.parts.store;
        match change {
            Change::Gone(mapping_id) => {
                let note = "its receiver answered 410 Gone".to_owned();
                let act = Act::of_the_service(PART, self.parts.clock.now()).noted(Some(note));
                let target = PauseTarget::Mapping(*mapping_id);
                match store.pause(target, PauseCause::Gone, act).await {
                    Ok(true) => {
                        let mapping = self.mapping_name(*mapping_id);
                        tracing::warn!(mapping, "paused: its receiver answered 410 Gone");
                    }
                    // Paused meanwhile, or removed.
                    Ok(false) | Err(StoreError::Conflict) => {}
                    Err(error) => return Err(error),
                }
                self.pipeline_changed.notify_one();
            }
            Change::Waits(mappings) => {
                for (until, mappings) in self.waits_of(mappings) {
                    store.put_receiver_waits(mappings, until).await?;
                }
            }
            Change::Drained(target, resumed_at) => {
                store.end_drain(*target, *resumed_at).await?;
                self.pipeline_changed.notify_one();
            }
        }
        Ok(())
    }
}

impl Context {
    fn receiver_waits(&self) -> Vec<(MappingId, ServiceTime)> {
        let now = self.parts.clock.service_now();
        self.limiters().iter().flat_map(|limiter| limiter.receiver_waits(now)).collect()
    }

    /// Mappings by until when their receivers wait.
    fn waits_of(&self, mappings: &[MappingId]) -> BTreeMap<Option<ServiceTime>, Vec<MappingId>> {
        let waits: HashMap<_, _> = self.receiver_waits().into_iter().collect();
        let mut by_end: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for mapping_id in mappings {
            by_end.entry(waits.get(mapping_id).copied()).or_default().push(*mapping_id);
        }
        by_end
    }
}

impl Dispatcher {
    /// Returns once the stored pipeline was changed by deliveries: its routes are to be loaded.
    pub async fn pipeline_changed(&self) {
        self.context.pipeline_changed.notified().await;
    }

    /// The mappings whose receiver asked for no request, each with until when.
    #[must_use]
    pub fn receiver_waits(&self) -> Vec<(MappingId, ServiceTime)> {
        self.context.receiver_waits()
    }

    /// Ends the waits that the receivers of these mappings asked for; returns whether there was one.
    pub fn end_receiver_waits(&self, mappings: &[MappingId]) -> bool {
        let mut had = false;
        for limiter in self.context.limiters() {
            if limiter.end_waits(mappings) {
                had = true;
                self.context.write(Change::Waits(mappings.to_vec()));
                scheduler::start_requests(&self.context, &limiter);
            }
        }
        self.context.claim_wanted.notify_one();
        had
    }
}
