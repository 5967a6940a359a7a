//! What is watched live: accepted events, and what arrives at the inspectors.

mod events;
mod inspectors;
