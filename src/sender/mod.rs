//! The only HTTP client: signs requests, enforces SSRF protection, sends them over a connection pool and
//! classifies how each attempt ended. It holds no delivery state and retries no answer: scheduling belongs
//! to `delivery`.

mod address;
mod api_client;
mod client;
mod connection;
mod connector;
mod echo;
mod encoded_request;
mod exchange;
mod failure;
mod fetch;
mod happy_eyeballs;
mod headers;
mod local_resource;
mod masked_url;
mod open_count;
mod phase;
mod pool;
mod redact;
mod resolver;
mod response;
mod response_body;
mod response_head;
mod sign;
mod tls;

pub use address::{AddressPolicy, AddressRefused, UrlRefused};
pub use api_client::{ApiClient, ApiClientError, ApiResponse, ApiStream};
pub use client::{Sender, SenderError, SenderOptions};
pub use exchange::{Exchange, SignedRequest};
pub use failure::Failure;
pub use headers::{is_credential, masked_headers};
pub use local_resource::LocalResource;
pub use masked_url::{is_secret_parameter, masked_url};
pub use redact::mask_secret;
pub use resolver::{Resolve, ResolveError};
pub use sign::{SignedContent, Signer, verify_standard, verify_x_signature, x_signature};
