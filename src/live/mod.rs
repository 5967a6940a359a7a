//! Live streams: intake and the inspectors publish to bounded in-memory feeds; `service` subscribes for
//! an authorized caller, and `api` and `web` serve the stream as server-sent events. A feed without
//! subscribers costs one atomic load; an item is rendered once for all subscribers.

mod event;
mod feed;
mod limit;
mod position;
mod published;
mod ring;
pub mod sse;
mod stream;

pub use event::{EventFilter, LiveEvent};
pub use feed::{Feed, Received, Subscription};
pub use limit::{
    MAX_OF_SESSION, MAX_OF_TOKEN, MAX_STREAMS, SessionKey, StreamLimit, StreamPlace,
    TooManyStreams, Viewer,
};
pub use position::Position;
pub use published::{Published, Rendering};
pub use ring::{FeedItem, Missed};
pub use stream::{LiveStream, Selection, StreamItem};
