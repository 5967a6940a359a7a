//! Tests of the pages, through HTTP and through a browser.

mod audit;
pub(crate) mod browser;
mod dead_letters;
mod deliveries;
mod destinations;
mod events;
mod hostile;
mod inspectors;
mod live;
mod mappings;
mod overview;
mod pages;
mod pauses;
mod roles;
mod screenshots;
mod signing_in;
mod snapshots;
mod sources;
pub(crate) mod visitor;
