//! Live streams: intake and the inspectors publish to bounded in-memory feeds; `service` subscribes for
//! an authorized caller, and `api` and `web` serve the stream as server-sent events. A feed without
//! subscribers costs one atomic load; lagging subscribers are disconnected.

mod event;
mod feed;
pub mod sse;
mod stream;

pub use event::{EventFilter, LiveEvent};
pub use feed::{Feed, Received, Subscription};
pub use stream::{LiveStream, StreamItem};
