//! What an operator sees: settings, secrets at rest, the pipeline applied, lists, the command line.

mod apply;
mod attempts;
pub(crate) mod commands;
mod endpoint_imports;
mod examples;
mod explain;
mod hosts;
mod import;
mod jobs;
mod lists;
mod pauses;
mod pipeline_changes;
mod postgres;
mod pruning;
mod renames;
pub(crate) mod render;
mod resources;
mod searches;
mod secrets;
mod segment_exports;
mod settings;
mod source_limits;
mod test_sends;
