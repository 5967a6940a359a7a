//! What `service` needs from the running node, implemented in `server`: its readiness, its circuits, and
//! test runs of mappings.

use async_trait::async_trait;

use crate::delivery::TestResult;
use crate::domain::clock::Timestamp;
use crate::domain::event::{Event, StoredEvent};
use crate::domain::id::MappingId;
use crate::pipeline::Activation;
use crate::store::{Pipeline, ReceiverWait};

/// The running node.
#[async_trait]
pub trait Node: Activation {
    /// Why the node is not ready to accept or deliver events; `None` when it is ready.
    fn not_ready(&self) -> Option<String>;

    /// Why no insert function runs on this node; `None` while they run.
    fn functions_failure(&self) -> Option<String>;

    /// The mappings whose circuit is open.
    fn open_circuits(&self) -> Vec<OpenCircuit>;

    /// The mappings whose receiver asked for no request (`Retry-After`), each with until when.
    fn receiver_waits(&self) -> Vec<ReceiverWait>;

    /// Ends such waits of these mappings; returns whether there was one.
    fn end_receiver_waits(&self, mappings: &[MappingId]) -> bool;

    /// The mappings that this version cannot compile, each with the error.
    fn mapping_faults(&self) -> Vec<(MappingId, String)>;

    /// The positions of the events that are routed to a mapping; `None` when there is no such mapping.
    fn routed(&self, mapping_id: MappingId, events: &[StoredEvent]) -> Option<Vec<usize>>;

    /// Renders an event with an active mapping, and sends the request if `send`; `None` when there is no
    /// such mapping, or this version cannot run it.
    async fn test_mapping(
        &self,
        mapping_id: MappingId,
        event: &Event,
        send: bool,
    ) -> Option<TestResult>;

    /// Renders an event with a mapping of the given pipeline, which need not be the active one; sends
    /// nothing.
    async fn preview_mapping(
        &self,
        pipeline: &Pipeline,
        mapping_id: MappingId,
        event: &Event,
    ) -> Option<TestResult>;
}

/// A mapping whose circuit is open: half-open probes test whether its receiver has recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenCircuit {
    /// The mapping.
    pub mapping_id: MappingId,
    /// When the circuit opened.
    pub opened_at: Timestamp,
}
