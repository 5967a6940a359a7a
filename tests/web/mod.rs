//! The pages, as browsers get them: signing in, what is refused, what is shown and done on each.

mod audit;
mod browser;
mod dead_letters;
mod deliveries;
mod destinations;
mod hostile;
mod inspectors;
mod live;
mod mappings;
mod overview;
mod pages;
mod roles;
mod screenshots;
mod signing_in;
mod snapshots;
mod sources;
mod visitor;
