//! What the integration tests share: receivers that misbehave, certificates and names for them.

pub(crate) mod app;
pub(crate) mod certificates;
pub(crate) mod names;
pub(crate) mod oauth;
pub(crate) mod passage;
pub(crate) mod receiver;
pub(crate) mod request;
pub(crate) mod sse;
pub(crate) mod unique;
