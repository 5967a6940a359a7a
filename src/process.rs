//! What the operator's doors ask of the process that they run in, whichever door it is.

use async_trait::async_trait;

use crate::delivery::TestResult;
use crate::domain::clock::Timestamp;
use crate::domain::event::Event;
use crate::domain::id::MappingId;
use crate::functions::Function;
use crate::store::{Pipeline, StatisticsRow};

/// What is asked of the running process.
#[async_trait]
pub trait Process: Send + Sync + 'static {
    /// The pipeline has changed: takes the new one into use before it returns.
    async fn reload(&self);

    /// There are due deliveries or a job to go on with: do not wait for the next look.
    fn wake(&self);

    /// Why events are not taken or delivered just now; none when all is well.
    fn not_ready(&self) -> Option<String>;

    /// The mappings whose circuit is open.
    fn open_circuits(&self) -> Vec<OpenCircuit>;

    /// Statistics that are not in the store yet.
    fn unstored_statistics(&self) -> Vec<StatisticsRow>;

    /// Tries a mapping on an event, and sends what that gives if told to; none when there is no such
    /// mapping, or this version cannot run it.
    async fn test_mapping(
        &self,
        mapping_id: MappingId,
        event: &Event,
        send: bool,
    ) -> Option<TestResult>;

    /// The same for a mapping of this pipeline, which need not be the one in use; sends nothing.
    async fn try_mapping(
        &self,
        pipeline: &Pipeline,
        mapping_id: MappingId,
        event: &Event,
    ) -> Option<TestResult>;

    /// Whether the policy for addresses lets deliveries go to this URL; why not, if not.
    async fn check_destination(&self, url: &url::Url) -> Result<(), String>;

    /// Whether an insert function loads and has a handler; why not, if not.
    async fn check_function(&self, function: &Function) -> Result<(), String>;
}

/// A mapping that is being tried by one probe at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenCircuit {
    /// Which.
    pub mapping_id: MappingId,
    /// Since when.
    pub opened_at: Timestamp,
}
