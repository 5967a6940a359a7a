//! Live streams: accepted events, and requests at the inspectors.

mod events;
mod inspectors;
