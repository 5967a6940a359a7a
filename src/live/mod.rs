//! What happens now, told to whoever looks: bounded feeds in memory. A feed that nobody watches costs a
//! look at a counter. One who reads too slowly is told how much was missed and let go: nothing is kept
//! for it.

mod event;
mod feed;

pub use event::{EventFilter, LiveEvent};
pub use feed::{Feed, Told, Watch};
