//! The only HTTP client: signs, guards addresses, sends, and says how each try ended.
//! It keeps no state of deliveries and never retries: that is the dispatcher's.

mod address;
mod answer;
mod ask;
mod bare;
mod client;
mod connect;
mod connection;
mod fault;
mod headers;
mod operator;
mod phase;
mod pool;
mod resolve;
mod sign;
mod tls;

pub use address::{AddressPolicy, AddressRefused, UrlRefused};
pub use ask::Unanswered;
pub use bare::{BareClient, BareError};
pub use client::{Exchange, Outgoing, Sender, SenderError, SenderOptions};
pub use headers::{is_credential, masked_headers};
pub use operator::{OperatorAnswer, OperatorClient, OperatorError};
pub use resolve::{Resolve, ResolveError};
pub use sign::{Signed, Signer, verify_standard, verify_x_signature, x_signature};
