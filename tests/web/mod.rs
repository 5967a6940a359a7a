//! The pages, as browsers get them: signing in, what is refused, what is shown and done on each.

mod browser;
mod destinations;
mod inspectors;
mod live;
mod mappings;
mod pages;
mod screenshots;
mod signing_in;
mod sources;
mod visitor;
