//! The tracking API: authenticates, validates, routes and accepts events. A sender gets its 200 only
//! after the commit. First attempts of deliveries leased to this node are dispatched through [`Dispatch`].

mod accept;
mod admitted;
mod body;
mod client_address;
mod client_settings;
mod detached;
mod dispatch;
mod endpoint;
mod head;
mod inbox;
mod internal_event;
pub mod limits;
mod memory_limit;
mod message;
mod message_id;
mod outbox;
mod pixel;
mod raw_json;
mod response;
mod slots;
mod span;
mod tenant;
mod tracking_api;
mod turns;
mod validate;
mod write_key;

pub use self::body::RequestBody;
pub use self::client_address::TrustedProxies;
pub use self::dispatch::Dispatch;
pub use self::inbox::{ApplicationInboxes, InboxParts};
pub use self::tracking_api::{Intake, IntakeParts, PREFIX, router};
